"""Writes the pages and data of the documentation's site for MkDocs; docs/build.sh calls it."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.stage_site")
