"""Evaluates an image policy on LIBERO by OpenVLA-OFT's protocol, headless; docs/libero.md says what it needs."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.run_rsd_libero")
