"""Draws the levels' start states into one labelled picture: `python src/render_levels.py`."""

from rtc.shared import entry

if __name__ == "__main__":
    entry.start("rtc.programs.render_levels")
else:
    from rtc.programs.render_levels import Arguments, render_levels

    __all__ = ["Arguments", "render_levels"]
