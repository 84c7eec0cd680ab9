"""Power and energy of GPUs: training epochs under power limits, and kernels."""
