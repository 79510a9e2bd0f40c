"""Records the episodes that the documentation's explorer plays side by side."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.record_episodes")
