"""Weights, KV cache, memory and the time of one engine step."""
