"""Demonstrations: trained experts rolled out under action noise, one file of whole episodes per level.

A demonstration file (`.npz`, no pickles) holds one episode after another, each in the order of time:

    obs       [n, k]  the observation entries that can vary in this level, float32
    action    [n, a]  the action to imitate, within the action bounds: what the expert commanded, before noise, or
                      its mode
    other     [n, a]  the other one of these two
    done      [n]     last tick of an episode
    solved    [n]     that tick reached the goal
    finite    [n]     False where the simulation broke down at this tick
    expert    [n]     number of the expert that acted
    template  [o]     a full observation; entries that never vary have their value here
    entries   [k]     where the varying entries belong in it
    facts     JSON    experts, configuration, solve rate
"""

import dataclasses
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray
from tqdm import tqdm

from rtc.control import environment
from rtc.control.environment import Environment
from rtc.policies import weights
from rtc.shared import devices, runtime
from rtc.shared.devices import AXIS, DIVIDED, EVERYWHERE
from rtc.shared.files import atomic_path
from rtc.shared.validation import require_float, require_int
from rtc.training import npz, runs, shaping
from rtc.training.expert import RELIABLE_SOLVE_RATE, Expert, load_expert, newest_experts

FIELDS = ("obs", "action", "other", "done", "solved", "finite", "expert")
# What recordings did that do not record it.
BEFORE = MappingProxyType({"max_experts": None, "folder": "data"})
_EXPERT_FACTS = ("seed", "solve_rate", "update", "env_steps", "seconds", "git_commit", "command")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """How much to record and how.

    Attributes:
        run_path: the experts' run.
        num_transitions: transitions to record at least, in whole episodes.
        num_envs: parallel environments.
        ticks_per_part: control ticks between two saves.
        seed: seed of the experts' draw, of sampled actions and of noise.
        min_solve_rate: experts below this are not used.
        sample_actions: execute actions drawn from the expert's distribution; False executes its mode.
        record_mode: record the mode even where a drawn action was executed: what to do in the states that noise leads
            to, without the noise (DART, arXiv 1703.09327).
        action_noise_std: standard deviation of the environment's action noise.
        physics: which physics step simulates the level.
        max_experts: experts to imitate at most, those of the first seeds; None imitates all that are good enough.
        folder: folder of the data, in the experts' run.
    """

    run_path: Path = Path("logs-expert/default")
    num_transitions: int = 460_000
    num_envs: int = 128
    ticks_per_part: int = 256
    seed: int = 0
    min_solve_rate: float = RELIABLE_SOLVE_RATE
    sample_actions: bool = True
    record_mode: bool = True
    action_noise_std: float = shaping.ACTION_NOISE_STD
    physics: str = "fast"
    max_experts: int | None = None
    folder: str = "data"

    def __post_init__(self):
        require_int("seed", self.seed, low=0)
        if self.max_experts is not None:
            require_int("max_experts", self.max_experts, low=1)
        for name in ("num_transitions", "num_envs", "ticks_per_part"):
            require_int(name, getattr(self, name), low=1)
        require_float("min_solve_rate", self.min_solve_rate, low=0.0, high=1.0)
        require_float("action_noise_std", self.action_noise_std, low=0.0)

    def check_devices(self, devices: int) -> None:
        """Raises ValueError unless the environments divide evenly over the devices."""
        if self.num_envs % devices:
            raise ValueError(f"num_envs={self.num_envs} must be a multiple of the {devices} devices")


class Stream(NamedTuple):
    """One device's running episodes and the number of the expert that acts in each."""

    state: shaping.TrackedState
    expert: Int[Array, " b"]


class Transitions(NamedTuple):
    """Recorded ticks, environment-major; the fields are explained at the top of this file."""

    obs: Float[Array, "b t k"]
    action: Float[Array, "b t a"]
    other: Float[Array, "b t a"]
    done: Bool[Array, "b t"]
    solved: Bool[Array, "b t"]
    finite: Bool[Array, "b t"]
    expert: Int[Array, "b t"]


