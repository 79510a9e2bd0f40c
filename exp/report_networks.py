"""Writes logs-bc/networks.md: how well the networks of methods predict; see `rtc.programs.report_networks`."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.report_networks")
