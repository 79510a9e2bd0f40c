"""The protocol of tail_v1 as command-line arguments."""

from dataclasses import dataclass

from rtc.study.evaluation import DEFAULT_SLOTS


@dataclass(frozen=True)
class TailArguments:
    """What the steps of tail_v1 share; the defaults are the protocol. Every step accepts all of it, so that one
    list of flags serves `exp/run_tail_v1.sh`.

    Attributes:
        seeds: seeds of all randomness, one cell per profile, method and seed.
        num_evals: episodes per cell.
        num_flow_steps: Euler steps per chunk.
        run_path: directory of the policy's run.
        level_path: world file or level name.
        physics: the simulator's step: "fast", or "stock" for Kinetix's own.
        num_slots: episodes simulated at a time, per device; results do not depend on it.
        overwrite: compute cells again although they are there.
    """

    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    num_evals: int = 256
    num_flow_steps: int = 5
    run_path: str = "logs-bc/grasp_easy_h4"
    level_path: str = "worlds/l/grasp_easy.json"
    physics: str = "fast"
    num_slots: int = DEFAULT_SLOTS
    overwrite: bool = False
