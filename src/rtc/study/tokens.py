"""Token policies as what a study evaluates: ways to decode, the models they need, and their evaluation."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from rtc.control import executor
from rtc.control.controller import Controller, make_controller
from rtc.control.environment import Environment
from rtc.control.records import NEVER, Records
from rtc.delay.profiles import DelayProfileConfig
from rtc.delay.sampling import make_process
from rtc.methods.decode import Decode, decode
from rtc.policies.checkpoints import check_level, level_slug
from rtc.policies.tokens import checkpoints
from rtc.policies.tokens.agent import ALL_LAYERS, NO_DEADLINE, TokenAgent
from rtc.policies.tokens.policy import TokenModelConfig
from rtc.policies.tokens.rules import ActionDistance, Exact, Greedy, IndexDistance, Rule
from rtc.shared import runtime
from rtc.shared.validation import require_choice, require_float, require_int, require_positive
from rtc.study import evaluation, identity
from rtc.study.evaluation import EvalConfig, Evaluation
from rtc.worlds.kinetix import levels
from rtc.worlds.kinetix.levels import Level

MODELS: Mapping[str, TokenModelConfig] = {
    "blocks": TokenModelConfig(blocks=(1, 1, 1, 5)),
    "draft": TokenModelConfig(blocks=(1, 1, 1), dim=32, depth=1, num_heads=2, obs_hidden_dim=128),
    "layers": TokenModelConfig(blocks=(1,) * 8),
    "parallel": TokenModelConfig(blocks=(8,)),
}
RULES = ("exact", "greedy", "index", "action")
_TOLERANT = ("index", "action")


@dataclass(frozen=True)
class Decoding:
    """One way to decode a chunk of tokens.

    Attributes:
        main: model whose tokens count, a name of `MODELS`.
        speculative: with the draft.
        rule: how tokens are chosen and verified: `exact`, `greedy`, `index` or `action`.
        tolerance: cells for `index`, largest difference of an action for `action`.
        max_passes: deadline in passes of the main model.
        layers: leading layers that become actions.
        conditioned: tell the policy which actions are committed.
        pass_ticks, draft_ticks, overhead_ticks: control ticks that a pass of the main model, one of the draft and the
            rest of a query take; None: the delay profile says how long a query takes.
    """

    main: str
    speculative: bool = False
    rule: str = "exact"
    tolerance: float = 0.0
    max_passes: int = NO_DEADLINE
    layers: int = ALL_LAYERS
    conditioned: bool = True
    pass_ticks: float | None = None
    draft_ticks: float = 0.0
    overhead_ticks: float = 0.0

    def __post_init__(self) -> None:
        require_choice("rule", self.rule, RULES)
        require_float("tolerance", self.tolerance, low=0.0)
        for name in ("max_passes", "layers"):
            require_int(name, getattr(self, name), low=1)
        for name in ("draft_ticks", "overhead_ticks"):
            require_float(name, getattr(self, name), low=0.0)
        if self.pass_ticks is not None:
            require_positive("pass_ticks", self.pass_ticks, "control ticks of a pass")
        elif self.draft_ticks or self.overhead_ticks:
            raise ValueError("draft_ticks and overhead_ticks have no effect without pass_ticks: give it, or leave both")
        if self.tolerance and self.rule not in _TOLERANT:
            raise ValueError(f"tolerance={self.tolerance} is unused by rule={self.rule!r}: use index or action")
        if self.rule == "index" and self.tolerance != int(self.tolerance):
            raise ValueError(f"tolerance={self.tolerance} is no number of cells: rule='index' needs a whole one")

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models that it needs."""
        return (self.main, "draft") if self.speculative else (self.main,)

    def make_rule(self, agent: TokenAgent) -> Rule:
        """The rule as a pytree."""
        makers = {
            "exact": Exact,
            "greedy": Greedy,
            "index": lambda: IndexDistance(jnp.int32(self.tolerance), agent.tokenizer.config),
            "action": lambda: ActionDistance(jnp.float32(self.tolerance), agent.tokenizer),
        }
        return makers[self.rule]()

    def method(self, agent: TokenAgent) -> Decode:
        """The execution method."""
        return decode(
            self.make_rule(agent),
            max_passes=self.max_passes,
            layers=self.layers,
            conditioned=self.conditioned,
            pass_ticks=self.pass_ticks,
            draft_ticks=self.draft_ticks,
            overhead_ticks=self.overhead_ticks,
        )


