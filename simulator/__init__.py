"""Vocabulary and engine: what a workload, a machine and a run are, and the simulated clock."""
