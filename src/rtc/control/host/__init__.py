"""The executor in Python: any policy, any environment, one at a time, under the same rules of time.

`rollout` runs them; docs/own-policy.md has examples.
"""

from rtc.control.host.conditioned import CONDITIONED
from rtc.control.host.drawn import wanted
from rtc.control.host.environments import ExternalEnvironment, Simulated, Step
from rtc.control.host.episodes import DEFAULT_STEPS, Rollout, rollout
from rtc.control.host.measured import Measured
from rtc.control.host.policies import ExternalPolicy, FunctionPolicy, PolicySpec, Reply, Request
from rtc.control.host.seeds import key_of, seed_of

__all__ = [
    "CONDITIONED",
    "DEFAULT_STEPS",
    "ExternalEnvironment",
    "ExternalPolicy",
    "FunctionPolicy",
    "Measured",
    "PolicySpec",
    "Reply",
    "Request",
    "Rollout",
    "Simulated",
    "Step",
    "key_of",
    "rollout",
    "seed_of",
    "wanted",
]
