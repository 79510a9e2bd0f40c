"""Error messages that name the field, the value and the fix."""

import difflib
from collections.abc import Iterable


def unknown(field: str, value: object, options: Iterable[str]) -> ValueError:
    """The error for a name that is not among `options`, with a suggestion where one is close."""
    options = list(options)
    close = difflib.get_close_matches(str(value), options, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return ValueError(f"{field}={value!r} is unknown; {hint}choose one of: {', '.join(options)}")


def require_choice(field: str, value: str, options: Iterable[str]) -> None:
    """Raises ValueError unless `value` is one of `options`."""
    options = list(options)
    if value not in options:
        raise unknown(field, value, options)


def require_int(field: str, value: object, *, low: int, high: int | None = None) -> None:
    """Raises ValueError unless `value` is an integer in [low, high]."""
    limits = f"at least {low}" if high is None else f"between {low} and {high}"
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    if not is_integer or value < low or (high is not None and value > high):
        raise ValueError(f"{field}={value!r} must be an integer, {limits}")


def require_float(field: str, value: object, *, low: float, high: float = float("inf")) -> None:
    """Raises ValueError unless `value` is a finite number in [low, high]."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not low <= value <= high or value in (float("inf"), float("-inf")):
        limits = f"at least {low}" if high == float("inf") else f"between {low} and {high}"
        raise ValueError(f"{field}={value!r} must be a finite number, {limits}")


def require_positive(field: str, value: object, meaning: str) -> None:
    """Raises ValueError unless `value` is a finite number above 0; `meaning` says what it is."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 0 < value < float("inf"):
        raise ValueError(f"{field}={value!r} must be positive: {meaning}")


def require_multiple(name: str, value: int, of: int) -> None:
    """Raises ValueError unless the value divides evenly."""
    if value % of:
        raise ValueError(f"{name}={value} must be a multiple of {of}: choose {value - value % of or of}")
