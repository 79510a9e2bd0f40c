"""Error messages that name the field, the value and the fix."""

import difflib
from collections.abc import Collection, Iterable, Mapping, Sized


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


def require_read(
    chooser: str, chosen: str, given: Mapping[str, object], reads: Mapping[str, Collection[str]], prefix: str = ""
) -> None:
    """Raises ValueError if a setting was given that would have no effect; the message names the variants that use it.

    Args:
        chooser: the field that chooses the variant.
        chosen: its value.
        given: the settings that were given.
        reads: by variant, the settings that it uses.
        prefix: stands before all names in the message.
    """
    for name, value in given.items():
        if name not in reads[chosen]:
            readers = " or ".join(repr(variant) for variant, names in reads.items() if name in names)
            raise ValueError(
                f"{prefix}{name}={value!r} has no effect with {prefix}{chooser}={chosen!r}: "
                f"set {prefix}{chooser} to {readers}, or leave {prefix}{name} out"
            )


def require_some(field: str, values: Sized) -> None:
    """Raises ValueError if a list is empty."""
    if not len(values):
        raise ValueError(f"{field}=() is empty: give at least one")


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
