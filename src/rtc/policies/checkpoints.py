"""Flow-policy checkpoints: found by run, epoch and level, and checked when they are loaded.

A checkpoint `<name>` is two files. `<name>.safetensors` holds the weights, named by their parameter paths as
in "mlp_stack/0/token_mix_in/kernel". `<name>.json`, written last, holds the format version, the configuration
and dimensions of the model, the hash of the weights file and the caller's metadata.

The published benchmark's checkpoints are pickles (`<name>.pkl`). A pickle can run any code when it is loaded,
so they go through an unpickler that can build arrays and dictionaries and nothing else.
"""

import contextlib
import dataclasses
import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path, PurePath
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import nnx
from safetensors import SafetensorError

from rtc.policies import pickles
from rtc.policies.flow import FlowPolicy
from rtc.policies.mixer import ModelConfig
from rtc.shared.files import atomic_write
from rtc.shared.paths import level_name, shipped

_VERSION = 1
_WEIGHTS, _HEADER, _PICKLE = ".safetensors", ".json", ".pkl"
# Matters in training only, so a requested configuration may change it: this is how a policy is fine-tuned.
_TRAINING_FIELDS = ("simulated_delay",)

Parameters = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class _Checkpoint:
    """What the files hold, before it is checked against what was asked for."""

    path: Path
    parameters: Parameters
    config: ModelConfig
    obs_dim: int
    action_dim: int
    metadata: dict[str, Any]


# --- save and load ------------------------------------------------------------------------------------------


def save_policy(path: str | Path, policy: FlowPolicy, metadata: Mapping[str, Any]) -> None:
    """Writes `<path>.safetensors` and `<path>.json`, each atomically.

    Args:
        path: where to; a suffix .safetensors may be given or left out.
        policy: one policy (of a stack of policies, take one first).
        metadata: anything JSON can hold, plus arrays and paths; `load_policy` returns it.

    Raises:
        ValueError: the weights do not have the shapes of `policy.config`, or JSON cannot hold `metadata`.
    """
    path = _with_suffix(path, _WEIGHTS)
    parameters = _flatten(nnx.to_pure_dict(nnx.state(policy)))
    _check_parameters(path, parameters, _abstract(policy.obs_dim, policy.action_dim, policy.config))
    weights = safetensors.numpy.save({name: np.asarray(value, order="C") for name, value in parameters.items()})
    header = {
        "version": _VERSION,
        "config": dataclasses.asdict(policy.config),
        "obs_dim": policy.obs_dim,
        "action_dim": policy.action_dim,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "metadata": dict(metadata),
    }
    try:
        text = json.dumps(header, indent=2, default=_plain)
    except TypeError as error:
        raise ValueError(f"the metadata of {path} cannot be written as JSON: {error}") from error
    atomic_write(path, weights)
    atomic_write(path.with_suffix(_HEADER), text + "\n")


def load_policy(
    path: str | Path, config: ModelConfig | None = None, *, obs_dim: int = 679, action_dim: int = 6
) -> tuple[FlowPolicy, dict[str, Any]]:
    """Reads a checkpoint, checks it and returns the policy with the metadata it was saved with.

    Args:
        path: a .safetensors file, an upstream .pkl file, or the name of either without its suffix.
        config: the wanted configuration; the checkpoint's own by default. Only `simulated_delay` may differ
            from the checkpoint's, because it matters in training alone; the wanted one then applies.
        obs_dim: size of the observation that the policy will get.
        action_dim: size of the actions that it has to give.

    Raises:
        FileNotFoundError: no such checkpoint; the message lists those that are there.
        ValueError: the file is damaged, holds anything but arrays (.pkl), or differs from what was asked for;
            the message names the first difference and what to do.
    """
    path = _find(Path(path))
    checkpoint = _read_pickle(path) if path.suffix == _PICKLE else _read_safetensors(path)
    config = config or checkpoint.config
    _check_config(checkpoint, config)
    _check_dimensions(checkpoint, obs_dim, action_dim)
    abstract = _abstract(obs_dim, action_dim, config)
    _check_parameters(path, checkpoint.parameters, abstract)
    graph, state = nnx.split(abstract)
    weights = jax.tree_util.tree_map_with_path(
        lambda key, _: jnp.asarray(checkpoint.parameters[_name(key)]), nnx.to_pure_dict(state)
    )
    nnx.replace_by_pure_dict(state, weights)
    return nnx.merge(graph, state), checkpoint.metadata


