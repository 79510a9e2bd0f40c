"""From a latency log to a decision: which execution method, horizon, estimate and tail control to use."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.advise")