def tokenizer_path(run_path: Path) -> Path:
    """Where the tokenizer is, without suffix."""
    return Path(run_path) / "tokenizer" / "policies" / "tokenizer"


def policy_path(run_path: Path, model: str, level: str) -> Path:
    """Where a level's token policy is, without suffix; `level` is its name."""
    return Path(run_path) / model / "policies" / level_slug(f"worlds/l/{level}.json")


def files(run_path: Path, models: tuple[str, ...], level: str) -> list[Path]:
    """The checkpoints of a tokenizer and some models."""
    return [tokenizer_path(run_path), *(policy_path(run_path, model, level) for model in models)]


def load_agent(run_path: Path, models: tuple[str, ...], level_path: str) -> TokenAgent:
    """The agent of a main model and, perhaps, a draft, on a level.

    Raises:
        FileNotFoundError: a checkpoint is missing.
        ValueError: a checkpoint is damaged, or was trained with another tokenizer, on another content of the level or
            with other entries of the observation.
    """
    level = levels.load(level_path)
    tokenizer, *policies = files(run_path, models, level.name)
    entries = levels.varying_observation_entries(level).tolist()
    for path in policies:
        facts = checkpoints.facts(path)
        checkpoints.check_tokenizer(path, tokenizer)
        check_level(path, facts, level.name, level.sha256)
        require_entries(path, facts["entries"], entries, level.name)
    return agent_in([tokenizer, *policies], level.bound_actions)


def agent_in(paths: Sequence[Path], bound: Bool[np.ndarray, " a"]) -> TokenAgent:
    """The agent in some checkpoints.

    Args:
        paths: the tokenizer's, the main model's and, perhaps, the draft's.
        bound: which actions drive something.
    """
    tokenizer, main, *draft = paths
    policies = checkpoints.load_policy(main), jnp.asarray(bound), *map(checkpoints.load_policy, draft)
    return TokenAgent(checkpoints.load_tokenizer(tokenizer), *policies)


def require_entries(path: Path, there: Sequence[int], here: Sequence[int], level: str) -> None:
    """Raises ValueError where a policy reads other entries of the observation than there are."""
    if there != here:
        raise ValueError(f"{path} reads other entries of the observation than vary in {level}: train it again")


@functools.lru_cache(maxsize=16)
def observed(level_path: str, physics: str = "fast", start_noise: float = 0.0) -> tuple[Level, Environment]:
    """A level, and its environment with the entries of the observation that vary."""
    level = levels.load(level_path)
    entries = levels.varying_observation_entries(level)
    return level, levels.make_env(level, physics, start_noise).observing(tuple(np.asarray(entries).tolist()))