class Demonstrations(NamedTuple):
    """A demonstration file in memory; the fields are explained at the top of this file."""

    obs: np.ndarray
    action: np.ndarray
    other: np.ndarray
    done: np.ndarray
    solved: np.ndarray
    finite: np.ndarray
    expert: np.ndarray
    template: np.ndarray
    entries: np.ndarray
    facts: dict[str, Any]

    def summary(self) -> str:
        """Size and quality in one line."""
        counts = f"{self.facts['transitions']} transitions, {self.facts['episodes']} episodes"
        return f"{counts}, {len(self.facts['experts'])} experts, {self.facts['solve_rate']:.1%} solved"


# --- experts ------------------------------------------------------------------------------------------------


class Experts(NamedTuple):
    """Experts and their training facts, by path: those to imitate and those that solve the level too rarely."""

    used: dict[str, tuple[Expert, dict[str, Any]]]
    masked: dict[str, tuple[Expert, dict[str, Any]]]


def find_experts(run_path: Path, level: str, min_solve_rate: float, limit: int | None = None) -> Experts:
    """The newest checkpoint of each seed's expert.

    Args:
        run_path: the experts' run.
        level: slug of the level.
        min_solve_rate: experts below this are masked.
        limit: how many are used at most, those of the first seeds.

    Raises:
        FileNotFoundError: if the run holds no expert for the level.
        ValueError: if none is good enough, or their shapes differ.
    """
    loaded = {str(path): load_expert(path) for path in newest_experts(run_path, level)}
    good = {path: found for path, found in loaded.items() if found[1]["solve_rate"] >= min_solve_rate}
    masked = {path: found for path, found in loaded.items() if path not in good}
    if not good:
        best = max(facts["solve_rate"] for _, facts in loaded.values())
        fix = "train longer or lower min_solve_rate"
        raise ValueError(f"no expert for {level} reaches min_solve_rate={min_solve_rate} (best: {best:.3f}); {fix}")
    if late := [path for path, (expert, _) in loaded.items() if expert.config.delay]:
        raise ValueError(f"{late[0]} was trained with --config.delay and sees late observations: record other experts")
    if len({expert.config for expert, _ in good.values()}) > 1:
        raise ValueError(f"the experts for {level} in {run_path} differ in shape; keep one shape per run")
    return Experts(dict(list(good.items())[:limit]), masked)


# --- rollouts -----------------------------------------------------------------------------------------------


