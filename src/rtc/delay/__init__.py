"""Delay: the laws of inference delay, the process that samples them, and what a controller expects."""

from rtc.delay.estimators import Estimator, EstimatorConfig
from rtc.delay.laws import LAWS, MAX_TICKS, Law
from rtc.delay.profiles import PROFILES, DelayProfileConfig, law, mean_delay, profile, thinned
from rtc.delay.sampling import DelayProcess, DelayStream, Draw, flow_steps, init, make_process, sample
from rtc.delay.tail import TailControl
from rtc.delay.traces import read_trace

__all__ = [
    "LAWS",
    "MAX_TICKS",
    "PROFILES",
    "DelayProcess",
    "DelayProfileConfig",
    "DelayStream",
    "Draw",
    "Estimator",
    "EstimatorConfig",
    "Law",
    "TailControl",
    "flow_steps",
    "init",
    "law",
    "make_process",
    "mean_delay",
    "profile",
    "read_trace",
    "sample",
    "thinned",
]
