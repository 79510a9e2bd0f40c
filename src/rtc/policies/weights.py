"""Arrays as safetensors files: training states, and models with the facts beside them.

A model `<name>` is two files. `<name>.safetensors` holds its arrays by name. `<name>.json`, written last, holds the
format's version, the hash of the first file, and what the kind of model adds: sizes and facts.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import nnx
from safetensors import SafetensorError

from rtc.shared.files import atomic_write

T = TypeVar("T")
Arrays = Mapping[str, np.ndarray]
# Names an array by its place in a pytree.
Naming = Callable[[tuple[Any, ...]], str]

WEIGHTS, HEADER = ".safetensors", ".json"
_VERSION = 1
_FIX = "(git checkout, or copy it again) or train the policy again"


# --- states -------------------------------------------------------------------------------------------------


def save_tree(path: Path, tree: Any) -> None:
    """Writes a pytree's array leaves to one safetensors file, atomically; names are the leaves' paths."""
    atomic_write(path, safetensors.numpy.save(tensors(tree)))


def tensors(tree: Any) -> dict[str, np.ndarray]:
    """A pytree's array leaves by their paths."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(key): np.asarray(leaf, order="C") for key, leaf in leaves}


def load_tree(path: Path, template: T) -> T:
    """Reads what `save_tree` wrote into the structure of `template`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged, or its names or shapes differ from the template's.
    """
    try:
        found = safetensors.numpy.load(path.read_bytes())
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file ({error})") from error
    leaves, treedef = jax.tree_util.tree_flatten_with_path(template)
    names = [jax.tree_util.keystr(key) for key, _ in leaves]
    if unmatched := set(names) ^ set(found):
        raise ValueError(f"{path} does not fit this configuration: {sorted(unmatched)[:5]} differ; use --no-resume")
    for name, (_, leaf) in zip(names, leaves, strict=True):
        if found[name].shape != jnp.shape(leaf):
            shape, fix = found[name].shape, "resume on as many devices as before or use --no-resume"
            raise ValueError(f"{path}: {name} has shape {shape}, expected {jnp.shape(leaf)}; {fix}")
    return jax.tree.unflatten(treedef, [jnp.asarray(found[name]) for name in names])


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes readable JSON atomically."""
    atomic_write(path, json.dumps(content, indent=2, default=str) + "\n")


# --- models -------------------------------------------------------------------------------------------------


def slashed(key: tuple[Any, ...]) -> str:
    """Names of the kind "mlp_stack/0/token_mix_in/kernel"."""
    return jax.tree_util.keystr(key, simple=True, separator="/")


def write(path: Path, model: nnx.Module, header: Mapping[str, Any], naming: Naming = slashed) -> None:
    """Writes `<path>.safetensors` and `<path>.json`, each atomically.

    Args:
        path: where to, without suffix.
        model: the model.
        header: sizes and facts: anything JSON can hold, plus arrays and paths.
        naming: the arrays' names.

    Raises:
        ValueError: JSON cannot hold the header.
    """
    leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(model)))
    data = safetensors.numpy.save({naming(key): np.asarray(leaf, order="C") for key, leaf in leaves})
    header = {"version": _VERSION, "sha256": hashlib.sha256(data).hexdigest(), **header}
    try:
        text = json.dumps(header, indent=2, default=_plain)
    except TypeError as error:
        raise ValueError(f"the metadata of {path} cannot be written as JSON: {error}") from error
    atomic_write(with_suffix(path, WEIGHTS), data)
    atomic_write(with_suffix(path, HEADER), text + "\n")


def read_header(path: Path, fields: Mapping[str, type]) -> dict[str, Any]:
    """What stands beside a model's arrays.

    Args:
        path: the model, without suffix.
        fields: what has to be there, and its type.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, or it describes no such model.
    """
    file = with_suffix(path, HEADER)
    if not file.is_file():
        name = with_suffix(path, WEIGHTS).name
        raise FileNotFoundError(f"no {str(file)!r}, which belongs to {name}; copy it as well or train again")
    try:
        header = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} is truncated or damaged ({error}); restore it {_FIX}") from error
    for field, kind in {"version": int, "sha256": str, **fields}.items():
        if not isinstance(header, dict) or not isinstance(header.get(field), kind):
            raise ValueError(f"{file} does not describe a checkpoint: it has no valid {field!r}; restore it {_FIX}")
    if header["version"] != _VERSION:
        raise ValueError(f"{file} has format version {header['version']}, this code reads {_VERSION}; update the code")
    return header


def read_arrays(path: Path, header: Mapping[str, Any]) -> Arrays:
    """A model's arrays, by name.

    Args:
        path: the model, without suffix.
        header: from `read_header`.

    Raises:
        ValueError: the file is damaged, or from another save than the header.
    """
    file = with_suffix(path, WEIGHTS)
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != header["sha256"]:
        other = with_suffix(path, HEADER).name
        raise ValueError(f"{file} is truncated, damaged or from another save than {other}; restore both files {_FIX}")
    try:
        return safetensors.numpy.load(data)
    except SafetensorError as error:
        raise ValueError(f"{file} cannot be read ({error}); restore both files {_FIX}") from error


def sizes(path: Path, make: Callable[[], T]) -> T:
    """What `make` builds from a header's sizes.

    Raises:
        ValueError: they do not fit; names the file.
    """
    try:
        return make()
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{with_suffix(path, WEIGHTS)} cannot be read ({error}); restore both files {_FIX}") from error


def check_arrays(path: Path, arrays: Mapping[str, Any], abstract: nnx.Module, naming: Naming = slashed) -> None:
    """Raises ValueError naming the first array that is missing, unexpected or of another kind.

    Args:
        path: for the message.
        arrays: arrays by name.
        abstract: a model of shapes and dtypes, with its `config`.
        naming: the arrays' names.
    """
    leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(abstract)))
    expected = {naming(key): leaf for key, leaf in leaves}
    for name, want in expected.items():
        if name not in arrays:
            problem = f"parameter {name!r} is missing"
        elif arrays[name].shape != want.shape:
            problem = f"parameter {name!r} has shape {arrays[name].shape}, expected {want.shape}"
        elif arrays[name].dtype != want.dtype:
            problem = f"parameter {name!r} has dtype {arrays[name].dtype}, expected {want.dtype}"
        else:
            continue
        raise ValueError(f"{path}: {problem}; the weights do not belong to {abstract.config}")
    if unexpected := [name for name in arrays if name not in expected]:
        raise ValueError(f"{path}: unexpected parameter {unexpected[0]!r}; {abstract.config} does not have it")


def filled(path: Path, arrays: Arrays, abstract: T, naming: Naming = slashed) -> T:
    """A model of shapes with these arrays in it.

    Raises:
        ValueError: they do not fit.
    """
    check_arrays(path, arrays, abstract, naming)
    graph, state = nnx.split(abstract)
    pure = nnx.to_pure_dict(state)
    pure = jax.tree_util.tree_map_with_path(lambda key, _: jnp.asarray(arrays[naming(key)]), pure)
    nnx.replace_by_pure_dict(state, pure)
    return nnx.merge(graph, state)


def with_suffix(path: str | Path, suffix: str) -> Path:
    """A model's file; `path` is its name, or that file already."""
    # Not Path.with_suffix: it would cut a name such as "v1.2" short.
    return Path(f"{str(path).removesuffix(suffix)}{suffix}")


def not_found(kind: str, path: Path, available: Iterable[str]) -> FileNotFoundError:
    """The error for a file that is not there: with the closest name, and what is there."""
    names = sorted(available, key=lambda name: (len(name), name) if name.isdecimal() else (0, name))
    close = get_close_matches(path.name, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    there = f"{path.parent} has: {', '.join(names)}" if names else f"there is none in {path.parent}"
    return FileNotFoundError(f"no {kind} {str(path)!r}; {hint}{there}")


def _plain(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray | jax.Array):
        return np.asarray(value).tolist()
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{value!r} is a {type(value).__name__}")
