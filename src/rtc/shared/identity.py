"""What code a result depends on: a digest of syntax trees, definition by definition.

From some roots on, names are followed to the definitions of this package that they stand for. Comments, docstrings,
formatting, imports, annotations, error messages and the files that hold a definition have no part in the digest; nor
have fields of dataclasses that have a default (a setting counts by its value, in the fingerprint) and the checks in
`__post_init__`. So a new function, a new option, a moved file leave it as it is, and other arithmetic changes it.
"""

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Collection, Iterable
from pathlib import Path

from rtc.shared.syntax import Definition, Key, Modules

SOURCE = Path(__file__).resolve().parents[1]
PACKAGES = ("jax", "jaxlib", "flax", "jax2d", "kinetix-env", "numpy", "scipy")


def code_version(roots: Iterable[str | Path], left_out: Collection[str] = ()) -> str:
    """sha256 over the code that the roots reach and the packages that compute; arguments as of `code_digest`."""
    inputs = {"code": code_digest(roots, left_out), "packages": package_versions()}
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def code_digest(roots: Iterable[str | Path], left_out: Collection[str] = (), source: Path = SOURCE) -> str:
    """sha256 over the definitions that the roots reach, as they were when the process first asked for a digest.

    Args:
        roots: dotted names: of a module, which stands for all its definitions, or of one function, class or constant.
            A path is a module outside the package, such as a user's own method.
        left_out: dotted names of definitions, or of modules, that are neither counted nor followed: registries,
            whose active entry is a root of its own.
        source: folder of the package.

    Raises:
        ValueError: a root or something left out is not there.
    """
    digests = sorted(reached(roots, left_out, source).values())
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def reached(roots: Iterable[str | Path], left_out: Collection[str] = (), source: Path = SOURCE) -> dict[str, str]:
    """The definitions behind a digest: dotted name -> sha256; arguments and errors as of `code_digest`."""
    return dict(_reached(tuple(roots), frozenset(left_out), source))


@functools.cache
def _reached(roots: tuple[str | Path, ...], left_out: frozenset[str], source: Path) -> dict[str, str]:
    modules = _modules(source)
    closed = {key for name in left_out for key in modules.require(name)}
    waiting = [key for root in roots for key in modules.require(root)]
    found: dict[Key, Definition] = {}
    while waiting:
        key = waiting.pop()
        if key not in found and key not in closed:
            found[key] = one = modules.definition(key)
            waiting += [*one.uses, *one.follows, *(Key(key.module, name) for name in modules.get(key.module).loose)]
    own = {key: _sha256(one.text) for key, one in found.items()}
    # What a name stands for is part of who uses it: two functions of one name are told apart.
    return {
        f"{key.module}.{key.name}": _sha256(own[key], *(own[use] for use in one.uses if use in own))
        for key, one in found.items()
        if one.counts
    }


@functools.cache
def _modules(source: Path) -> Modules:
    return Modules(source)


def package_versions() -> dict[str, str]:
    """Versions of the packages that compute results."""
    return {name: _package_version(name) for name in PACKAGES}


def installed(names: Iterable[str]) -> dict[str, str]:
    """Versions of those of these packages that are installed, by name."""
    versions = {name: _package_version(name) for name in names}
    return {name: version for name, version in versions.items() if version != "unknown"}


def _package_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _sha256(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
