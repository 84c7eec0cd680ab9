"""Hardware models: how long, how many bytes and how many joules on a device or network."""
