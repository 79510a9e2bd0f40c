"""The page that answers a latency log: what to use, what the tail costs, settings to copy, how far to trust it."""

from rtc.report.advice.facts import Advice, candidates
from rtc.report.advice.page import write

__all__ = ["Advice", "candidates", "write"]
