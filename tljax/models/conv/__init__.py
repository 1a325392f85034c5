"""Forms of a convolution: XLA's own, and others that are faster on a CPU and equal up to float32 rounding."""
