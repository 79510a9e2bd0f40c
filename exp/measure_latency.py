"""Measures how long one query takes on this device, at batch 1 and per method, and writes traces for delay profiles."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.measure_latency")
