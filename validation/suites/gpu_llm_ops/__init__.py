"""Single ops of layers of large language models on GPUs, in half precision, split over devices."""
