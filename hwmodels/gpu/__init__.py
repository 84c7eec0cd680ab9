"""Model accelerators: families of kernels on a chip of many multiprocessors."""
