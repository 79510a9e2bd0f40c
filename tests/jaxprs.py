"""The matrix products that a function needs, as its jaxpr has them."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.interpreters import partial_eval


def needed(function: Callable, *args: Any) -> Any:
    """The function's jaxpr without what its results do not need."""
    jaxpr = jax.make_jaxpr(function)(*args).jaxpr
    return partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[0]


def matrix_products(jaxpr: Any) -> Iterator[Any]:
    """The equations of matrix products, those in loops and calls once each."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for parameter in equation.params.values():
            inner = getattr(parameter, "jaxpr", None)
            if inner is not None:
                yield from matrix_products(inner)
