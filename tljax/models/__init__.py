"""Pretrained architectures: specifications, Flax modules, and networks as pure functions."""