def sha256(path: str | Path) -> str:
    """Hash of a file's content, in hexadecimal; `path` may also name a checkpoint without its suffix.

    Raises:
        FileNotFoundError: no such file or checkpoint.
    """
    file = Path(path)
    return hashlib.sha256((file if file.is_file() else _find(file)).read_bytes()).hexdigest()


# --- where checkpoints are ----------------------------------------------------------------------------------


def list_epochs(run_path: str | Path) -> list[int]:
    """Epochs of a run that have checkpoints, ascending: every number with `<run_path>/<epoch>/policies`.

    Raises:
        FileNotFoundError: no such run; the message lists the runs that are there.
    """
    run = _run(run_path)
    if not run.is_dir():
        raise _not_found("run", run, (p.name for p in _list(run.parent) if p.is_dir()))
    return sorted(int(p.name) for p in run.iterdir() if p.name.isdecimal() and (p / "policies").is_dir())


def _run(run_path: str | Path) -> Path:
    """A run's folder; one that comes with the project is found from every folder."""
    run, with_project = Path(run_path), shipped(run_path)
    return with_project if with_project.is_dir() and not run.is_dir() else run


def policy_path(run_path: str | Path, level_path: str | Path, step: int = -1) -> Path:
    """The checkpoint of a level: `<run_path>/<epoch>/policies/worlds_l_<level>.safetensors`, or else `.pkl`.

    Args:
        run_path: the run's directory, as in "logs-bc/small".
        level_path: a world file, as in "worlds/l/grasp_easy.json", or a level's name; only the name counts.
        step: the epoch; a negative number counts from the last one, -1.

    Raises:
        FileNotFoundError: no such run, epoch or level; the message lists those that are there.
    """
    run, epochs = _run(run_path), list_epochs(run_path)
    if step < 0 and -step <= len(epochs):
        step = epochs[step]
    if step not in epochs:
        raise _not_found("epoch", run / str(step), map(str, epochs))
    return _find(run / str(step) / "policies" / level_slug(level_path))


def find_policy(run_path: str | Path, level_path: str | Path, step: int = -1, file: str | Path | None = None) -> Path:
    """The checkpoint to evaluate: `file`, with or without its suffix, where one is given, else `policy_path(...)`.

    Raises:
        FileNotFoundError: no such file, run, epoch or level; the message lists those that are there.
    """
    return policy_path(run_path, level_path, step) if file is None else _find(Path(file))


def check_level(path: Path, facts: Mapping[str, Any], name: str, level_sha256: str, *, chosen: bool = False) -> None:
    """Compares a policy's level with the one that it is to act on. Checkpoints that do not say are taken as they are.

    Args:
        path: the checkpoint.
        facts: its metadata, with `level_sha256`, the content hash of the level that it was trained on, if recorded.
        name: of the level to act on.
        level_sha256: its content hash.
        chosen: the user named this file, which may well come from another level: warns where it would raise.

    Raises:
        ValueError: the level's content is another one.
    """
    trained = facts.get("level_sha256")
    if trained is None or trained == level_sha256:
        return
    level = f"level {facts['level']!r}" if "level" in facts else "a level"
    message = (
        f"{path} was trained on {level} with content {trained[:12]}…, and level {name!r} here has content "
        f"{level_sha256[:12]}…"
    )
    if not chosen:
        raise ValueError(
            f"{message}; train a policy on this level, or name the file with --policy to use it all the same"
        )
    warnings.warn(message, stacklevel=2)


