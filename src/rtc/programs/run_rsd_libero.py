"""Evaluates an image policy on LIBERO by OpenVLA-OFT's protocol, headless; docs/libero.md says what it needs.

python exp/run_rsd_libero.py --policy stub --num-trials 1
python exp/run_rsd_libero.py --check
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rtc.shared import commands, files, tables
from rtc.study import libero
from rtc.study.libero import Plan
from rtc.worlds.libero import constants, policies, setup_check
from rtc.worlds.libero.policies import PolicyConfig
from rtc.worlds.libero.simulator import LiberoTasks


@dataclass(frozen=True)
class Arguments:
    """Command line of run_rsd_libero.

    Attributes:
        policy: `stub` (random weights) or `openvla_oft`.
        policy_config: what the policy is made from.
        suites: suites to evaluate, one after the other.
        task_ids: numbers of the tasks within a suite; all of them by default.
        num_trials: trials per task; OpenVLA-OFT uses 50.
        output_root: where results go; finished trials are not run again.
        overwrite: start over where results of another configuration are.
        check: only say what is missing on this machine.
    """

    policy: str = "stub"
    policy_config: PolicyConfig = field(default_factory=PolicyConfig)
    suites: tuple[str, ...] = ("libero_spatial",)
    task_ids: tuple[int, ...] | None = None
    num_trials: int = constants.OFFICIAL_TRIALS
    output_root: str = "exp_runs/libero"
    overwrite: bool = False
    check: bool = False


def run(args: Arguments) -> None:
    settings = policies.find_policy(args.policy).settings
    suites = [constants.find_suite(name) for name in args.suites]
    plans = [
        Plan(suite, args.policy, settings(args.policy_config, suite), args.num_trials, args.task_ids)
        for suite in suites
    ]
    assets = setup_check.require()
    print(f"LIBERO is complete; assets: {assets}; MUJOCO_GL={setup_check.choose_renderer()}")
    if args.check:
        return
    for plan in plans:
        source = LiberoTasks(plan.suite)
        with policies.opened(args.policy, args.policy_config, plan.suite) as policy:
            directory = libero.evaluate(plan, source, policy, args.output_root, args.overwrite)
        print(tables.format_table(files.read_csv(directory / libero.SUMMARY)))
        commands.open_first(directory / libero.SUMMARY)


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
