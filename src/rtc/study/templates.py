"""Entries of study files that stand for many: axes, patterns in braces, expressions, exclusions."""

import ast
import itertools
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from rtc.shared import toml

Values = Mapping[str, Any]
FOR, EXCLUDE = "for", "exclude"

_WHOLE = re.compile(r"\{([A-Za-z_][\w.]*)\}")
_NAMES = re.compile(r"\{([A-Za-z_]\w*)")
_BINARY: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_UNARY: Mapping[type, Callable[[Any], Any]] = {ast.Not: operator.not_, ast.USub: operator.neg}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {"min": min, "max": max}


def axes_of(entry: Mapping[str, Any], axes: Mapping[str, Any], where: str) -> Mapping[str, list[Any]]:
    """An entry's axes and their values.

    `for` is a table of axes, each with its values, or an array of names of the file's `[axes]`.

    Raises:
        ValueError: an axis is unknown, or its values are no array.
    """
    wanted = entry.get(FOR, {})
    if isinstance(wanted, list):
        names = toml.checked(tuple[str, ...], wanted, FOR, where)
        for axis in names:
            if axis not in axes:
                raise ValueError(f"{where}: for names the axis {axis!r}, and [axes] has {', '.join(axes) or 'none'}")
        wanted = {axis: axes[axis] for axis in names}
    if not isinstance(wanted, Mapping):
        raise ValueError(f"{where}: for={wanted!r} must be a table of axes, or an array of names of [axes]")
    for axis, values in wanted.items():
        if not isinstance(values, list) or not values:
            raise ValueError(f"{where}: the axis {axis}={values!r} must be an array of at least one value")
    return wanted


def combinations(entry: Mapping[str, Any], axes: Mapping[str, Any], where: str) -> Iterator[dict[str, Any]]:
    """The values of an entry's axes, one dictionary per combination; the last axis runs fastest.

    Raises:
        ValueError: as of `axes_of`.
    """
    wanted = axes_of(entry, axes, where)
    columns = [[_record(value) for value in values] for values in wanted.values()]
    for combination in itertools.product(*columns):
        yield dict(zip(wanted, combination, strict=True))


def _record(value: Any) -> Any:
    """A table among an axis's values: its fields are read as {axis.field}."""
    return SimpleNamespace(**value) if isinstance(value, Mapping) else value


def names_in(value: Any) -> set[str]:
    """The axes that the patterns of a value name."""
    if isinstance(value, str):
        return set(_NAMES.findall(value))
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return set().union(*map(names_in, parts))


def filled(value: Any, values: Values, where: str) -> Any:
    """A value of a study file with its patterns filled in.

    `"{name}"` is the axis's value itself, `"... {name} ..."` a text with it (format codes are Python's), and `"= ..."`
    the value of an expression.

    Raises:
        ValueError: a pattern names no axis, or an expression cannot be evaluated.
    """
    if isinstance(value, Mapping):
        return {name(key, values, where): filled(entry, values, where) for key, entry in value.items()}
    if isinstance(value, list):
        return [filled(entry, values, where) for entry in value]
    if not isinstance(value, str):
        return value
    if value.startswith("="):
        return evaluate(value[1:], values, where)
    whole = _WHOLE.fullmatch(value)
    if whole:
        return evaluate(whole[1], values, where)
    try:
        return value.format(**values)
    except (AttributeError, KeyError, IndexError, TypeError, ValueError, ArithmeticError) as error:
        raise ValueError(f"{where}: {value!r} cannot be filled in ({error}); there are {_listed(values)}") from error


def name(text: str, values: Values, where: str) -> str:
    """A name with its patterns filled in.

    Raises:
        ValueError: as of `filled`, or it would be no text.
    """
    found = filled(text, values, where)
    if not isinstance(found, str):
        raise ValueError(f"{where}: {text!r} becomes {found!r}, which is no text: write more around the pattern")
    return found


def left(entry: Mapping[str, Any], combined: Iterable[Values], where: str) -> list[Values]:
    """The combinations that the entry's `exclude` leaves.

    Raises:
        ValueError: it is no text, cannot be evaluated, or leaves none.
    """
    found = [values for values in combined if not _excluded(entry, values, where)]
    if not found:
        raise ValueError(f"{where}: exclude={entry.get(EXCLUDE)!r} leaves nothing: change it, or leave the entry out")
    return found


def _excluded(entry: Mapping[str, Any], values: Values, where: str) -> bool:
    return EXCLUDE in entry and bool(evaluate(toml.checked(str, entry[EXCLUDE], EXCLUDE, where), values, where))


def evaluate(expression: str, values: Values, where: str) -> Any:
    """The value of a Python expression of numbers, texts, axes, comparisons, `and`, `or`, `not`, `in`, min and max.

    Raises:
        ValueError: it is malformed, or uses something else.
    """
    try:
        return _value(ast.parse(expression.strip(), mode="eval").body, values)
    except (SyntaxError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
        reason = f"{error}; there are {_listed(values)}, comparisons, + - * /, and, or, not, in, min and max"
        raise ValueError(f"{where}: {expression.strip()!r} cannot be evaluated ({reason})") from error


def _value(node: ast.AST, values: Values) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return values[node.id]
    if isinstance(node, ast.Attribute):
        return vars(_value(node.value, values))[node.attr]
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(entry, values) for entry in node.elts]
    if isinstance(node, ast.UnaryOp):
        return _UNARY[type(node.op)](_value(node.operand, values))
    if isinstance(node, ast.BinOp):
        return _BINARY[type(node.op)](_value(node.left, values), _value(node.right, values))
    if isinstance(node, ast.BoolOp):
        decide = all if isinstance(node.op, ast.And) else any
        return decide(_value(entry, values) for entry in node.values)
    if isinstance(node, ast.Compare):
        operands = [_value(entry, values) for entry in (node.left, *node.comparators)]
        pairs = zip(node.ops, operands, operands[1:], strict=False)
        return all(_BINARY[type(op)](left, right) for op, left, right in pairs)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _FUNCTIONS[node.func.id](*(_value(entry, values) for entry in node.args))
    raise ValueError(f"{ast.unparse(node)} is not allowed")


def _listed(values: Sequence[str] | Values) -> str:
    return ", ".join(values) or "no axes"
