"""Worlds: the simulators that episodes run in, by name.

`load` finds one; `make_env` makes it a batch of environments, `open_env` one that is stepped from Python.
"""

from rtc.worlds.registry import (
    BatchedWorld,
    Home,
    HostWorld,
    Kind,
    World,
    is_hosted,
    kinds,
    load,
    make_env,
    module_of,
    open_env,
    open_training,
    register,
    varying_observation_entries,
)

__all__ = [
    "BatchedWorld",
    "Home",
    "HostWorld",
    "Kind",
    "World",
    "is_hosted",
    "kinds",
    "load",
    "make_env",
    "module_of",
    "open_env",
    "open_training",
    "register",
    "varying_observation_entries",
]

# Registered here and not in the table there, which is part of what the results of other kinds depend on.
register("libero_choice", "rtc.worlds.libero.choice_worlds")
