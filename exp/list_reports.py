"""Lists the reports; see `rtc.programs.list_reports`."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.list_reports")
