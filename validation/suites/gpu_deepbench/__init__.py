"""DeepBench: products and convolutions of training, forward and backward, on GPUs since Maxwell."""
