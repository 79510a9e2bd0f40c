"""What a cell's results depend on: the settings in force, the contents of its networks and level, and the code."""

import dataclasses
import functools
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from rtc import methods
from rtc.delay.estimators import KINDS
from rtc.policies import kinds
from rtc.shared import identity
from rtc.shared.paths import ROOT

# Where the code behind an evaluation starts, besides what reads the policy's file: all that these definitions use
# counts, too.
_ROOTS = (
    "rtc.shared.runtime",
    "rtc.study.evaluation.evaluate",
    "rtc.worlds.kinetix.levels.load",
)
_TOKEN_ROOTS = (
    "rtc.methods.decode",
    "rtc.policies.tokens.checkpoints",
    "rtc.study.tokens.evaluate",
    "rtc.worlds.kinetix.levels.load",
)
# With the module of the world's kind, which opens the simulator.
_HOSTED_ROOTS = (
    "rtc.shared.runtime",
    "rtc.study.hosted.evaluate",
)
# Where all variants meet: the one that is in force counts, and no other.
_REGISTRIES = (
    "rtc.methods.registry",
    "rtc.delay.laws.LAWS",
    "rtc.delay.profiles.PROFILES",
    "rtc.delay.estimators.KINDS",
)


def code(config: Any, loader: str = kinds.FLOW.loader) -> str:
    """Digest of the code that evaluates chunk policies by a configuration (`EvalConfig`).

    Args:
        config: the evaluation.
        loader: dotted name of what reads the policy's file.
    """
    return _code((loader, *_ROOTS, *methods.code_roots(config.method), *_delays(config)))


def token_code(config: Any) -> str:
    """Digest of the code that evaluates token policies."""
    return _code((*_TOKEN_ROOTS, *_delays(config)))


def hosted_code(config: Any, world: str, loader: str = kinds.FLOW.loader) -> str:
    """Digest of the code that evaluates chunk policies in a world that is stepped from Python.

    Args:
        config: the evaluation.
        world: dotted name of the module of the world's kind.
        loader: as of `code`.
    """
    return _code((loader, *_HOSTED_ROOTS, f"{world}.open_env", *methods.code_roots(config.method), *_delays(config)))


def code_from(roots: tuple[str, ...], config: Any) -> str:
    """Digest of the code that these roots, and the delays and estimator of a configuration, reach."""
    return _code((*roots, *_delays(config)))


def _delays(config: Any) -> tuple[str, str]:
    return config.delay_profile.code_root(), config.estimator.code_root()


@functools.cache
def _code(roots: tuple[str | Path, ...]) -> str:
    # Read once: a source file that is edited while a program runs has no part in what it computes.
    return identity.code_version(roots, _REGISTRIES)


# Named at their defaults, too, so that a marker says what was done.
_ALWAYS = ("num_evals", "num_flow_steps")
# Not part of a result, or said by the parts of the configuration themselves.
_APART = ("step", "num_slots", "model", "delay_profile", "method", "method_options", "estimator", "execution")


def settings(config: Any) -> dict[str, Any]:
    """The settings of an evaluation (`EvalConfig`) that are in force, as plain data.

    Options at their default are left out, those of laws, methods and estimators too, so that a new one changes the
    identity of no cell. The policy's size and epoch are part of its file, whose hash identifies it.
    """
    found = {name: value for name, value in given(config, _ALWAYS).items() if name not in _APART}
    profile, estimator, method = config.delay_profile, config.estimator, config.method
    unset = {field.name for field in dataclasses.fields(profile.law)} - given(profile.law).keys()
    return found | {
        "delay": {name: value for name, value in profile.identity().items() if name not in unset},
        "method": _beyond(methods.defaults(method), methods.identity(method, config.method_options)),
        "estimator": _beyond(KINDS[estimator.kind].DEFAULTS, estimator.identity()),
        "execution": given(config.execution, ("execute_horizon",)),
    }


def _beyond(defaults: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in defaults or value != defaults[name]}


def given(config: Any, always: Collection[str] = ()) -> dict[str, Any]:
    """Fields of a dataclass that are not at their default, so that a new option changes no identity.

    Args:
        always: fields that are named at their default, too.
    """
    found = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        missing = field.default is field.default_factory is dataclasses.MISSING
        if field.name in always or missing or value != _default(field):
            found[field.name] = value
    return found


def _default(field: dataclasses.Field) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def shown(path: str | Path) -> str:
    """A path for messages and provenance: relative to the project where it lies in it."""
    path = Path(path).absolute()
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
