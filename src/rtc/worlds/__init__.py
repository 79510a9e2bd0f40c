"""Worlds: the simulators that episodes run in, by name. `load` finds one, `make_env` makes it an environment."""

from rtc.worlds.registry import BatchedWorld, Kind, World, kinds, load, make_env, register, varying_observation_entries

__all__ = ["BatchedWorld", "Kind", "World", "kinds", "load", "make_env", "register", "varying_observation_entries"]
