"""Collectives of NCCL on many systems: one node and several, other libraries and harnesses."""
