"""How fast the specialised physics is, against Kinetix's own step, level by level; writes the table."""

from program import start

if __name__ == "__main__":
    start("rtc.programs.bench_physics")
