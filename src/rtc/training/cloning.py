"""Behaviour cloning of chunk policies: chunks of demonstrated actions, learned by flow matching or L1 regression."""

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rtc.policies import checkpoints, kinds, weights
from rtc.policies.kinds import ChunkPolicy
from rtc.policies.mixer import ModelConfig
from rtc.shared import provenance
from rtc.shared.validation import require_choice, require_int
from rtc.training import demonstrations, runs, trainer
from rtc.training.demonstrations import Demonstrations
from rtc.training.trainer import FitConfig

SMALL_MODEL = ModelConfig(
    channel_dim=64, channel_hidden_dim=128, token_hidden_dim=32, num_layers=2, action_chunk_size=4
)


@dataclasses.dataclass(frozen=True)
class CloningConfig(FitConfig):
    """One training run. The defaults fit a CPU; `PUBLISHED` holds the published sizes.

    Attributes:
        num_epochs: passes over the demonstrations.
        batch_size: chunks per update.
        parts: equal parts of a batch whose gradients are computed one after the other; 1 suits an accelerator.
        learning_rate: AdamW's step size after the warm-up.
        weight_decay: AdamW's weight decay.
        warmup_steps: updates over which the step size rises from 0.
        max_grad_norm: bound on the gradient's global norm.
        ema_decay: decay per update of the moving average of the weights, which is the policy that is kept; 0 keeps
            the last weights.
        seed: seed of initial weights, batches and flow noise.
        run_path: the experts' run, whose demonstrations are learned.
        load_dir: flow-policy run to start from (for fine-tuning, for instance with `model.simulated_delay`).
        save_every: epochs between two policy checkpoints (the last epoch is always kept).
        also_save: further epochs whose checkpoints are kept, for instance an early, weak policy for BID.
        also_last: keep the last weights too, without averaging: in <output-path>/last, a run of its own.
        data: folder of the demonstrations in the experts' run.
        labels: which actions are learned: what the experts drew, or their mode; None takes what was recorded to be
            imitated.
        max_transitions: learn from the first whole episodes with at least so many transitions; None takes all.
        wandb: log to Weights & Biases too; needs WANDB_MODE=online or offline, as it is disabled by default.
        loss: what is learned: a flow, or with `l1` one chunk per observation (`rtc.policies.regression`).
        model: size of the policy.
    """

    num_epochs: int = 16
    parts: int = 16
    learning_rate: float = 3e-4
    warmup_steps: int = 1000
    run_path: Path = Path("logs-expert/default")
    load_dir: Path | None = None
    save_every: int = 8
    also_save: tuple[int, ...] = ()
    also_last: bool = False
    data: str = "data"
    labels: Literal["drawn", "mode"] | None = None
    max_transitions: int | None = None
    wandb: bool = False
    loss: Literal["flow", "l1"] = "flow"
    model: ModelConfig = SMALL_MODEL

    def __post_init__(self):
        super().__post_init__()
        require_int("save_every", self.save_every, low=1)
        for epoch in self.also_save:
            require_int("also_save", epoch, low=1)
        if self.max_transitions is not None:
            require_int("max_transitions", self.max_transitions, low=1)
        if self.also_last and not self.ema_decay:
            raise ValueError("also_last=True has no effect with ema_decay=0, which keeps the last weights anyway")
        require_choice("loss", self.loss, kinds.KINDS)
        if self.model.simulated_delay is not None and not kinds.KINDS[self.loss].flows:
            raise ValueError(
                f"model.simulated_delay={self.model.simulated_delay} has no effect with loss={self.loss!r}, whose "
                "policies read no committed actions: leave one of them out"
            )


PUBLISHED = CloningConfig(
    run_path=Path("logs-expert/published"), num_epochs=32, parts=1, ema_decay=0.0, model=ModelConfig()
)
# Fields that may change between a run and its continuation.
FREE_FIELDS = ("num_epochs", "save_every", "also_save", "also_last", "wandb", "parts")
# What runs did that do not record it.
BEFORE = MappingProxyType(
    {
        "also_last": False,
        "data": "data",
        "labels": None,
        "max_transitions": None,
        "loss": "flow",
        "model": {"robot_ahead": None},
    }
)


def chosen(data: Demonstrations, config: CloningConfig) -> Demonstrations:
    """The part of a recording that a run learns from, and the labels that it learns; the facts say which.

    Raises:
        ValueError: labels where there is nothing to choose, or more transitions than were recorded.
    """
    if config.labels is not None:
        if not data.facts["sample_actions"]:
            raise ValueError(
                f"labels={config.labels!r} has no effect: these experts executed their mode; leave it out, or record "
                "with sample_actions"
            )
        if (config.labels == "mode") != data.facts["record_mode"]:
            facts = data.facts | {"record_mode": not data.facts["record_mode"]}
            data = data._replace(action=data.other, other=data.action, facts=facts)
    return data if config.max_transitions is None else _first(data, config.max_transitions)


