"""Delay: the laws of inference delay, the process that samples them, and what a controller expects."""
