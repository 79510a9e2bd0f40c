"""Execution methods: how the next action chunk is produced, and whether actions are corrected as they are executed.

Every method has a file of its own and a line in `registry.py`; `docs/adding-a-method.md` adds one step by step, from
inside the package or from outside.
"""

from rtc.methods.base import (
    Act,
    Answer,
    AssetSpec,
    FlowMethod,
    Method,
    Now,
    Place,
    Policy,
    Query,
    World,
    initial_noise,
)
from rtc.methods.options import MethodOptions
from rtc.methods.registry import (
    METHODS,
    acting,
    code_roots,
    defaults,
    identity,
    load_plugin,
    make,
    options_for,
    register,
    run_for,
)

__all__ = [
    "METHODS",
    "Act",
    "Answer",
    "AssetSpec",
    "FlowMethod",
    "Method",
    "MethodOptions",
    "Now",
    "Place",
    "Policy",
    "Query",
    "World",
    "acting",
    "code_roots",
    "defaults",
    "identity",
    "initial_noise",
    "load_plugin",
    "make",
    "options_for",
    "register",
    "run_for",
]
