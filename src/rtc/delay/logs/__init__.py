"""Latency logs as robots and servers write them: read, described, and turned into a trace that delay laws replay."""

from rtc.delay.logs.description import Description, autocorrelation, describe, ticks
from rtc.delay.logs.formats import FORMATS, detect, read
from rtc.delay.logs.record import DelayLog, LeftOut
from rtc.delay.logs.replay import trace_table
from rtc.delay.logs.units import UNITS

__all__ = [
    "FORMATS",
    "UNITS",
    "DelayLog",
    "Description",
    "LeftOut",
    "autocorrelation",
    "describe",
    "detect",
    "read",
    "ticks",
    "trace_table",
]
