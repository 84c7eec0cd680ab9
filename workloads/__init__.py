"""Workloads: what is computed and what is communicated, without saying on what."""
