"""Records demonstrations of LIBERO on state observations and clones a flow policy from them; see docs/libero.md."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.train_libero")
