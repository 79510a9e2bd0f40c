"""Pytrees of arrays as safetensors files, and the facts beside them as JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from rtc.shared.files import atomic_write

T = TypeVar("T")


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
