"""Collectives of NCCL on the GPUs of one node, by size, dtype and number of GPUs."""
