"""Measures how much the chunks of policies differ between draws and between neighbouring queries; writes the table."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.measure_spread")
