"""Fused attention on GPUs: many queries a sequence, or one with a cache; one kernel each."""
