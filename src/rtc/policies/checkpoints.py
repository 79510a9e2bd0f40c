"""Flow-policy checkpoints: found by run, epoch and level, and checked when they are loaded.

The files are those of `rtc.policies.weights`; the header has the model's configuration and dimensions and the
caller's metadata.

The published benchmark's checkpoints are pickles (`<name>.pkl`). A pickle can run any code when it is loaded,
so they go through `rtc.shared.pickles`, which can build arrays and dictionaries and nothing else.
"""

import contextlib
import dataclasses
import hashlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from rtc.policies import weights
from rtc.policies.flow import FlowPolicy
from rtc.policies.mixer import TRAINING_FIELDS, ModelConfig
from rtc.shared import pickles
from rtc.shared.paths import level_name, shipped

PICKLE = ".pkl"


@dataclasses.dataclass(frozen=True)
class _Checkpoint:
    """What the files hold, before it is checked against what was asked for."""

    path: Path
    parameters: weights.Arrays
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
    path = _name(path)
    leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.state(policy)))
    arrays = {weights.slashed(key): leaf for key, leaf in leaves}
    weights.check_arrays(path, arrays, _abstract(policy.obs_dim, policy.action_dim, policy.config))
    sizes = {"config": dataclasses.asdict(policy.config), "obs_dim": policy.obs_dim, "action_dim": policy.action_dim}
    weights.write(path, policy, {**sizes, "metadata": dict(metadata)})


def load_policy(
    path: str | Path, config: ModelConfig | None = None, *, obs_dim: int = 679, action_dim: int = 6
) -> tuple[FlowPolicy, dict[str, Any]]:
    """Reads a checkpoint, checks it and returns the policy with the metadata it was saved with.

    Args:
        path: a .safetensors file, an upstream .pkl file, or the name of either without its suffix.
        config: the wanted configuration; the checkpoint's own by default. Only `simulated_delay` and `robot_ahead` may
            differ from the checkpoint's, because they matter in training alone, as when a policy is fine-tuned; the
            wanted ones then apply.
        obs_dim: size of the observation that the policy will get.
        action_dim: size of the actions that it has to give.

    Raises:
        FileNotFoundError: no such checkpoint; the message lists those that are there.
        ValueError: the file is damaged, holds anything but arrays (.pkl), or differs from what was asked for;
            the message names the first difference and what to do.
    """
    path = _find(Path(path))
    checkpoint = _read_pickle(path) if path.suffix == PICKLE else _read_safetensors(path)
    config = config or checkpoint.config
    _check_config(checkpoint, config)
    _check_dimensions(checkpoint, obs_dim, action_dim)
    policy = weights.filled(path, checkpoint.parameters, _abstract(obs_dim, action_dim, config))
    return policy, checkpoint.metadata


def facts(path: Path) -> dict[str, Any]:
    """The metadata beside a policy's weights, which are not read; `path` is the checkpoint without suffix.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged.
    """
    return weights.read_header(path, {"metadata": dict})["metadata"]


def config_of(path: str | Path) -> ModelConfig:
    """The configuration that stands beside a checkpoint of ours; its weights are not read.

    Raises:
        FileNotFoundError: no such checkpoint.
        ValueError: the file beside it is damaged, or it is a published one (.pkl), which has none.
    """
    path = _find(Path(path))
    if path.suffix == PICKLE:
        raise ValueError(f"{path} is a pickle, and nothing beside it says what it is")
    header = weights.read_header(_name(path), {"config": dict})
    return weights.sizes(_name(path), lambda: ModelConfig(**header["config"]))


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
    run = run_folder(run_path)
    if not run.is_dir():
        raise weights.not_found("run", run, (p.name for p in _list(run.parent) if p.is_dir()))
    return sorted(int(p.name) for p in run.iterdir() if p.name.isdecimal() and (p / "policies").is_dir())


def run_folder(run_path: str | Path) -> Path:
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
    run, epochs = run_folder(run_path), list_epochs(run_path)
    if step < 0 and -step <= len(epochs):
        step = epochs[step]
    if step not in epochs:
        raise weights.not_found("epoch", run / str(step), map(str, epochs))
    return _find(run / str(step) / "policies" / level_slug(level_path))


def find_policy(run_path: str | Path, level_path: str | Path, step: int = -1, file: str | Path | None = None) -> Path:
    """The checkpoint to evaluate: `file`, with or without its suffix, where one is given, else `policy_path(...)`.

    Raises:
        FileNotFoundError: no such file, run, epoch or level; the message lists those that are there.
    """
    if file is not None:
        return _find(Path(file))
    try:
        return policy_path(run_path, level_path, step)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; eval_flow takes another level's with --policy FILE") from None


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
            f"{message}; train a policy on this level (or was it a dump, read by other --world-rules?), or name the "
            "file with --policy to use it all the same"
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
    suffixes = (weights.WEIGHTS, PICKLE)
    candidates = [path] if path.suffix in suffixes else [weights.with_suffix(path, suffix) for suffix in suffixes]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise weights.not_found("checkpoint", path, (p.name for p in _list(path.parent) if p.suffix in suffixes))


def _name(path: str | Path) -> Path:
    """A checkpoint without its suffix."""
    return Path(str(path).removesuffix(weights.WEIGHTS))


def _list(directory: Path) -> list[Path]:
    return [p for p in directory.iterdir() if not p.name.startswith(".")] if directory.is_dir() else []


# --- our format ---------------------------------------------------------------------------------------------


def _read_safetensors(path: Path) -> _Checkpoint:
    fields = {"config": dict, "obs_dim": int, "action_dim": int, "metadata": dict}
    header = weights.read_header(_name(path), fields)
    arrays = weights.read_arrays(_name(path), header)
    config = weights.sizes(_name(path), lambda: ModelConfig(**header["config"]))
    return _Checkpoint(path, arrays, config, header["obs_dim"], header["action_dim"], header["metadata"])


# --- checks -------------------------------------------------------------------------------------------------


def _abstract(obs_dim: int, action_dim: int, config: ModelConfig) -> FlowPolicy:
    """A policy of shapes and dtypes, without weights."""
    return nnx.eval_shape(lambda: FlowPolicy(obs_dim=obs_dim, action_dim=action_dim, config=config, rngs=nnx.Rngs(0)))


def _check_config(checkpoint: _Checkpoint, wanted: ModelConfig) -> None:
    for field in dataclasses.fields(ModelConfig):
        ours, theirs = getattr(wanted, field.name), getattr(checkpoint.config, field.name)
        if ours != theirs and field.name not in TRAINING_FIELDS:
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


# --- the published pickle format ----------------------------------------------------------------------------


def _read_pickle(path: Path) -> _Checkpoint:
    """A published checkpoint. Its configuration follows from the shapes of its arrays."""
    parameters = pickles.read_arrays(path)
    try:
        return _Checkpoint(path, parameters, *_infer_sizes(parameters), metadata={})
    except ValueError as error:
        raise ValueError(f"{path} is not a flow policy: {error}; choose another file") from error


def _infer_sizes(parameters: weights.Arrays) -> tuple[ModelConfig, int, int]:
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
