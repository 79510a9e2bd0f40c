"""tail_v1: naive and Real-Time Chunking under a long-tailed delay and under the same delay, capped (steps A, D, E)."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtc.delay import profiles as delay_profiles
from rtc.study.arguments import StudyArguments, keep_report
from rtc.study.evaluation import DEFAULT_SLOTS, EvalConfig
from rtc.study.protocols import layouts
from rtc.study.questions import Comparison
from rtc.study.study import Arm, Study

LONG_TAIL, CONTROLLED = "long_tail", "tail_controlled"
NAIVE, REALTIME = "naive", "realtime"
BASELINE = ("no_delay", NAIVE)
PROFILES, METHODS = (LONG_TAIL, CONTROLLED), (NAIVE, REALTIME)
SEEDS, EPISODES = (0, 1, 2, 3, 4), 256
_QUESTION = """\
What does a long-tailed inference delay cost a policy that solves its level, how much of that does a cap of the delay at
2 ticks get back, and does `realtime` lose less than naive execution?"""


@dataclass(frozen=True)
class TailArguments:
    """What the steps of tail_v1 share; the defaults are the protocol. Every step accepts all of it, so that one
    list of flags serves `exp/run_tail_v1.sh`.

    Attributes:
        seeds: seeds of all randomness, one cell per profile, method and seed.
        num_evals: episodes per cell.
        num_flow_steps: Euler steps per chunk.
        run_path: directory of the policy's run.
        level_path: world file or level name.
        physics: the simulator's step: "fast", or "stock" for Kinetix's own.
        start_noise: perturbation of the start states; 0 starts every episode alike.
        num_slots: episodes simulated at a time, per device; results do not depend on it.
        overwrite: compute cells again although others, or finished ones, are in their place.
        plugin: Python files that register methods of your own (docs/adding-a-method.md).
    """

    seeds: tuple[int, ...] = SEEDS
    num_evals: int = EPISODES
    num_flow_steps: int = 5
    run_path: str = "logs-bc/grasp_easy_h4"
    level_path: str = "grasp_easy"
    physics: str = "fast"
    start_noise: float = 0.0
    num_slots: int = DEFAULT_SLOTS
    overwrite: bool = False
    plugin: tuple[Path, ...] = ()

    def config(self) -> EvalConfig:
        """The evaluation that all arms change."""
        return EvalConfig(
            num_flow_steps=self.num_flow_steps,
            physics=self.physics,
            start_noise=self.start_noise,
            num_evals=self.num_evals,
        )

    def of_study(self, output_root: str) -> StudyArguments:
        """The same for the runner, which takes every policy from one run.

        Raises:
            ValueError: other settings than the protocol's would change what its own folder holds.
        """
        protocol = type(self)()
        keep_report(self, protocol, output_root, protocol.output_root)
        return StudyArguments(
            levels=(self.level_path,),
            seeds=self.seeds,
            num_evals=self.num_evals,
            run_path=self.run_path,
            prefix_run_path=self.run_path,
            num_slots=self.num_slots,
            output_root=output_root,
            overwrite=self.overwrite,
            plugin=self.plugin,
        )


def baseline(base: EvalConfig, root: str | None = None) -> Arm:
    """Step A: the policy without any delay; `root` is where its cells are, if not in the study's own root."""
    return Arm(*BASELINE, base, root=root)


def baseline_study(base: EvalConfig) -> Study:
    """Step A."""
    return _study("stepA_baseline", "The policy without delay", "无延迟的策略", "", (baseline(base),), ())


def study(
    base: EvalConfig,
    profiles: Sequence[str] = PROFILES,
    methods: Sequence[str] = METHODS,
    baseline_root: str | None = None,
) -> Study:
    """Step D, and what step E reports.

    Args:
        base: what all arms have in common; the estimator starts where its configuration says.
        profiles: names of delay profiles.
        methods: names of execution methods.
        baseline_root: where step A's cells are; None leaves the baseline out.
    """
    arms = [
        Arm(profile, method, dataclasses.replace(base, method=method, delay_profile=delay_profiles.profile(profile)))
        for method in methods
        for profile in profiles
    ]
    pairs = [((CONTROLLED, m), (LONG_TAIL, m)) for m in methods] + [((p, REALTIME), (p, NAIVE)) for p in profiles]
    keys = {one.key for one in arms}
    comparisons = tuple(Comparison(*pair) for pair in pairs if keys.issuperset(pair) and pair[0] != pair[1])
    extra = [] if baseline_root is None else [_without_delay_settings(base, baseline_root)]
    title = "Tail control of the inference delay"
    return _study("tail_v1", title, "推理延迟的尾部控制", _QUESTION, (*arms, *extra), comparisons)


def _without_delay_settings(base: EvalConfig, root: str) -> Arm:
    """The baseline of an experiment: what has no meaning without delay is at its default."""
    plain = EvalConfig()
    return baseline(dataclasses.replace(base, estimator=plain.estimator, execution=plain.execution), root)


def _study(
    name: str, title: str, title_zh: str, question: str, arms: tuple[Arm, ...], comparisons: tuple[Comparison, ...]
) -> Study:
    return Study(
        name=name,
        title=title,
        title_zh=title_zh,
        question=question,
        question_zh="",
        arms=arms,
        comparisons=comparisons,
        levels=("grasp_easy",),
        num_evals=EPISODES,
        seeds=SEEDS,
        preregistered=True,
        baseline=BASELINE,
        figures=("outcomes", "delays", "timeline"),
        sections=layouts.tail_v1([one.key for one in arms]),
        layout="",
    )
