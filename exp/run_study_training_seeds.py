"""Study M: how much results depend on the policy that happened to be cloned."""

from rtc.programs import study
from rtc.study.study import RUN, Comparison, Study, arm, versus

PROFILES = ("no_delay", "long_tail", "heavy")
METHODS = ("naive", "realtime")
LEVELS = ("grasp_easy", "hard_lunar_lander")
RUNS = {"seed0": RUN, "seed1": "logs-bc/h8_seed1", "seed2": "logs-bc/h8_seed2"}


def gain(seed: str, profile: str) -> Comparison:
    """Realtime against naive, with one of the policies."""
    return Comparison((profile, f"realtime+{seed}"), (profile, f"naive+{seed}"))


STUDY = Study(
    name="study_training_seeds",
    title="Study M: independently cloned policies",
    title_zh="研究 M：独立克隆的策略",
    question="Three policies were cloned from the same demonstrations with different seeds. Do they solve equally "
    "much, and does realtime gain as much over naive with each?",
    question_zh="用不同的种子从同样的示范克隆了三个策略。它们的成功率是否相同？realtime 相对 naive 的收益是否相同？",
    arms=tuple(
        arm(profile, method, f"{method}+{seed}", run_path=run)
        for method in METHODS
        for seed, run in RUNS.items()
        for profile in PROFILES
    ),
    comparisons=(
        *versus([f"naive+{seed}" for seed in RUNS], "naive+seed0", PROFILES),
        *(gain(seed, profile) for seed in RUNS for profile in PROFILES),
        *(Comparison(*gain(seed, p).arms, less=gain("seed0", p)) for seed in RUNS if seed != "seed0" for p in PROFILES),
    ),
    levels=LEVELS,
    num_evals=2048,  # two levels, and differences of differences
)

if __name__ == "__main__":
    study.main(STUDY, __doc__)
