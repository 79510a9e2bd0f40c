"""The execution methods by name, those of users included.

A method's options are the parameters of its maker, with the maker's defaults.
"""

import dataclasses
import hashlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rtc.methods.a2c2 import a2c2, foresee_learned_a2c2, foresee_simulator_a2c2, head_only, trained_prefix_a2c2
from rtc.methods.base import Method
from rtc.methods.bid import bid, bid_contrast
from rtc.methods.carried_noise import carried_noise
from rtc.methods.delay_expert import delay_expert
from rtc.methods.ensemble import temporal_ensemble
from rtc.methods.foresee import (
    foresee_learned,
    foresee_learned_realtime,
    foresee_simulator,
    ordinary_run,
    robot_only_learned,
    robot_only_simulator,
    vlash,
    vlash_simulator,
)
from rtc.methods.futurertc import futurertc
from rtc.methods.naive import naive, synchronous
from rtc.methods.options import NAMES, MethodOptions
from rtc.methods.paint import paint
from rtc.methods.realtime import realtime
from rtc.methods.trained_prefix import trained_prefix
from rtc.shared.validation import require_choice

Maker = Callable[..., Method]


@dataclass(frozen=True)
class Entry:
    """A registered method.

    Attributes:
        maker: makes it from its options.
        plugin: the user's file that registered it; None for the package's own.
        sha256: hash of that file.
    """

    maker: Maker
    plugin: Path | None = None
    sha256: str | None = None

    @property
    def defaults(self) -> dict[str, Any]:
        """The options that it reads, with their defaults."""
        return {name: one.default for name, one in inspect.signature(self.maker).parameters.items()}


_ENTRIES: dict[str, Entry] = {
    name: Entry(maker)
    for name, maker in {
        "naive": naive,
        "synchronous": synchronous,
        "realtime": realtime("exp"),
        "realtime_linear": realtime("linear"),
        "realtime_ones": realtime("ones"),
        "hard_masking": realtime("zeros"),
        "realtime_stop_gradient": realtime("exp", stop_gradient=True),
        "bid": bid,
        "bid_contrast": bid_contrast,
        "temporal_ensemble": temporal_ensemble,
        "trained_prefix": trained_prefix,
        "paint": paint,
        "carried_noise": carried_noise,
        "foresee_simulator": foresee_simulator,
        "foresee_learned": foresee_learned,
        "foresee_learned+realtime": foresee_learned_realtime,
        "robot_only_simulator": robot_only_simulator,
        "robot_only_learned": robot_only_learned,
        "vlash_simulator": vlash_simulator,
        "vlash": vlash,
        "futurertc": futurertc,
        "a2c2": a2c2,
        "head_only": head_only,
        "trained_prefix+a2c2": trained_prefix_a2c2,
        "foresee_simulator+a2c2": foresee_simulator_a2c2,
        "foresee_learned+a2c2": foresee_learned_a2c2,
        "delay_expert": delay_expert,
    }.items()
}
METHODS: Mapping[str, Entry] = MappingProxyType(_ENTRIES)

# Methods that condition a flow, sample it in ways of their own, or choose its noise: of no use with a policy that gives
# one chunk and no more.
OF_FLOWS = (
    "realtime",
    "realtime_linear",
    "realtime_ones",
    "hard_masking",
    "realtime_stop_gradient",
    "bid",
    "bid_contrast",
    "trained_prefix",
    "paint",
    "carried_noise",
    "foresee_learned+realtime",
    "futurertc",
    "trained_prefix+a2c2",
)

# What `identity` says of every method, whatever its options are called.
_OF_IDENTITY = ("name", "plugin_sha256")

# The plugin whose file is being executed, and its hash.
_loading: list[tuple[Path, str]] = []


def register(name: str, maker: Maker) -> None:
    """Adds a method.

    Args:
        name: what `--config.method` is set to.
        maker: returns the method; its parameters are the method's options and need defaults. Those that
            `MethodOptions` does not have are given through `MethodOptions.own`.

    Raises:
        ValueError: the name is taken, or an option has no default.
    """
    plugin = _loading[-1] if _loading else (None, None)
    taken = _ENTRIES.get(name)
    if taken is not None and (taken.plugin is None or taken.plugin != plugin[0]):
        raise ValueError(f"method {name!r} is registered already; choose another name")
    entry = Entry(maker, *plugin)
    for option, default in entry.defaults.items():
        if option in _OF_IDENTITY:
            raise ValueError(f"option {option} of method {name!r} is what identities call something else: rename it")
        if default is inspect.Parameter.empty:
            raise ValueError(f"option {option} of method {name!r} has no default: give the maker's parameter one")
    _ENTRIES[name] = entry


