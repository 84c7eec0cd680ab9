"""Suite train-cnn: training throughput of convolutional networks on 1 to 512 GPUs."""