def first_policy_path(run_path: str | Path, level_path: str | Path) -> Path:
    """The checkpoint of a level at the earliest epoch that has one.

    Raises:
        FileNotFoundError: no such run, or no checkpoint of the level in it.
    """
    for epoch in list_epochs(run_path):
        with contextlib.suppress(FileNotFoundError):
            return policy_path(run_path, level_path, epoch)
    return policy_path(run_path, level_path)


def _find(path: Path) -> Path:
    """The weights file that `path` names, with or without its suffix."""
    suffixes = (_WEIGHTS, _PICKLE)
    candidates = [path] if path.suffix in suffixes else [_with_suffix(path, suffix) for suffix in suffixes]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise _not_found("checkpoint", path, (p.name for p in _list(path.parent) if p.suffix in suffixes))


def _with_suffix(path: str | Path, suffix: str) -> Path:
    # Not Path.with_suffix: it would cut a name such as "v1.2" short.
    return Path(f"{str(path).removesuffix(suffix)}{suffix}")


def _list(directory: Path) -> list[Path]:
    return [p for p in directory.iterdir() if not p.name.startswith(".")] if directory.is_dir() else []


def _not_found(kind: str, path: Path, available: Iterable[str]) -> FileNotFoundError:
    names = sorted(available, key=lambda name: (len(name), name) if name.isdecimal() else (0, name))
    close = get_close_matches(path.name, names, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    there = f"{path.parent} has: {', '.join(names)}" if names else f"there is none in {path.parent}"
    return FileNotFoundError(f"no {kind} {str(path)!r}; {hint}{there}")


# --- our format ---------------------------------------------------------------------------------------------


def _read_safetensors(path: Path) -> _Checkpoint:
    header, data = _read_header(path), path.read_bytes()
    fix = "restore both files (git checkout, or copy them again) or train the policy again"
    if hashlib.sha256(data).hexdigest() != header["sha256"]:
        raise ValueError(
            f"{path} is truncated, damaged or from another save than {path.with_suffix(_HEADER).name}; {fix}"
        )
    try:
        parameters = safetensors.numpy.load(data)
        config = ModelConfig(**header["config"])
    except (SafetensorError, TypeError, ValueError) as error:
        raise ValueError(f"{path} cannot be read ({error}); {fix}") from error
    return _Checkpoint(path, parameters, config, header["obs_dim"], header["action_dim"], header["metadata"])


def _read_header(weights: Path) -> dict[str, Any]:
    path = weights.with_suffix(_HEADER)
    if not path.is_file():
        raise FileNotFoundError(f"no {str(path)!r}, which belongs to {weights.name}; copy it as well or train again")
    fix = "restore it (git checkout, or copy it again) or train the policy again"
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is truncated or damaged ({error}); {fix}") from error
    kinds = {
        "version": int,
        "config": dict,
        "obs_dim": int,
        "action_dim": int,
        "sha256": str,
        "metadata": dict,
    }
    for field, kind in kinds.items():
        if not isinstance(header, dict) or not isinstance(header.get(field), kind):
            raise ValueError(f"{path} does not describe a checkpoint: it has no valid {field!r}; {fix}")
    if header["version"] != _VERSION:
        raise ValueError(f"{path} has format version {header['version']}, this code reads {_VERSION}; update the code")
    return header


def _plain(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray | jax.Array):
        return np.asarray(value).tolist()
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"{value!r} is a {type(value).__name__}")


# --- checks -------------------------------------------------------------------------------------------------


def _abstract(obs_dim: int, action_dim: int, config: ModelConfig) -> FlowPolicy:
    """A policy of shapes and dtypes, without weights."""
    return nnx.eval_shape(lambda: FlowPolicy(obs_dim=obs_dim, action_dim=action_dim, config=config, rngs=nnx.Rngs(0)))


