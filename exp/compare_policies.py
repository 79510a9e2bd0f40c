"""Policies of LIBERO on state observations side by side; see `rtc.programs.compare_policies`."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.compare_policies")