def _first(data: Demonstrations, transitions: int) -> Demonstrations:
    """The first whole episodes with at least so many transitions."""
    ends = np.flatnonzero(data.done)
    enough = np.searchsorted(ends + 1, transitions)
    if enough == len(ends):
        raise ValueError(
            f"max_transitions={transitions} exceeds the {len(data.done)} recorded ones; record more or lower it"
        )
    count = ends[enough] + 1
    fields = {name: getattr(data, name)[:count] for name in demonstrations.FIELDS}
    return data._replace(**fields, facts=data.facts | demonstrations.counts(fields))


class Dataset(NamedTuple):
    """Demonstrations on the device.

    Attributes:
        obs, action, template, entries: as in `Demonstrations`.
        last: index of the last transition of each one's episode.
        robot: which of the entries are those of the robot's own bodies; None where that is not asked.
        robot_ahead: how many ticks these may be ahead of the others.
    """

    obs: Float[Array, "n k"]
    action: Float[Array, "n a"]
    last: Int[Array, " n"]
    template: Float[Array, " o"]
    entries: Int[Array, " k"]
    robot: Bool[Array, " k"] | None = None
    robot_ahead: int = 0


def make_dataset(data: Demonstrations, robot: Bool[np.ndarray, " k"] | None = None, robot_ahead: int = 0) -> Dataset:
    """Arrays for the objectives; the data must hold whole episodes."""
    return Dataset(
        robot=None if robot is None else jnp.asarray(robot),
        robot_ahead=robot_ahead,
        obs=jnp.asarray(data.obs, jnp.float32),
        action=jnp.asarray(data.action, jnp.float32),
        last=jnp.asarray(episode_ends(data.done), jnp.int32),
        template=jnp.asarray(data.template, jnp.float32),
        entries=jnp.asarray(data.entries, jnp.int32),
    )