class Collector:
    """Compiled rollouts of a set of experts, spread over all devices.

    Args:
        experts: experts of one shape.
        config: batch size, noise and length of a part.

    Raises:
        ValueError: if the environments do not divide evenly over the devices.
    """

    def __init__(self, experts: Sequence[Expert], config: DataConfig):
        config.check_devices(devices.count())
        self.config, self.shape = config, experts[0].config
        self.local_envs = config.num_envs // devices.count()
        self.graphdef, _ = nnx.split(experts[0])
        self.params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[nnx.state(e) for e in experts])
        self.num_experts = len(experts)
        self._start = runtime.jit(devices.sharded(self._first_stream, EVERYWHERE, DIVIDED))
        ins = (EVERYWHERE, EVERYWHERE, DIVIDED, EVERYWHERE)
        self._collect = runtime.jit(devices.sharded(self._part, ins, DIVIDED))

    def start(self, env: Environment, key: PRNGKeyArray) -> Stream:
        """Fresh episodes; leaves have a leading device axis."""
        return self._start(env, key)

    def collect(self, env: Environment, stream: Stream, key: PRNGKeyArray) -> tuple[Stream, Transitions]:
        """Records `ticks_per_part` ticks of all environments."""
        return self._collect(env, self.params, stream, key)

    def _first_stream(self, env: Environment, key: PRNGKeyArray) -> Stream:
        key = jax.random.fold_in(key, jax.lax.axis_index(AXIS))
        return devices.with_axis(Stream(self._start_state(env), self._draw(key)))

    def _start_state(self, env: Environment) -> shaping.TrackedState:
        return shaping.reset(env, environment.start_keys(self.local_envs), self.shape.history)

    def _draw(self, key: PRNGKeyArray) -> Int[Array, " b"]:
        return jax.random.randint(key, (self.local_envs,), 0, self.num_experts)

    def _part(self, env: Environment, params: Any, stream: Stream, key: PRNGKeyArray) -> tuple[Stream, Transitions]:
        start = self._start_state(env)

        def act(params: Any, key: PRNGKeyArray, features: Float[Array, "b f"]) -> Float[Array, "2 b a"]:
            """Commanded action and mode."""
            expert = nnx.merge(self.graphdef, params)
            mode = expert.mode(features)
            return jnp.stack([expert.sample(key, features) if self.config.sample_actions else mode, mode])

        def tick(stream: Stream, key: PRNGKeyArray) -> tuple[Stream, Transitions]:
            action_key, noise_key, draw_key = jax.random.split(key, 3)
            features = shaping.features(stream.state)
            proposals = jax.vmap(act, in_axes=(0, None, None), out_axes=1)(params, action_key, features)
            action, mode = proposals[:, stream.expert, jnp.arange(self.local_envs)]
            recorded, other = (mode, action) if self.config.record_mode else (action, mode)
            executed = environment.noisy_action(noise_key, action, self.config.action_noise_std)
            state, moved = shaping.step_and_reset(env, stream.state, start, action, executed)
            transitions = Transitions(
                obs=stream.state.history[:, -1],
                action=recorded,
                other=other,
                done=moved.done,
                solved=moved.solved & moved.done,
                finite=moved.finite,
                expert=stream.expert,
            )
            return Stream(state, jnp.where(moved.done, self._draw(draw_key), stream.expert)), transitions

        key = jax.random.fold_in(key, jax.lax.axis_index(AXIS))
        keys = jax.random.split(key, self.config.ticks_per_part)
        stream, recorded = jax.lax.scan(tick, devices.without_axis(stream), keys)
        return devices.with_axis(stream), jax.tree.map(lambda leaf: leaf.swapaxes(0, 1), recorded)


# --- a whole recording --------------------------------------------------------------------------------------


def generate(env: Environment, level: str, config: DataConfig, *, resume: bool, level_sha256: str) -> Path:
    """Records demonstrations to `<run_path>/<folder>/<level>.npz`, unless they are there already.

    Parts are kept in `<level>.parts/` until the recording is complete. All random numbers derive from (seed,
    part, device): on the same number of devices a killed and resumed recording ends with the same file.

    Args:
        env: the environment, observing everything.
        level: slug of the level.
        config: what to record.
        resume: continue from the parts found, or keep a complete file; False starts afresh.
        level_sha256: hash of the level's content.

    Returns:
        The path of the file.

    Raises:
        FileNotFoundError: if there is no expert for the level.
        ValueError: if no expert is good enough, one was trained in another level of this name, or what is there was
            recorded by other experts or in such a level.
    """
    folder = config.run_path / config.folder
    path, parts = folder / f"{level}.npz", folder / f"{level}.parts"
    found = find_experts(config.run_path, level, config.min_solve_rate, config.max_experts)
    experts = [expert for expert, _ in found.used.values()]
    used, masked = (
        {name: {fact: about.get(fact) for fact in _EXPERT_FACTS} for name, (_, about) in group.items()}
        for group in found
    )
    for name, (_, about) in found.used.items():
        require_level(name, about, level_sha256)
    facts = {"level": level, "experts": used, "masked_experts": masked, **runs.as_dict(config)}
    facts |= {"level_sha256": level_sha256, "fields": list(FIELDS)}
    runs.keep_facts(folder / f"{level}.json", facts, resume, may_be_new=("level_sha256",), before=BEFORE)
    if not resume:
        path.unlink(missing_ok=True)
        shutil.rmtree(parts, ignore_errors=True)
    if not path.exists():
        template = np.asarray(env.reset(environment.start_keys(1))[1][0])
        entries = experts[0].config.obs_entries
        _record_parts(env.observing(entries), experts, config, parts)
        _merge_parts(parts, path, template, np.asarray(entries, np.int32), facts)
    shutil.rmtree(parts, ignore_errors=True)
    return path


