"""Products of matrices on GPUs, each kernel timed alone by replaying a recorded graph."""
