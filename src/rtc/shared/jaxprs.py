"""What a function computes, as its jaxpr has it: matrix products and the multiplications that they need."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax.interpreters import partial_eval


class Multiplications(NamedTuple):
    """Numbers of multiplications: multiply-adds of matrix products, and single ones.

    Attributes:
        fixed: what is done in any case; of branches, the dearest.
        rounds: what a round of the loops does whose number of rounds depends on the data.
    """

    fixed: int
    rounds: int


def needed(function: Callable, *args: Any) -> Any:
    """The function's jaxpr without what its results do not need; arguments may be `jax.ShapeDtypeStruct`s."""
    jaxpr = jax.make_jaxpr(function)(*args).jaxpr
    return partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))[0]


def matrix_products(jaxpr: Any) -> Iterator[Any]:
    """The equations of matrix products, those in loops and calls once each."""
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for inner in _inner(equation):
            yield from matrix_products(inner)


def product_size(equation: Any) -> int:
    """Multiply-adds of a matrix product."""
    (contracted, _), _ = equation.params["dimension_numbers"]
    left = equation.invars[0].aval.shape
    return math.prod(equation.outvars[0].aval.shape) * math.prod(left[axis] for axis in contracted)


def multiplications(jaxpr: Any) -> Multiplications:
    """What a jaxpr multiplies; divisions and functions such as exp count as nothing."""
    fixed = rounds = 0
    for equation in jaxpr.eqns:
        name, inner = equation.primitive.name, [multiplications(one) for one in _inner(equation)]
        if name == "dot_general":
            fixed += product_size(equation)
        elif name == "mul":
            fixed += math.prod(equation.outvars[0].aval.shape)
        elif name == "while":
            rounds += sum(sum(one) for one in inner)
        elif name == "cond":
            fixed += max((one.fixed for one in inner), default=0)
            rounds += max((one.rounds for one in inner), default=0)
        else:
            times = equation.params["length"] if name == "scan" else 1
            fixed += times * sum(one.fixed for one in inner)
            rounds += times * sum(one.rounds for one in inner)
    return Multiplications(fixed, rounds)


def _inner(equation: Any) -> Iterator[Any]:
    """The jaxprs inside an equation: bodies of loops, branches, called functions."""
    for parameter in equation.params.values():
        for one in parameter if isinstance(parameter, tuple) else (parameter,):
            if hasattr(one, "eqns"):
                yield one
            elif hasattr(getattr(one, "jaxpr", None), "eqns"):
                yield one.jaxpr
