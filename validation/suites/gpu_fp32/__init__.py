"""Float32 calls of a framework on GPUs: products, convolutions, elementwise ops, rows."""
