"""Records demonstrations of LIBERO on state observations by the scripted expert; docs/libero.md says what it needs."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.libero_demonstrations")
