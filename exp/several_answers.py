"""Policies where two answers are right; see `rtc.programs.several_answers`."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.several_answers")
