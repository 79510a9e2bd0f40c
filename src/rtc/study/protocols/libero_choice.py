"""Policies where two answers are right, in LIBERO's simulation: kinds of policies, ways to join chunks under delay."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rtc.control.controller import ExecutionConfig
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.study.evaluation import EvalConfig
from rtc.study.hosted_tokens import AnyDecoding
from rtc.study.layout import Section
from rtc.study.protocols.libero_policies import DECODINGS
from rtc.study.study import Arm, Study, versus
from rtc.worlds.libero.choice_worlds import ChoiceSuite

DELAYS = (0, 2, 4)
# How chunks of the flow policy are joined; s = 4 leaves no tick without an action at any of the delays.
METHODS = ("naive", "realtime", "hard_masking", "trained_prefix")
HORIZON = 4
L1 = "l1"
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
QUESTION = (
    "Where two answers are right, which policies take both, which one between, and do chunks change from one to the "
    "other under delay? Two tasks in LIBERO's simulation: either of two equal bowls onto the plate, and the bowl onto "
    "either of two plates. The scripted expert took each answer equally often, at random. State observations, 47 "
    "numbers and no images; small policies. Places are drawn per episode, the same for all arms; chunks of 8, s = 4, "
    "action noise of 0.1; methods are told the delay."
)
QUESTION_ZH = (
    "当两个答案都正确时，哪些策略两者都选，哪些落在中间，延迟下动作块会不会从一个答案转向另一个？"
    "LIBERO 仿真中的两个任务：把两个相同的碗中任意一个放到盘子上，以及把碗放到两个盘子中任意一个上。"
    "脚本专家随机地等频选择两个答案。状态观测（47 个数，无图像），小策略。位置按回合抽取，所有条件相同；"
    "动作块长 8，s = 4，动作噪声 0.1；方法被告知延迟。"
)


@dataclass(frozen=True)
class Policies:
    """Where the policies are.

    Attributes:
        flow: flow policies.
        prefix: flow policies that learned to complete a prefix.
        l1: regression policies.
        tokens: tokenizers and token policies.
    """

    flow: str = "logs-bc/choice/h8"
    prefix: str = "logs-bc/choice/h8_prefix"
    l1: str = "logs-bc/choice/l1"
    tokens: str = "logs-bc/choice/tokens"


def _config(delay: int, **changes: object) -> EvalConfig:
    return EvalConfig(
        delay_profile=DelayProfileConfig(fixed_delay=delay),
        estimator=EstimatorConfig(kind="oracle"),
        execution=ExecutionConfig(execute_horizon=HORIZON),
        **changes,
    )


def _arms(policies: Policies) -> tuple[Arm, ...]:
    """Without delay every kind of policy; the flow policy's chunks, joined in every way, at all delays."""
    found = [Arm("delay_0", L1, _config(0), run_path=policies.l1)]
    found += [Arm("delay_0", name, _config(0), run_path=policies.tokens, decoding=how) for name, how in TOKENS.items()]
    for delay in DELAYS:
        for method in METHODS:
            run = policies.prefix if method == "trained_prefix" else policies.flow
            found.append(Arm(f"delay_{delay}", method, _config(delay, method=method), run_path=run))
    return tuple(found)


def study(policies: Policies = Policies()) -> Study:
    """The study."""
    profiles = [f"delay_{delay}" for delay in DELAYS]
    return Study(
        name="study_several_answers",
        title="Several right answers",
        title_zh="多个正确答案",
        question=QUESTION,
        question_zh=QUESTION_ZH,
        arms=_arms(policies),
        comparisons=(
            *versus((L1, *TOKENS), "naive", profiles[:1]),
            *versus(METHODS[1:], "naive", profiles),
        ),
        levels=tuple(f"{world.kind}:{world.name}" for world in ChoiceSuite().worlds),
        num_evals=50,
        figures=("modes",),
        sections=tuple(map(Section, ("modes", "comparisons", "question", "discussion", "figures", "arms", "costs"))),
        about=ABOUT,
    )