def episode_ends(done: Bool[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """For every transition, the index of its episode's last one.

    Raises:
        ValueError: if the data are empty or end within an episode.
    """
    if len(done) == 0 or not done[-1]:
        raise ValueError(f"the demonstrations ({len(done)} transitions) must end with the end of an episode")
    ends = np.flatnonzero(done)
    return ends[np.searchsorted(ends, np.arange(len(done)))]


def chunks(
    data: Dataset, start: Int[Array, " b"], chunk_size: int
) -> tuple[Float[Array, "b o"], Float[Array, "b h a"]]:
    """Full observations at `start` and the `chunk_size` actions from there; zeros after the episode's end."""
    return _full(data, data.obs[start]), _actions(data, start, chunk_size)


def _full(data: Dataset, obs: Float[Array, "b k"]) -> Float[Array, "b o"]:
    constants = jnp.broadcast_to(data.template, (len(obs), len(data.template)))
    return constants.at[:, data.entries].set(obs)


def _actions(data: Dataset, start: Int[Array, " b"], chunk_size: int) -> Float[Array, "b h a"]:
    index = start[:, None] + jnp.arange(chunk_size)
    last = data.last[start][:, None]
    return jnp.where((index <= last)[..., None], data.action[jnp.minimum(index, last)], 0.0)


def objective(
    policy: ChunkPolicy, data: Dataset, batch: Int[Array, " b"], key: PRNGKeyArray
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """The policy's loss of the chunks that start at these transitions."""
    return policy.loss(key, *chunks(data, batch, policy.config.action_chunk_size)), {}


def robot_ahead_objective(
    policy: ChunkPolicy, data: Dataset, batch: Int[Array, " b"], key: PRNGKeyArray
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """The same for observations whose robot is ahead of the rest, and the chunks that start there (VLASH)."""
    ahead_key, key = jax.random.split(key)
    return policy.loss(key, *ahead_chunks(data, batch, policy.config.action_chunk_size, ahead_key)), {}


def ahead_chunks(
    data: Dataset, start: Int[Array, " b"], chunk_size: int, key: PRNGKeyArray
) -> tuple[Float[Array, "b o"], Float[Array, "b h a"]]:
    """Full observations at `start` but for the robot, which is δ ticks ahead, and the `chunk_size` actions from there.

    δ is uniform in 0 … `robot_ahead` (VLASH, arXiv 2512.01031), less where the episode ends before.
    """
    then = jnp.minimum(start + jax.random.randint(key, start.shape, 0, data.robot_ahead + 1), data.last[start])
    obs = jnp.where(data.robot, data.obs[then], data.obs[start])
    return _full(data, obs), _actions(data, then, chunk_size)


def train(
    data: Demonstrations,
    config: CloningConfig,
    *,
    level: str,
    output_path: Path,
    facts: Mapping[str, Any],
    resume: bool,
    robot: Bool[np.ndarray, " k"] | None = None,
) -> Path:
    """Trains one policy and writes `<output_path>/<epoch>/policies/<level>.safetensors` (+ `.json`).

    The complete state is saved at the end of every epoch, and all random numbers derive from (seed, epoch): a
    killed and resumed run ends with the same policy as an uninterrupted one.

    Args:
        data: demonstrations of whole episodes.
        config: hyper-parameters.
        level: slug of the level, for file names.
        output_path: folder of the run.
        facts: what to note in each checkpoint besides the training itself.
        resume: keep a policy that is there, or continue from the saved state if there is one.
        robot: which of the observed entries are those of the robot's own bodies; for `robot_ahead`.

    Returns:
        The last checkpoint, without suffix.

    Raises:
        FloatingPointError: if the loss or a parameter is no longer finite.
        ValueError: if the data are too few, the saved state does not fit the configuration, or the policy that is there
            learned other demonstrations.
    """
    if resume and (kept := _kept(output_path, config, level, facts)) is not None:
        return kept
    if not resume:
        runs.discard(output_path, level)
        runs.discard(output_path / "last", level)
    init_key, epoch_key = jax.random.split(jax.random.key(config.seed))
    policy, origin = _starting_policy(config, level, data, init_key), provenance.origin()
    save = kinds.KINDS[config.loss].save

    def keep(epoch: trainer.Epoch) -> None:
        if epoch.done == config.num_epochs or epoch.done % config.save_every == 0 or epoch.done in config.also_save:
            progress = {**epoch.row, "epoch": epoch.done, "seconds": epoch.seconds, **origin}
            metadata = {**facts, "training": runs.as_dict(config), **progress}
            save(policy_path(output_path, epoch.done, level), epoch.model(), metadata)
            if config.also_last:
                path = policy_path(output_path / "last", epoch.done, level)
                save(path, epoch.last(), metadata | {"averaged": False})

    trainer.fit(
        policy,
        objective if config.model.robot_ahead is None else robot_ahead_objective,
        make_dataset(data, robot, config.model.robot_ahead or 0),
        trainer.Shuffled(len(data.done), config.batch_size, epoch_key),
        config,
        folder=output_path,
        name=level,
        resume=resume,
        label=f"level {level}",
        after_epoch=keep,
        wandb_config=runs.as_dict(config) if config.wandb else None,
    )
    return policy_path(output_path, config.num_epochs, level)


def _kept(output_path: Path, config: CloningConfig, level: str, facts: Mapping[str, Any]) -> Path | None:
    """The finished policy if it is there, with or without the state to resume from, which is not shipped.

    Raises:
        ValueError: it learned other demonstrations.
    """
    folders = [output_path, *([output_path / "last"] if config.also_last else [])]
    wanted = [policy_path(folder, config.num_epochs, level) for folder in folders]
    if not all(weights.with_suffix(path, weights.HEADER).is_file() for path in wanted):
        return None
    found = checkpoints.facts(wanted[0]).get("data_sha256")
    if found != facts["data_sha256"]:
        raise ValueError(
            f"{wanted[0]} learned other demonstrations than those in {facts['data_path']}: --no-resume replaces it, "
            "and another --output-path keeps it"
        )
    print(f"{wanted[0]}: there already", flush=True)
    return wanted[0]


def policy_path(output_path: Path, epoch: int, level: str) -> Path:
    """Where `train` puts a checkpoint (without suffix)."""
    return output_path / str(epoch) / "policies" / level


def _starting_policy(config: CloningConfig, level: str, data: Demonstrations, key: PRNGKeyArray) -> ChunkPolicy:
    sizes, kind = {"obs_dim": len(data.template), "action_dim": data.action.shape[1]}, kinds.KINDS[config.loss]
    if config.load_dir is None:
        return kind.make(**sizes, config=config.model, rngs=nnx.Rngs(key))
    epoch = checkpoints.list_epochs(config.load_dir)[-1]
    return kind.load(policy_path(config.load_dir, epoch, level), config.model, **sizes)[0]


def data_facts(path: Path, data: Demonstrations, level: str, level_sha256: str) -> dict[str, Any]:
    """What a policy was trained for and on, for its checkpoint.

    Args:
        path: the demonstration file.
        data: what is in it.
        level: the level's name.
        level_sha256: hash of the level's content.

    Raises:
        ValueError: the data were recorded in another level of this name.
    """
    demonstrations.require_level(path, data.facts, level_sha256)
    recorded = ("experts", "masked_experts", "transitions", "episodes", "solve_rate")
    names = (*recorded, "seed", "sample_actions", "record_mode", "action_noise_std", "max_experts")
    facts = {f"data_{name}": data.facts[name] for name in names}
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return {"level": level, "level_sha256": level_sha256, "data_path": str(path), "data_sha256": sha256, **facts}
