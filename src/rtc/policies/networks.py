"""Networks that go with a policy, one per level: what they share, and their files.

A run keeps them beside its policies, in `<run>/networks/<kind>/<level>.safetensors` (+ `.json`, see `weights`): what is
trained as float16, to be small, and all else as it is. They read the observation entries that can change in their
level, and no others.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from rtc.policies import checkpoints, weights
from rtc.policies.checkpoints import level_slug

T = TypeVar("T", bound="Network")
N = TypeVar("N", bound=nnx.Module)


class Network(nnx.Module):
    """A network for one level.

    Attributes:
        kind: names the networks of one class in files and messages.
        entries: the observation entries that it reads, of the full observation.
        net: the part that is trained.
    """

    kind: ClassVar[str]
    entries: nnx.Variable
    net: nnx.Module

    def sizes(self) -> dict[str, Any]:
        """The arguments that it was made with, as plain data."""
        raise NotImplementedError

    @classmethod
    def of_sizes(cls, sizes: Mapping[str, Any], entries: Sequence[int] | Int[np.ndarray, " v"]) -> Self:
        """A network with random weights from what `sizes` returned."""
        raise NotImplementedError

    def observing(self, entries: Sequence[int] | Int[np.ndarray, " v"], constants: Float[np.ndarray, " o"]) -> Self:
        """Itself, if it reads these entries in this order.

        Raises:
            ValueError: it reads others.
        """
        own = np.asarray(self.entries[...])
        if not np.array_equal(own, np.asarray(entries)):
            raise ValueError(
                f"this {self.kind} reads {len(own)} entries of the observation, and other ones than the {len(entries)} "
                "that can change in the level: train it on this level"
            )
        return self


def place(run_path: str | Path, kind: str, level_path: str | Path) -> Path:
    """Where a run keeps a level's network of a kind, without suffix."""
    return Path(run_path) / "networks" / kind / level_slug(level_path)


def find(run_path: str | Path, kind: str, level_path: str | Path) -> Path | None:
    """The weights of a level's network, in the folder where the run's policies are; None if there is none."""
    path = weights.with_suffix(place(checkpoints.run_folder(run_path), kind, level_path), weights.WEIGHTS)
    return path if path.is_file() else None


def save(path: Path, network: T, facts: Mapping[str, Any]) -> None:
    """Writes `<path>.safetensors` and `<path>.json`, each atomically; `facts` are anything that JSON can hold.

    The trained part is rounded to float16, and the facts say so.
    """
    stored = nnx.clone(network)
    stored.net = _as_type(network.net, jnp.float16)
    facts = {**facts, "stored": "float16"}
    weights.write(path, stored, {"kind": network.kind, "sizes": network.sizes(), "facts": facts})


def rounded(net: N) -> N:
    """What `load` will return of a network's trained part after `save`."""
    return _as_type(_as_type(net, jnp.float16), jnp.float32)


def _as_type(net: N, dtype: Any) -> N:
    graph, state = nnx.split(net)
    return nnx.merge(graph, jax.tree.map(lambda leaf: leaf.astype(dtype), state))


def load(path: Path, cls: type[T]) -> tuple[T, dict[str, Any]]:
    """Reads a network, in float32 however it is stored, and its facts.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file is damaged or holds something else.
    """
    name, header = _header(path)
    if header["kind"] != cls.kind:
        raise ValueError(f"{path} is a {header['kind']} and no {cls.kind}: choose another file")
    read = weights.read_arrays(name, header)
    arrays = {key: one.astype(np.float32) if one.dtype == np.float16 else one for key, one in read.items()}
    entries = np.zeros(len(arrays.get("entries", ())), np.int32)
    abstract = weights.sizes(name, lambda: nnx.eval_shape(lambda: cls.of_sizes(header["sizes"], entries)))
    return weights.filled(name, arrays, abstract), header["facts"]


def facts(path: Path) -> dict[str, Any]:
    """The facts beside a network.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged.
    """
    return _header(path)[1]["facts"]


def _header(path: Path) -> tuple[Path, dict[str, Any]]:
    name = Path(str(path).removesuffix(weights.WEIGHTS))
    return name, weights.read_header(name, {"kind": str, "sizes": dict, "facts": dict})


def as_variable(values: Any, dtype: Any = jnp.float32) -> nnx.Variable:
    """Numbers that belong to a network and are not trained."""
    return nnx.Variable(jnp.asarray(values, dtype))


def mlp(widths: Sequence[int], rngs: nnx.Rngs) -> nnx.List:
    """Linear layers from one width to the next."""
    return nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in pairwise(widths)])