def _record_parts(env: Environment, experts: Sequence[Expert], config: DataConfig, parts: Path) -> None:
    """Adds parts until the whole episodes among them hold enough transitions."""
    collector = Collector(experts, config)
    start_key, record_key = jax.random.split(jax.random.key(config.seed))
    state_path = parts / "resume.safetensors"
    fresh = {"stream": collector.start(env, start_key), "number": 0}
    saved = runs.restore(state_path, fresh, resume=True)
    stream, first = saved["stream"], int(saved["number"])
    recorded = [_read_part(parts, number) for number in range(first)]
    done, solved = [part["done"] for part in recorded], [part["solved"] for part in recorded]
    with tqdm(total=config.num_transitions, desc=parts.stem, unit_scale=True, dynamic_ncols=True) as bar:
        while (complete := int(whole_episodes(done).sum())) < config.num_transitions:
            bar.update(complete - bar.n)
            stream, recorded = collector.collect(env, stream, jax.random.fold_in(record_key, len(done)))
            part = {name: np.asarray(leaf) for name, leaf in recorded._asdict().items()}
            _write_npz(parts / f"{len(done)}.npz", part)
            done.append(part["done"])
            solved.append(part["solved"])
            # Last, so that a recording killed in between writes its part again.
            weights.save_tree(state_path, {"stream": stream, "number": len(done)})
            bar.set_postfix(solved=f"{np.sum(solved) / max(np.sum(done), 1):.3f}", refresh=False)
        bar.update(complete - bar.n)


def whole_episodes(done: Sequence[Bool[np.ndarray, "b t"]]) -> Bool[np.ndarray, "b total"]:
    """True for ticks of episodes that ended within the recording; `done` is split into parts along time."""
    if not done:
        return np.zeros((0, 0), bool)
    reversed_done = np.concatenate(done, axis=1)[:, ::-1]
    return np.logical_or.accumulate(reversed_done, axis=1)[:, ::-1]


def _merge_parts(parts: Path, path: Path, template: np.ndarray, entries: np.ndarray, facts: Mapping[str, Any]) -> None:
    numbers = sorted(int(file.stem) for file in parts.glob("*.npz"))
    recorded = [_read_part(parts, number) for number in numbers]
    keep = whole_episodes([part["done"] for part in recorded])
    merged = {name: np.concatenate([part[name] for part in recorded], axis=1)[keep] for name in FIELDS}
    text = np.asarray(json.dumps({**facts, **counts(merged)}, default=str))
    _write_npz(path, {**merged, "template": template, "entries": entries, "facts": text})


def counts(fields: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The facts of a recording that its ticks decide: size, solve rate, ticks at which the simulation broke down."""
    episodes = int(fields["done"].sum())
    return {
        "transitions": len(fields["done"]),
        "episodes": episodes,
        "solve_rate": float(fields["solved"].sum() / episodes),
        "non_finite": int((~fields["finite"]).sum()),
    }


def _write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with atomic_path(path) as temporary:
        np.savez(temporary, **arrays)


def _read_part(parts: Path, number: int) -> Mapping[str, np.ndarray]:
    return np.load(parts / f"{number}.npz", allow_pickle=False)


def require_level(name: str | Path, facts: Mapping[str, Any], sha256: str) -> None:
    """Raises ValueError if the facts of an expert or of data name another content of the level."""
    if facts.get("level_sha256", sha256) != sha256:
        raise ValueError(
            f"{name} is from another level of this name (sha256 {facts['level_sha256'][:12]}, this one has "
            f"{sha256[:12]}); give the level a name of its own, or start afresh in another run folder"
        )


def require(paths: Iterable[Path]) -> None:
    """Raises FileNotFoundError unless all demonstration files are there."""
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(f"no demonstrations at {path}; record them with src/generate_data.py first")


def load(path: Path) -> Demonstrations:
    """Reads a demonstration file.

    Raises:
        FileNotFoundError: if it does not exist.
        ValueError: if it is damaged or not a demonstration file.
    """
    require([path])
    return Demonstrations(**npz.load(path, Demonstrations, "not a demonstration file"))
