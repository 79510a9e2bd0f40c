"""Tail control as earlier studies simulated it, and as it is: the comparison behind docs/protocol.md."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.reproduce_shared_delay")
