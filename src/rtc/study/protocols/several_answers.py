"""Policies where two answers are right: kinds of policies without delay, ways to join chunks under delay."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from rtc.control.controller import ExecutionConfig
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.shared.validation import require_choice, require_some
from rtc.study.evaluation import EvalConfig
from rtc.study.hosted_tokens import AnyDecoding
from rtc.study.layout import Section
from rtc.study.protocols.libero_policies import DECODINGS
from rtc.study.questions import versus
from rtc.study.study import Arm, Study
from rtc.worlds.libero.choice_worlds import ChoiceSuite

DELAYS = (0, 2, 4)
# How chunks of the flow policy are joined; s = 4 leaves no tick without an action at any of the delays.
METHODS = ("naive", "realtime", "hard_masking", "trained_prefix")
HORIZON = 4
L1 = "l1"
# Kinds of policies: the flow policy with every way to join its chunks, L1 regression, and two of tokens.
FLOW, RSD, FAST = "flow", "rsd", "fast"
KINDS = (FLOW, L1, RSD, FAST)
TOKENS: Mapping[str, AnyDecoding] = MappingProxyType(
    {
        "rsd_drawn": DECODINGS["rsd_exact"],
        "rsd_greedy": DECODINGS["rsd_greedy"],
        "fast_drawn": DECODINGS["fast"],
        "fast_greedy": DECODINGS["fast_greedy"],
    }
)
ABOUT: Mapping[str, str] = MappingProxyType(
    {
        "naive": "flow policy, chunks joined as they come",
        L1: "L1 regression, chunks joined as they come",
        "rsd_drawn": "RSD, drawn tokens",
        "rsd_greedy": "RSD, most probable tokens",
        "fast_drawn": "FAST, drawn tokens",
        "fast_greedy": "FAST, most probable tokens",
    }
)


@dataclass(frozen=True)
class Place:
    """Worlds in which two answers are right.

    Attributes:
        name: of the study.
        title, title_zh: of its report.
        tasks, tasks_zh: what is done there, after the question.
        levels: the worlds.
        num_evals: episodes per arm and world.
        start_noise: perturbation of the start state, where the world does not draw places of its own.
        run: folder of its policies.
    """

    name: str
    title: str
    title_zh: str
    tasks: str
    tasks_zh: str
    levels: tuple[str, ...]
    num_evals: int
    start_noise: float
    run: str


_QUESTION = (
    "Where two answers are right, which policies take both, which one between, and do chunks change from one to the "
    "other under delay? {} Chunks of 8, s = 4, action noise of 0.1; methods are told the delay."
)
_QUESTION_ZH = (
    "当两个答案都正确时，哪些策略两者都选，哪些落在中间，延迟下动作块会不会从一个答案转向另一个？{}"
    "动作块长 8，s = 4，动作噪声 0.1；方法被告知延迟。"
)
PLACES: Mapping[str, Place] = MappingProxyType(
    {
        "libero": Place(
            "study_several_answers",
            "Several right answers: LIBERO, state observations",
            "多个正确答案：LIBERO（状态观测）",
            "Two tasks in LIBERO's simulation: either of two equal bowls onto the plate, and the bowl onto either of "
            "two plates. The scripted expert took each answer equally often, at random. State observations, 47 numbers "
            "and no images; small policies. Places are drawn per episode, the same for all arms.",
            "LIBERO 仿真中的两个任务：把两个相同的碗中任意一个放到盘子上，以及把碗放到两个盘子中任意一个上。"
            "脚本专家随机地等频选择两个答案。状态观测（47 个数，无图像），小策略。位置按回合抽取，所有条件相同。",
            tuple(f"{world.kind}:{world.name}" for world in ChoiceSuite().worlds),
            50,
            0.0,
            "logs-bc/choice",
        ),
        "routes": Place(
            "study_two_routes",
            "Several right answers: two routes on Kinetix",
            "多个正确答案：Kinetix 上的两条路线",
            "A ball flies towards a block and has to be pushed past it, to the left or to the right. The scripted "
            "expert took each route equally often, at random. Start noise of 0.5, the same for all arms.",
            "小球飞向障碍物，须把它从左侧或右侧推过。脚本专家随机地等频选择两条路线。起始噪声 0.5，所有条件相同。",
            ("worlds/choice/two_routes.json",),
            500,
            0.5,
            "logs-bc/routes",
        ),
    }
)


def _config(place: Place, delay: int, **changes: object) -> EvalConfig:
    return EvalConfig(
        delay_profile=DelayProfileConfig(fixed_delay=delay),
        estimator=EstimatorConfig(kind="oracle"),
        execution=ExecutionConfig(execute_horizon=HORIZON),
        start_noise=place.start_noise,
        **changes,
    )


def _arms(place: Place, run: str, kinds: Collection[str]) -> tuple[Arm, ...]:
    """Without delay every kind of policy; the flow policy's chunks, joined in every way, at all delays."""
    found = [Arm("delay_0", L1, _config(place, 0), run_path=f"{run}/l1")] if L1 in kinds else []
    found += [
        Arm("delay_0", name, _config(place, 0), run_path=f"{run}/tokens", decoding=how)
        for name, how in TOKENS.items()
        if name.partition("_")[0] in kinds
    ]
    for delay in DELAYS if FLOW in kinds else ():
        for method in METHODS:
            folder = "h8_prefix" if method == "trained_prefix" else "h8"
            config = _config(place, delay, method=method)
            found.append(Arm(f"delay_{delay}", method, config, run_path=f"{run}/{folder}"))
    return tuple(found)


def study(place: Place, run: str | None = None, kinds: Sequence[str] = KINDS) -> Study:
    """The study of a place.

    Args:
        place: one of `PLACES`.
        run: folder of the policies, with `h8`, `h8_prefix`, `l1` and `tokens`; by default the place's.
        kinds: of policies, some of `KINDS`.

    Raises:
        ValueError: no kind, or an unknown one.
    """
    require_some("kinds", kinds)
    for kind in kinds:
        require_choice("kinds entry", kind, KINDS)
    profiles, arms = [f"delay_{delay}" for delay in DELAYS], _arms(place, run or place.run, kinds)
    keys = {one.key for one in arms}
    return Study(
        name=place.name,
        title=place.title,
        title_zh=place.title_zh,
        question=_QUESTION.format(place.tasks),
        question_zh=_QUESTION_ZH.format(place.tasks_zh),
        arms=arms,
        comparisons=tuple(
            one
            for one in (*versus((L1, *TOKENS), "naive", profiles[:1]), *versus(METHODS[1:], "naive", profiles))
            if keys.issuperset(one.arms)
        ),
        levels=place.levels,
        num_evals=place.num_evals,
        figures=("modes",),
        sections=tuple(map(Section, ("modes", "comparisons", "question", "discussion", "figures", "arms", "costs"))),
        about=ABOUT,
    )
