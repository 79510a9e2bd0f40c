"""What stands between the environment and the policy: method, delays, estimator and execution rules."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rtc.delay.estimators import Estimator
from rtc.delay.sampling import DelayProcess
from rtc.methods import Method, acting
from rtc.shared.validation import require_choice, require_float, require_int

Fallback = Literal["hold", "zero"]
HorizonKind = Literal["fixed", "adaptive"]


@dataclass(frozen=True)
class ExecutionConfig:
    """How chunks are executed.

    Attributes:
        execute_horizon: s, ticks between two launches when nothing is late; the minimum s of `adaptive`.
        horizon: `fixed` s: the next launch comes max(s, delay) ticks later, as in arXiv 2506.07339, Algorithm 1, with
            s_min = s. `adaptive`: s_k = max(planned delay, s), which waits for the planned delay too.
        fallback: action of a starved tick: `hold` repeats the last action, `zero` sends zeros.
        action_noise: standard deviation of the Gaussian noise on executed actions.
        correction_delay: c, age in ticks of the newest observation that a method's `act` reads; for methods that act.
        observation_lag: age in ticks of an observation when it reaches the controller.
        actuation_lag: ticks from a command to its effect; before the first command acts, the action is zero.
    """

    execute_horizon: int = 1
    horizon: HorizonKind = "fixed"
    fallback: Fallback = "hold"
    action_noise: float = 0.1
    correction_delay: int = 0
    observation_lag: int = 0
    actuation_lag: int = 0

    def __post_init__(self):
        for name in ("correction_delay", "observation_lag", "actuation_lag"):
            require_int(name, getattr(self, name), low=0)
        require_int("execute_horizon", self.execute_horizon, low=1)
        require_choice("horizon", self.horizon, get_args(HorizonKind))
        require_choice("fallback", self.fallback, get_args(Fallback))
        require_float("action_noise", self.action_noise, low=0.0)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Controller:
    """Everything between the environment and the policy, as a pytree whose numbers are traced.

    Attributes:
        method: makes the chunks.
        process: the delay distribution.
        estimator: what the method is told about the delay.
        execute_horizon: s, in ticks.
        adaptive: s_k = max(planned delay, s) instead of s.
        hold: a starved tick repeats the last action instead of sending zeros.
        action_noise: standard deviation of the noise on executed actions.
        correction_delay, observation_lag, actuation_lag: as in `ExecutionConfig`; static, so that 0 costs nothing.
    """

    method: Method
    process: DelayProcess
    estimator: Estimator
    execute_horizon: Int[Array, ""]
    adaptive: Bool[Array, ""]
    hold: Bool[Array, ""]
    action_noise: Float[Array, ""]
    correction_delay: int = field(default=0, metadata={"static": True})
    observation_lag: int = field(default=0, metadata={"static": True})
    actuation_lag: int = field(default=0, metadata={"static": True})


def make_controller(method: Method, process: DelayProcess, estimator: Estimator, config: ExecutionConfig) -> Controller:
    """Packs a validated configuration into arrays.

    Raises:
        ValueError: a correction delay for a method that does not act, or lags for one that looks at the simulator.
    """
    if method.privileged and (config.observation_lag or config.actuation_lag):
        raise ValueError(
            f"observation_lag={config.observation_lag} and actuation_lag={config.actuation_lag} must be 0 with "
            f"{type(method).__name__}, which looks at the simulator and would escape them: choose a learned model"
        )
    if config.correction_delay and not method.acts:
        raise ValueError(
            f"correction_delay={config.correction_delay} has no effect: {type(method).__name__} does not act at every "
            f"tick; leave it 0, or choose a method that does: {', '.join(acting()) or 'none is registered'}"
        )
    return Controller(
        method=method,
        process=process,
        estimator=estimator,
        execute_horizon=jnp.asarray(config.execute_horizon, jnp.int32),
        adaptive=jnp.asarray(config.horizon == "adaptive"),
        hold=jnp.asarray(config.fallback == "hold"),
        action_noise=jnp.asarray(config.action_noise, jnp.float32),
        correction_delay=config.correction_delay,
        observation_lag=config.observation_lag,
        actuation_lag=config.actuation_lag,
    )
