"""Records demonstrations of a level with two routes; see `rtc.programs.route_demonstrations`."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.route_demonstrations")
