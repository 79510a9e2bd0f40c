"""Worlds: the simulators that episodes run in."""
