"""Evaluates every policy in logs-bc/ without delay and writes logs-bc/README.md: how it was trained, what it solves."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.report_training")
