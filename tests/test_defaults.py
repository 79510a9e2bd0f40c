"""Defaults of what results depend on: neither the fingerprints of cells nor the digest of code have them.

Another default would make such cells stand for other settings in silence. So all of them are written down here, in
goldens/defaults.json. A new option adds its line. Whoever changes a default makes the cells computed with the old one
stale: by naming the option at its default in `rtc.study.identity.settings`, or by changing the code that reads it.
"""

import dataclasses
import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import rtc.control
import rtc.delay
import rtc.methods
import rtc.policies
import rtc.worlds.kinetix
from rtc import methods
from rtc.delay.estimators import KINDS

GOLDEN = Path(__file__).parent / "goldens" / "defaults.json"
PACKAGES = (rtc.control, rtc.delay, rtc.methods, rtc.policies, rtc.worlds.kinetix)
MODULES = ("rtc.study.evaluation", "rtc.study.sequences", "rtc.study.tokens")


def modules() -> Iterator[str]:
    yield from MODULES
    for package in PACKAGES:
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield found.name


def defaults() -> dict[str, dict[str, str]]:
    """By class, the fields with a default."""
    found = {}
    for name in sorted(modules()):
        module = importlib.import_module(name)
        for kind in vars(module).values():
            if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == name:
                fields = {field.name: _default(field) for field in dataclasses.fields(kind)}
                found[f"{name}.{kind.__name__}"] = {
                    name: repr(value)
                    for name, value in fields.items()
                    # A dataclass among them has an entry of its own.
                    if value is not dataclasses.MISSING and not dataclasses.is_dataclass(value)
                }
    return {kind: fields for kind, fields in found.items() if fields}


def of_variants() -> dict[str, dict[str, str]]:
    """Defaults of methods and estimators, which identities leave out too."""
    found = {
        f"method {name}": methods.defaults(name) for name, entry in methods.METHODS.items() if entry.plugin is None
    }
    found |= {f"estimator {kind}": estimator.DEFAULTS for kind, estimator in KINDS.items()}
    return {name: {key: repr(value) for key, value in values.items()} for name, values in found.items()}


def _default(field: dataclasses.Field) -> object:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def test_no_default_has_changed():
    assert defaults() | of_variants() == json.loads(GOLDEN.read_text())
