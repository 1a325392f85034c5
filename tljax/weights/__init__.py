"""Pretrained weights: where files come from, what they hold, and whose parameters they become.

`fetch` finds the file, `read` gives a flat dict of arrays, `convert` (with one table of rules per family) gives
variables, and `load.load_pretrained` does all three. Nothing is imported here, so that `fetch` stays free of jax.
"""
