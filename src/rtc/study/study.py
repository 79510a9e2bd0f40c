"""Studies: arms (delay profile and method) compared on the same episodes of several levels, with a stated question.

Whatever is evaluated is a study: tail_v1, the published delay curve, RSD and the files in exp/studies. A study names
its primary metric and its comparisons; `study.runner` computes its cells and `study.outcome` reads them.
"""

import dataclasses
import functools
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from rtc.control import metrics
from rtc.delay import profiles as delay_profiles
from rtc.delay import sampling
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.delay.sampling import DelayProcess
from rtc.shared.validation import require_choice, require_int
from rtc.study import layout as layouts
from rtc.study import statistics
from rtc.study.evaluation import LARGEST_SEED, EvalConfig
from rtc.study.layout import Drawing, Section
from rtc.study.questions import Aggregate, ArmKey, Comparison, Effects
from rtc.study.sequences import SequenceDecoding
from rtc.study.tokens import Decoding

# Where policies with chunks of 8 are, and those that learned to complete a prefix.
RUN, PREFIX_RUN = "logs-bc/h8", "logs-bc/h8_prefix"
# Per arm and level: on six levels 3,072 pairs, so that a difference of 2 points in their mean can be told from none.
EPISODES = 512
# Measures of single episodes that no rate and no account of costs is made from.
LEAVABLE = ("returned_episode_returns", "rms_ddelta_action")
# Draws for the median of a delay profile.
DRAWS = 10_001
# Levels of the studies on random delay.
DELAY_LEVELS = ("grasp_easy", "catapult", "hard_lunar_lander", "chain_lander", "catcher_v3", "car_launch")


@dataclass(frozen=True)
class Arm:
    """One condition of a study.

    Attributes:
        profile: name of the delay condition, for tables and directories.
        method: name of what meets it.
        config: the evaluation; episodes and slots are filled in when it runs.
        run_path: run of its policies; None takes the study's run, or its prefix run where the method needs one.
        decoding: how tokens are decoded, for token policies; `config.method` has no part in it then.
        delays_of: another arm, whose delays this one meets: drawn independently from all those of its cell on the same
            level with the same seed.
        root: output root that holds its cells, where they belong to another study.
        policy: file of its policy, instead of the one that the run has for a level.
    """

    profile: str
    method: str
    config: EvalConfig
    run_path: str | None = None
    decoding: Decoding | SequenceDecoding | None = None
    delays_of: ArmKey | None = None
    root: str | None = None
    policy: str | None = None

    def __post_init__(self) -> None:
        if self.delays_of is not None and self.config.delay_profile != DelayProfileConfig():
            raise ValueError(f"arm {self.key} has delays_of and a delay_profile: leave one of them out")

    @property
    def key(self) -> ArmKey:
        return self.profile, self.method

    def besides_delay(self, **same: Any) -> Hashable:
        """What it has besides its delays, to tell groups of arms apart; `same` replaces fields that may differ too."""
        config = dataclasses.replace(self.config, delay_profile=DelayProfileConfig(), **same)
        return config, self.run_path, self.policy


def starting_at_median(delay: DelayProfileConfig, estimator: EstimatorConfig | None = None) -> EstimatorConfig:
    """An estimator that expects the profile's median delay of the first query, as whoever runs such a system would.

    An estimator that starts from more is wrong for as long as its window: for ten queries, often half of an episode.
    One that does not learn from delays is returned as it is.
    """
    return (estimator or EstimatorConfig()).starting_at(_median_delay(delay))


@functools.cache
def _median_delay(delay: DelayProfileConfig) -> int:
    drawn = _first_delays(sampling.make_process(delay), jax.random.split(jax.random.key(0), DRAWS))
    return int(np.median(np.asarray(drawn)))


@jax.jit
def _first_delays(process: DelayProcess, keys: Key[Array, " n"]) -> Int[Array, " n"]:
    drawn = jax.vmap(lambda key: sampling.sample(process, sampling.init(key))[0].delay)(keys)
    return jnp.minimum(drawn, process.deadline)


def arm(
    profile: str,
    method: str,
    label: str | None = None,
    *,
    delay: DelayProfileConfig | None = None,
    run_path: str | None = None,
    **changes: Any,
) -> Arm:
    """An arm of a delay profile and a method.

    Methods that plan with a delay take the largest of the last ten, starting from the profile's median, unless
    `changes` has another estimator.

    Args:
        profile: its name.
        method: name of the execution method.
        label: name of the method in tables, where it is more than that.
        delay: the profile; None takes the one that the benchmark knows by this name.
        run_path: run of the policies, see `Arm`.
        changes: further fields of `EvalConfig`.
    """
    delay = delay_profiles.profile(profile) if delay is None else delay
    changes.setdefault("estimator", starting_at_median(delay))
    return Arm(profile, label or method, EvalConfig(delay_profile=delay, method=method, **changes), run_path)


