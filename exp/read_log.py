"""Reads a latency log of a robot or a policy server, describes its delays, writes a trace that evaluations replay."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.read_log")
