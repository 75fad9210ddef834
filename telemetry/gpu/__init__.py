"""Figures of devices and of the host: one source a file, a chain over them, and the sampler over the chain."""