@dataclass(frozen=True)
class Study:
    """A question and what is evaluated to answer it.

    Attributes:
        name: its directory below exp_runs.
        title, title_zh: headings.
        question, question_zh: what is asked, in a sentence or two.
        arms: the conditions.
        comparisons: the differences that answer it.
        effects: how differences depend on factors.
        aggregates: values and differences over training seeds.
        levels: names of levels, or paths of world files.
        primary: the metric that decides, a column of episodes.csv.
        num_evals: episodes per arm, level and seed.
        seeds: seeds of all randomness.
        preregistered: metric and comparisons were fixed before it ran.
        baseline: the arm without delay that others are read against.
        figures: its figures, by kind (see `layout.FIGURES`) or with more about them; the first stands below the answer.
        preview: the two arms whose episodes the preview shows side by side; by default a comparison's.
        sections: sections of its report; by default those of any study.
        about: what a method's label stands for, where that needs words.
        published: by method and profile, published values of the primary metric.
        left_out: measures of single episodes that its archive and its outcome do not hold, so that many episodes fit
            into a small file; means of cells stay.
        layout: folder below the output root that holds a level's cells; without `{level}` there can be one level.

    Raises:
        ValueError: a value is out of range, a name stands twice, or something names an arm that is not there.
    """

    name: str
    title: str
    title_zh: str
    question: str
    question_zh: str
    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...] = ()
    effects: tuple[Effects, ...] = ()
    aggregates: tuple[Aggregate, ...] = ()
    levels: tuple[str, ...] = DELAY_LEVELS
    primary: str = statistics.SOLVED
    num_evals: int = EPISODES
    seeds: tuple[int, ...] = (0,)
    preregistered: bool = False
    baseline: ArmKey | None = None
    figures: tuple[str | Drawing, ...] = ("arms",)
    preview: tuple[ArmKey, ArmKey] | None = None
    sections: tuple[Section, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    layout: str = "cells/{level}"

    def __post_init__(self) -> None:
        require_int("num_evals", self.num_evals, low=1)
        require_choice("primary", self.primary, metrics.EPISODE_MEANS)
        for name in self.left_out:
            require_choice("left_out entry", name, [one for one in LEAVABLE if one != self.primary])
        for seed in self.seeds:
            require_int("seeds entry", seed, low=0, high=LARGEST_SEED)
        if not self.arms:
            raise ValueError(f"{self.name} has no arms: give at least one each of profiles, methods and seeds")
        keys = [one.key for one in self.arms]
        if len(set(keys)) < len(keys):
            twice = sorted({key for key in keys if keys.count(key) > 1})
            raise ValueError(f"arms of {self.name} share a name: {twice}; name profiles and methods once each")
        self._check_comparisons(keys)
        families = [one.family for one in self.comparisons]
        layouts.check(self.name, self.figures, self.sections, keys, families, self.left_out)
        for key in self.preview or ():
            if key not in keys:
                raise ValueError(f"preview of {self.name}: there is no arm {key}")
        self._check_shown("effects", self.effects)
        self._check_shown("aggregates", self.aggregates)
        for one in self.arms:
            if one.delays_of is not None and one.delays_of not in keys:
                raise ValueError(f"arm {one.key} of {self.name}: there is no arm {one.delays_of} to take delays of")
            if one.delays_of is not None and self.arm(one.delays_of).delays_of is not None:
                raise ValueError(
                    f"arm {one.key} of {self.name} has the delays of {one.delays_of}, which has those of another: name "
                    "the arm that they come from"
                )

    def _check_comparisons(self, keys: Sequence[ArmKey]) -> None:
        for comparison, count in Counter(self.comparisons).items():
            where = f"comparison {comparison} of {self.name}"
            for key in comparison.arms:
                if key not in keys:
                    raise ValueError(f"{where}: there is no arm {key}")
            if comparison.less is None and comparison.candidate == comparison.reference:
                raise ValueError(f"{where}: {comparison.candidate} is compared with itself: leave it out")
            if count > 1:
                raise ValueError(
                    f"{where} stands {count} times in family={comparison.family!r}, whose p values are corrected for "
                    "each: name it once"
                )

    def _check_shown(self, kind: str, entries: Sequence[Effects] | Sequence[Aggregate]) -> None:
        if entries and kind not in [section.kind for section in self.sections]:
            raise ValueError(f"{self.name} names {kind} and no section shows them: add {kind!r} to sections")
        names = [(entry.name, entry.profile) for entry in entries]
        if len(set(names)) < len(names):
            raise ValueError(f"{kind} of {self.name} share a name under a profile: give every entry one of its own")
        keys = {one.key for one in self.arms}
        for entry in entries:
            for key in entry.arms:
                if key not in keys:
                    raise ValueError(f"{kind} of {entry.name!r} of {self.name}: there is no arm {key}")

    @property
    def profiles(self) -> list[str]:
        return list(dict.fromkeys(one.profile for one in self.arms))

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(one.method for one in self.arms))

    def arm(self, key: ArmKey) -> Arm:
        """The arm of a name.

        Raises:
            ValueError: there is none.
        """
        for one in self.arms:
            if one.key == key:
                return one
        raise ValueError(f"{self.name} has no arm {key}")
