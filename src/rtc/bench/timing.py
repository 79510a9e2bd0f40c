"""Clocks of the benches."""

import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import Float

Name = TypeVar("Name", bound=Hashable)


def milliseconds(call: Callable[..., Any], *args: Any, **options: Any) -> tuple[Any, float]:
    """What a call returns, and the time until all of it has been computed."""
    start = time.perf_counter()
    result = jax.block_until_ready(call(*args, **options))
    return result, 1e3 * (time.perf_counter() - start)


def in_turn(runs: Mapping[Name, Callable[[], Any]], repeats: int) -> dict[Name, Float[np.ndarray, " r"]]:
    """Milliseconds of each run, in turn, so that a drift of the machine's speed hits all of them.

    Each runs once more before, uncounted.
    """
    spent: dict[Name, list[float]] = {name: [] for name in runs}
    for _ in range(1 + repeats):
        for name, run in runs.items():
            spent[name].append(milliseconds(run)[1])
    return {name: np.array(values[1:]) for name, values in spent.items()}
