"""Policies of LIBERO on state observations side by side, without delay: flow, L1 regression, RSD and FAST."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from rtc.control.controller import ExecutionConfig
from rtc.delay.estimators import EstimatorConfig
from rtc.study.evaluation import EvalConfig
from rtc.study.hosted_tokens import AnyDecoding
from rtc.study.sequences import SequenceDecoding
from rtc.study.study import Arm, Study
from rtc.study.tokens import Decoding
from rtc.worlds.libero.state_worlds import find_state_suite

NO_DELAY = "no_delay"
FLOW, L1 = "flow", "l1"
FLOW_STEPS = (1, 2, 5, 10)
# Nothing is committed, as there is no delay.
DECODINGS: Mapping[str, AnyDecoding] = MappingProxyType(
    {
        "rsd_exact": Decoding("blocks", speculative=True, conditioned=False),
        "rsd_greedy": Decoding("blocks", speculative=True, rule="greedy", conditioned=False),
        "rsd_coarse": Decoding("draft", conditioned=False),
        "rsd_one_pass": Decoding("blocks", speculative=True, max_passes=1, conditioned=False),
        "rsd_plain": Decoding("blocks", conditioned=False),
        "fast": SequenceDecoding(conditioned=False),
        "fast_greedy": SequenceDecoding("greedy", conditioned=False),
    }
)
ABOUT: Mapping[str, str] = MappingProxyType(
    {
        **{f"{FLOW}_{steps}": f"flow policy, {steps} step{'s' if steps > 1 else ''}" for steps in FLOW_STEPS},
        L1: "L1 regression, parallel decoding",
        "rsd_exact": "RSD, speculative, lossless, drawn tokens",
        "rsd_greedy": "RSD, speculative, lossless, most probable tokens",
        "rsd_coarse": "RSD's draft alone: three coarse layers",
        "rsd_one_pass": "RSD, what one pass has verified",
        "rsd_plain": "RSD's main model without a draft, a pass per block",
        "fast": "FAST, autoregressive, drawn tokens",
        "fast_greedy": "FAST, autoregressive, most probable tokens",
    }
)


@dataclass(frozen=True)
class Runs:
    """Where the policies are.

    Attributes:
        flow: flow policies.
        l1: regression policies.
        tokens: tokenizers and token policies.
    """

    flow: str = "logs-bc/libero/h8"
    l1: str = "logs-bc/libero/l1"
    tokens: str = "logs-bc/libero/tokens"


@dataclass(frozen=True)
class Protocol:
    """What is compared.

    Attributes:
        suite: suite of LIBERO's.
        num_evals: episodes per task: the first of the benchmark's initial states.
        execute_horizon: s, in ticks.
        runs: where the policies are.
    """

    suite: str = "libero_spatial"
    num_evals: int = 10
    execute_horizon: int = 4
    runs: Runs = Runs()

    @property
    def levels(self) -> tuple[str, ...]:
        """The tasks, as worlds."""
        return tuple(f"{world.kind}:{world.name}" for world in find_state_suite(self.suite).worlds)

    def _config(self, **changes: object) -> EvalConfig:
        return EvalConfig(
            num_evals=self.num_evals,
            estimator=EstimatorConfig(initial=1),
            execution=ExecutionConfig(execute_horizon=self.execute_horizon),
            **changes,
        )

    def arms(self) -> tuple[Arm, ...]:
        """Every policy, or way to ask one."""
        flow = [
            Arm(NO_DELAY, f"{FLOW}_{steps}", self._config(num_flow_steps=steps), run_path=self.runs.flow)
            for steps in FLOW_STEPS
        ]
        tokens = [
            Arm(NO_DELAY, name, self._config(), run_path=self.runs.tokens, decoding=decoding)
            for name, decoding in DECODINGS.items()
        ]
        return (Arm(NO_DELAY, L1, self._config(), run_path=self.runs.l1), *tokens, *flow)


def study(protocol: Protocol) -> Study:
    """The comparison."""
    return Study(
        name="rsd_libero",
        title="Policies of LIBERO on state observations",
        title_zh="LIBERO（状态观测）上的各类策略",
        question="",
        question_zh="",
        arms=protocol.arms(),
        comparisons=(),
        levels=protocol.levels,
        num_evals=protocol.num_evals,
        about=ABOUT,
        figures=(),
    )