def _name(key: tuple[Any, ...]) -> str:
    return jax.tree_util.keystr(key, simple=True, separator="/")


def _flatten(tree: Any) -> dict[str, Any]:
    return {_name(key): leaf for key, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _check_config(checkpoint: _Checkpoint, wanted: ModelConfig) -> None:
    for field in dataclasses.fields(ModelConfig):
        ours, theirs = getattr(wanted, field.name), getattr(checkpoint.config, field.name)
        if ours != theirs and field.name not in _TRAINING_FIELDS:
            raise ValueError(
                f"{checkpoint.path} has {field.name}={theirs}, but {field.name}={ours} was asked for; "
                f"set --config.model.{field.name.replace('_', '-')} {theirs} or choose another run"
            )


def _check_dimensions(checkpoint: _Checkpoint, obs_dim: int, action_dim: int) -> None:
    for name, ours in (("obs_dim", obs_dim), ("action_dim", action_dim)):
        theirs = getattr(checkpoint, name)
        if ours != theirs:
            raise ValueError(
                f"{checkpoint.path} was trained with {name}={theirs}, but {name}={ours} was asked for; "
                f"use an environment with {name}={theirs} or choose another run"
            )


def _check_parameters(path: Path, parameters: Mapping[str, Any], abstract: FlowPolicy) -> None:
    """Raises ValueError naming the first parameter that is missing, unexpected or of another kind."""
    expected = _flatten(nnx.to_pure_dict(nnx.state(abstract)))
    for name, want in expected.items():
        if name not in parameters:
            problem = f"parameter {name!r} is missing"
        elif parameters[name].shape != want.shape:
            problem = f"parameter {name!r} has shape {parameters[name].shape}, expected {want.shape}"
        elif parameters[name].dtype != want.dtype:
            problem = f"parameter {name!r} has dtype {parameters[name].dtype}, expected {want.dtype}"
        else:
            continue
        raise ValueError(f"{path}: {problem}; the weights do not belong to {abstract.config}")
    if unexpected := [name for name in parameters if name not in expected]:
        raise ValueError(f"{path}: unexpected parameter {unexpected[0]!r}; {abstract.config} does not have it")


# --- the published pickle format ----------------------------------------------------------------------------


def _read_pickle(path: Path) -> _Checkpoint:
    """A published checkpoint. Its configuration follows from the shapes of its arrays."""
    parameters = pickles.read_arrays(path)
    try:
        return _Checkpoint(path, parameters, *_infer_sizes(parameters), metadata={})
    except ValueError as error:
        raise ValueError(f"{path} is not a flow policy: {error}; choose another file") from error


def _infer_sizes(parameters: Parameters) -> tuple[ModelConfig, int, int]:
    """Configuration, obs_dim and action_dim that the shapes of the weights imply."""

    def shape(name: str) -> tuple[int, int]:
        if name not in parameters or parameters[name].ndim != 2:
            raise ValueError(f"it has no matrix {name!r}")
        return parameters[name].shape

    inputs, channel_dim = shape("in_proj/kernel")
    chunk_size, token_hidden_dim = shape("mlp_stack/0/token_mix_in/kernel")
    action_dim = shape("out_proj/kernel")[1]
    layers = {name.split("/")[1] for name in parameters if name.startswith("mlp_stack/")}
    config = ModelConfig(
        channel_dim=channel_dim,
        channel_hidden_dim=shape("mlp_stack/0/channel_mix_in/kernel")[1],
        token_hidden_dim=token_hidden_dim,
        num_layers=len(layers),
        action_chunk_size=chunk_size,
    )
    return config, inputs - action_dim, action_dim


def level_slug(level_path: str | Path) -> str:
    """The level's name in checkpoint files: "worlds_l_grasp_easy" for every spelling of that level's name or path."""
    return f"worlds_l_{level_name(level_path)}"