@dataclass(frozen=True)
class TokenSubject:
    """A token policy, and a way to decode with it, on a level.

    Attributes:
        level: the level.
        level_path: how the user named it.
        agent: tokenizer and models.
        decoding: how it decodes.
        checkpoints: its files.
        checkpoint_sha256: their hashes.
    """

    level: Level
    level_path: str
    agent: TokenAgent
    decoding: Decoding
    checkpoints: tuple[Path, ...]
    checkpoint_sha256: str

    @property
    def chunk_size(self) -> int:
        return self.agent.action_chunk_size

    def check(self, config: EvalConfig) -> None:
        evaluation.require_horizon(config.execution.execute_horizon, self.chunk_size)
        _controller(self, config)
        for name in identity.given(config):
            if name in _FLOW_ONLY:
                raise ValueError(f"{name} has no effect on a policy that decodes tokens: leave it out")
        if config.delay_profile.anytime is not None:
            raise ValueError(
                f"anytime={config.delay_profile.anytime} has no effect on a policy that decodes tokens: leave it out, "
                "or use max_passes"
            )
        if self.decoding.pass_ticks is None:
            return
        if config.delay_profile != DelayProfileConfig():
            raise ValueError("delay_profile has no effect on queries that take their own passes: leave one of them out")
        if config.estimator.kind == "oracle":
            raise ValueError("estimator.kind='oracle' would be told the profile's delay, not that of a query's passes")

    def inputs(self, config: EvalConfig, seed: int) -> dict[str, Any]:
        settings = {name: value for name, value in identity.settings(config).items() if name not in _FLOW_ONLY}
        return {
            "config": {**settings, "method": "decode", "decoding": identity.given(self.decoding), "seed": seed},
            "checkpoint_sha256": self.checkpoint_sha256,
            "level_sha256": self.level.sha256,
            "code": identity.token_code(config),
        }

    def rollout(self, config: EvalConfig, **options: Any) -> Records:
        """`executor.rollout` of this policy; `options` are its seed, episodes and what else it takes."""
        return executor.rollout(*prepare(self, config), num_steps=1, **options)

    def evaluate(self, config: EvalConfig, seed: int) -> Evaluation:
        return evaluate(self, config, seed)

    def costs(self, config: EvalConfig) -> None:
        return None

    def origin(self) -> dict[str, str]:
        places = ", ".join(identity.shown(path) for path in self.checkpoints)
        return {"checkpoint": places, "level_path": identity.shown(self.level.path)}


_FLOW_ONLY = ("num_flow_steps", "method", "method_options")


@functools.lru_cache(maxsize=16)
def _agent(run_path: str, models: tuple[str, ...], level_path: str, _hashes: str) -> TokenAgent:
    return load_agent(Path(run_path), models, level_path)


def load(run_path: str, decoding: Decoding, level_path: str) -> TokenSubject:
    """Loads a level and what a way to decode needs from a run. Errors as of `load_agent`."""
    level, _ = observed(level_path)
    paths = tuple(files(Path(run_path), decoding.models, level.name))
    hashes = "+".join(checkpoints.sha256(path) for path in paths)
    agent = _agent(run_path, decoding.models, level_path, hashes)
    return TokenSubject(level, level_path, agent, decoding, paths, hashes)


def prepare(subject: TokenSubject, config: EvalConfig) -> tuple[Environment, TokenAgent, Controller]:
    """What the executor runs: environment, agent and controller."""
    _, env = observed(subject.level_path, config.physics, config.start_noise)
    return env, subject.agent, _controller(subject, config)


def _controller(subject: TokenSubject, config: EvalConfig) -> Controller:
    method = subject.decoding.method(subject.agent)
    return make_controller(method, make_process(config.delay_profile), config.estimator.make(), config.execution)


def evaluate(subject: TokenSubject, config: EvalConfig, seed: int) -> Evaluation:
    """Runs `config.num_evals` episodes.

    Raises:
        NonFiniteError: a NaN or infinity appeared; the message says in which episode and tick.
    """
    runtime.make_room()
    env, agent, controller = prepare(subject, config)
    found = evaluation.run(
        functools.partial(executor.rollout, env, agent, controller, seed=seed, num_steps=1),
        config,
        subject.level,
        what=f"level {subject.level.name}, decoding {subject.decoding.main}, seed {seed}",
        chunk_size=subject.chunk_size,
        # Steps are passes of the main model here, and every copy of a hedged query takes them.
        evaluations=lambda passes: passes * config.delay_profile.tail.hedge,
        bootstrap_evaluations=controller.method.bootstrap_evaluations(agent, 1),
    )
    found.summary.row.update({f"passes_{count}": share for count, share in pass_shares(found.records).items()})
    return found


def pass_shares(records: Records) -> dict[int, float]:
    """Share of the queries by their number of passes."""
    values, counts = np.unique(records.steps[records.delay != NEVER], return_counts=True)
    return {int(value): float(count / counts.sum()) for value, count in zip(values, counts, strict=True)}