def load_plugin(path: str | Path) -> tuple[str, ...]:
    """Executes a Python file that registers methods of a user's own.

    Returns:
        The names of its methods. A file that was loaded before is executed again only if it has changed.

    Raises:
        ValueError: there is no such file, it registers nothing, or a name that is taken.
    """
    path = Path(path).resolve()
    if not path.is_file():
        raise ValueError(f"plugin={str(path)!r} is no file: give the path of a Python file that registers a method")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    own = {name: entry for name, entry in _ENTRIES.items() if entry.plugin == path}
    if own and all(entry.sha256 == sha256 for entry in own.values()):
        return _names_of(path)
    before = dict(_ENTRIES)
    for name in own:  # a name that the file has no more is gone
        del _ENTRIES[name]
    spec = importlib.util.spec_from_file_location(f"rtc_plugin_{path.stem}_{sha256[:8]}", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    _loading.append((path, sha256))
    try:
        spec.loader.exec_module(module)
        if not _names_of(path):
            raise ValueError(f"plugin={str(path)!r} registers no method: let it call rtc.methods.register(name, maker)")
    except BaseException:
        _ENTRIES.clear()
        _ENTRIES.update(before)
        del sys.modules[spec.name]
        raise
    finally:
        _loading.pop()
    return _names_of(path)


def _names_of(plugin: Path) -> tuple[str, ...]:
    return tuple(name for name, entry in _ENTRIES.items() if entry.plugin == plugin)


def make(name: str, options: MethodOptions | None = None) -> Method:
    """A method by name.

    Raises:
        ValueError: an unknown name (the message has the closest one), an option that the method does not read, or
            options that contradict each other.
    """
    require_choice("method", name, METHODS)
    return _ENTRIES[name].maker(**_values(name, options))


def identity(name: str, options: MethodOptions | None = None) -> dict[str, Any]:
    """What determines a method's arithmetic besides its code: options that it reads, static choices, its plugin.

    Raises:
        ValueError: as of `make`.
    """
    method, entry = make(name, options), _ENTRIES[name]
    plain = (bool, int, float, str)
    fields = {field.name: getattr(method, field.name) for field in dataclasses.fields(method)}
    choices = {field: value for field, value in fields.items() if isinstance(value, plain)}
    if taken := [field for field in _OF_IDENTITY if field in choices]:
        raise ValueError(f"field {taken[0]} of method {name!r} is what identities call something else: rename it")
    plugin = {} if entry.sha256 is None else {"plugin_sha256": entry.sha256}
    return {"name": name, **choices, **_values(name, options), **plugin}


def defaults(name: str) -> dict[str, Any]:
    """What `identity` has for the options and static choices of a method that nobody chose otherwise, by name.

    Raises:
        ValueError: an unknown name.
    """
    fields = dataclasses.fields(make(name))
    chosen = {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}
    return {**chosen, **_ENTRIES[name].defaults}


def code_roots(name: str) -> tuple[str | Path, ...]:
    """Where the code of a method starts, as dotted names; a plugin is its file.

    Raises:
        ValueError: an unknown name.
    """
    kind, entry = type(make(name)), _ENTRIES[name]
    if entry.plugin is not None:
        return (entry.plugin,)
    # A maker may be made by a function, as those of `realtime` are; that one counts then.
    maker = entry.maker.__qualname__.partition(".")[0]
    return f"{kind.__module__}.{kind.__qualname__}", f"{entry.maker.__module__}.{maker}"


def options_for(names: Collection[str], options: MethodOptions) -> dict[str, MethodOptions]:
    """The options of several methods at once: each gets those that it reads.

    Raises:
        ValueError: an unknown method, or an option that none of them reads.
    """
    for name in names:
        require_choice("method", name, METHODS)
    reads = {name: _ENTRIES[name].defaults for name in names}
    for option in options.given():
        if not any(option in read for read in reads.values()):
            raise _unread(option, options.given()[option], ", ".join(names))
    return {
        name: MethodOptions(
            **{option: value for option, value in options.given().items() if option in read and option in NAMES},
            own=tuple(pair for pair in options.own if pair[0] in read),
        )
        for name, read in reads.items()
    }


def run_for(name: str, run_path: str, prefix_run_path: str) -> str:
    """Which run a method executes: that of ordinary policies, or that of policies that were trained for it.

    Policies trained with `robot_ahead` are those of the run that is called like the ordinary one, with `_vlash` behind;
    `run_path` may be that run itself.

    Raises:
        ValueError: unknown method.
    """
    method = make(name)
    if method.needs_robot_ahead:
        return f"{ordinary_run(run_path)}_vlash"
    return prefix_run_path if method.needs_simulated_delay else run_path


def acting() -> list[str]:
    """Names of the methods that choose the action of every tick."""
    return [name for name in _ENTRIES if make(name).acts]


def _values(name: str, options: MethodOptions | None) -> dict[str, Any]:
    given, defaults = (options or MethodOptions()).given(), _ENTRIES[name].defaults
    for option, value in given.items():
        if option not in defaults:
            raise _unread(option, value, name)
    return defaults | given


def _unread(option: str, value: float, chosen: str) -> ValueError:
    readers = [name for name, entry in _ENTRIES.items() if option in entry.defaults]
    fix = f"methods that read it: {', '.join(readers)}" if readers else "no method reads it"
    return ValueError(f"method_options.{option}={value!r} has no effect with method={chosen!r}; leave it out, or {fix}")
