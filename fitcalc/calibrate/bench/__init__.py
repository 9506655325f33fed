"""Microbenchmarks of the device at hand: facts about it, and raw rows of measured kernels."""
