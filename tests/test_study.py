"""Studies: what is compared with what, corrected p values, and a small one from start to page."""

import dataclasses
import re
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from flax import nnx

from model import FlowPolicy
from rtc.delay import profiles as delay_profiles
from rtc.delay import sampling
from rtc.delay.estimators import EstimatorConfig
from rtc.policies import checkpoints
from rtc.programs import delay_sweep, rsd, tail_baseline, tail_matrix, tail_summary
from rtc.programs import study as study_program
from rtc.report import preview
from rtc.shared import files
from rtc.shared.launchers import LauncherConfig
from rtc.study import cells as store
from rtc.study import families, pairs, plan, runner, statistics
from rtc.study.arguments import StudyArguments
from rtc.study.outcome import Outcome
from rtc.study.questions import Comparison, versus
from rtc.study.runner import ConflictError
from rtc.study.study import Study, arm
from stubs import TINY

ROOT = Path(__file__).parents[1]


def study_of(*arms, comparisons=(), **changes):
    texts = {"title": "A study", "title_zh": "一个研究", "question": "Which?", "question_zh": "哪个？"}
    return Study(name="small", arms=arms, comparisons=comparisons, levels=("grasp_easy",), **texts | changes)


SMALL = study_of(
    arm("no_delay", "naive"),
    arm("long_tail", "naive"),
    comparisons=(Comparison(("long_tail", "naive"), ("no_delay", "naive")),),
)


@pytest.fixture
def on_the_simulator(tmp_path):
    policy = FlowPolicy(obs_dim=679, action_dim=6, config=TINY, rngs=nnx.Rngs(0))
    checkpoints.save_policy(tmp_path / "run/1/policies/worlds_l_grasp_easy", policy, {})
    places = {"run_path": str(tmp_path / "run"), "output_root": str(tmp_path / "study")}
    return StudyArguments(num_evals=4, num_slots=4, preview=False, **places)


@pytest.fixture
def arguments(on_the_simulator, without_physics):
    return on_the_simulator


def test_other_episodes_than_the_studys_need_a_place_of_their_own(arguments):
    study = dataclasses.replace(SMALL, num_evals=8)
    with pytest.raises(ValueError, match="num_evals=4, but small has 8: give an --output-root of its own"):
        dataclasses.replace(arguments, output_root=None).of(study)
    assert arguments.of(study).root.name == "study"
    assert StudyArguments(num_evals=8).of(study).root.as_posix() == "exp_runs/small"


@pytest.mark.parametrize("changed", [{"seeds": (7,)}, {"levels": ("catapult",)}, {"run_path": "logs-bc/mine"}])
def test_a_part_or_a_variant_of_a_study_does_not_replace_its_report(changed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args = dataclasses.replace(StudyArguments(), **changed)
    assert args.of(SMALL).root.as_posix() == "exp_runs/small"
    files.atomic_write("exp_runs/small/summary.md", "the study's")
    with pytest.raises(
        ValueError, match=rf"{next(iter(changed))}=.*exp_runs/small/summary\.md.*--output-root or --overwrite"
    ):
        args.of(SMALL)
    for allowed in ({"output_root": "mine"}, {"overwrite": True}):
        dataclasses.replace(args, **allowed).of(SMALL)
    StudyArguments(num_slots=2, report_only=True).of(SMALL)


@pytest.mark.parametrize("program", [delay_sweep, rsd, tail_baseline, tail_matrix, tail_summary])
def test_a_part_of_a_protocol_does_not_replace_its_report(program, tmp_path, monkeypatch):
    args = program.Arguments()
    part = {"protocol": dataclasses.replace(args.protocol, num_evals=8)} if program is rsd else {"num_evals": 8}
    root = args.protocol.root if program is rsd else args.output_root
    shipped = ROOT / "exp_runs/rsd_bench/bench.json"
    monkeypatch.chdir(tmp_path)
    files.atomic_write("exp_runs/rsd_bench/bench.json", shipped.read_text())
    files.atomic_write(f"{root}/results.csv", "the protocol's")
    with pytest.raises(ValueError, match=r"num_evals=8.*Nothing was changed"):
        program.run(dataclasses.replace(args, **part))


def test_what_the_command_line_leaves_open_is_the_studys():
    study = dataclasses.replace(SMALL, num_evals=8, seeds=(3, 4))
    args = StudyArguments().of(study)
    assert (args.levels, args.seeds, args.num_evals) == (("grasp_easy",), (3, 4), 8)
    assert args.of(study) == args


def test_estimators_start_from_the_median_delay():
    deadline = dataclasses.replace(delay_profiles.profile("heavy"), scale_ms=150.0, deadline=5)
    starts = {name: arm(name, "naive").config.estimator.initial for name in delay_profiles.PROFILES}
    assert starts == {
        "no_delay": 0,
        "long_tail": 0,
        "tail_controlled": 0,
        "burst": 0,
        "heavy": 1,
        "vla": 2,
        "step": 1,
        "drift": 3,
        "warm_up": 6,
    }
    assert arm("late", "naive", delay=deadline).config.estimator == EstimatorConfig(initial=5)
    assert arm("heavy", "naive", estimator=EstimatorConfig("fixed")).config.estimator == EstimatorConfig("fixed")


def test_sign_test_is_exact():
    # 6 of 6: p = 2 * 2^-6 = 0.03; 5 of 5: 0.06.
    assert pairs.sign_test(np.array([1.0] * 6 + [0.0] * 90)) == 1
    assert pairs.sign_test(np.array([-1.0] * 6)) == -1
    assert pairs.sign_test(np.array([1.0] * 5)) == 0
    assert pairs.sign_test(np.zeros(4)) == 0


def fake_cell(level, key, solved, evals=1.0):
    """Three queries per episode, one of them abandoned."""
    counts = {"num_queries": 3, "abandoned_queries": 1, "flow_evals": 3 * evals}
    episodes = pd.DataFrame({"episode": range(len(solved)), statistics.SOLVED: solved} | counts)
    row = {"method": key[1], "d_p99": 2.0}
    return store.CellData(store.Cell(*key, 0, level), row, episodes, {0: 3, 2: 1}, {}, {})


@pytest.fixture
def outcome():
    """With delay realtime solves a quarter more than naive on the first of two levels, for 2.5 evaluations more."""
    arms = [arm(profile, method) for profile in ("no_delay", "long_tail") for method in ("naive", "realtime")]
    study = study_of(*arms, comparisons=versus(("realtime",), "naive", ("no_delay", "long_tail")))
    cells = {}
    for level, gain in (("a", [0, 0, 1, 0]), ("b", [0, 0, 0, 0])):
        for one in arms:
            late = one.profile == "long_tail"
            better = late and one.method == "realtime"
            solved = np.tile(np.array([1, 0, 0, 1]) + np.array(gain if better else [0] * 4), 50)
            cells[level, *one.key] = (fake_cell(level, one.key, solved, 3.5 if better else 1.0),)
    return Outcome(study, cells)


def test_differences_are_paired_within_levels(outcome):
    (same, _), (late, corrected) = outcome.tests(statistics.SOLVED).values()
    assert (same.interval.value, same.p_value) == (0, 1)
    # No pair differs: a score interval says how many might.
    assert -0.05 < same.interval.low < 0 < same.interval.high < 0.05
    assert late.interval.value == pytest.approx(0.125)
    assert late.p_value < 1e-6
    assert corrected == pytest.approx(2 * late.p_value)
    key = ("long_tail", "realtime")
    assert outcome.evaluations_per_chunk(key) == 3.5
    assert outcome.cell_mean(key, "d_p99") == 2.0
    assert np.isnan(outcome.cell_mean(key, "passes_1"))
    assert outcome.delay_counts(key) == {0: 6, 2: 2}
    assert outcome.rate("a", key).value == 0.75


def test_p_values_are_corrected_within_a_family(outcome):
    alone = [dataclasses.replace(c, family=c.candidate[0]) for c in outcome.study.comparisons]
    apart = Outcome(dataclasses.replace(outcome.study, comparisons=tuple(alone)), outcome.cells)
    _, (late, corrected) = apart.tests(statistics.SOLVED).values()
    assert corrected == late.p_value


def test_arms_that_a_level_lacks_are_left_out(outcome):
    cells = {key: cell for key, cell in outcome.cells.items() if key != ("b", "long_tail", "realtime")}
    fewer = Outcome(outcome.study, cells)
    assert len(fewer.tests(statistics.SOLVED)) == 1
    assert len(fewer.arms()) == 3


def test_holm_corrects_in_order():
    # Holm (1979): 0.01 * 4, 0.02 * 3, 0.03 * 2 (not below the one before), 0.04 * 1.
    assert families.holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert families.holm([0.9, 0.6]) == pytest.approx([1.0, 1.0])
    assert families.holm([]) == []
    assert families.holm([0.01, 0.02], planned=4) == pytest.approx([0.04, 0.06])


def test_p_values_are_uniform_where_there_is_no_difference():
    rng = np.random.default_rng(0)

    def levels_that_share_their_luck():
        luck = rng.normal(size=200)
        return [luck + rng.normal(size=200) for _ in range(4)]

    p_values = [pairs.paired_test(levels_that_share_their_luck()).p_value for _ in range(1000)]
    for level in (0.05, 0.5):
        assert abs(np.mean(np.array(p_values) < level) - level) < 5 * np.sqrt(level * (1 - level) / 1000)


def test_faulty_studies_are_refused():
    with pytest.raises(ValueError, match="share a name"):
        study_of(arm("no_delay", "naive"), arm("no_delay", "naive"))
    with pytest.raises(ValueError, match="there is no arm"):
        study_of(arm("no_delay", "naive"), comparisons=(Comparison(("a", "b"), ("no_delay", "naive")),))
    with pytest.raises(ValueError, match=r"small has no arm \('long_tail', 'bid'\)"):
        SMALL.arm(("long_tail", "bid"))


def test_comparisons_that_would_only_add_to_the_correction_are_refused():
    one, key = SMALL.comparisons[0], ("no_delay", "naive")
    itself = Comparison(key, key)
    with pytest.raises(
        ValueError, match=r"naive - naive \(no_delay\) of small: \('no_delay', 'naive'\) is compared with"
    ):
        dataclasses.replace(SMALL, comparisons=(one, itself))
    dataclasses.replace(SMALL, comparisons=(one, dataclasses.replace(itself, less=one)))
    with pytest.raises(ValueError, match="of small stands 2 times in family='', whose p values are corrected for each"):
        dataclasses.replace(SMALL, comparisons=(one, itself := dataclasses.replace(one, family="x"), one))
    assert len(dataclasses.replace(SMALL, comparisons=(one, itself)).comparisons) == 2


def test_delays_come_from_an_arm_that_has_its_own():
    first = dataclasses.replace(arm("no_delay", "naive", "first"), delays_of=("burst", "naive"))
    second = dataclasses.replace(arm("no_delay", "naive", "second"), delays_of=first.key)
    with pytest.raises(ValueError, match=r"has the delays of .*first.*, which has those of another"):
        study_of(arm("burst", "naive"), first, second)


def test_comparisons_are_named_by_what_differs():
    name = ("burst", "naive")
    assert str(Comparison(name, ("heavy", "naive"))) == "burst - heavy (naive)"
    assert str(Comparison(name, ("burst", "bid"))) == "naive - bid (burst)"
    assert str(Comparison(name, ("heavy", "bid"))) == "naive (burst) - bid (heavy)"


def test_a_task_holds_the_arms_that_share_a_program():
    arms = [arm(p, m) for p in ("no_delay", "burst") for m in ("naive", "trained_prefix")]
    arms.append(dataclasses.replace(arm("no_delay", "naive", "late"), delays_of=("burst", "naive")))
    args = StudyArguments(levels=("catapult", "trampoline"), run_path="x", prefix_run_path="y")
    first, second = runner.tasks(study_of(*arms), args)
    assert [task.name for task in first] == [
        f"{level}, {method}" for level in ("catapult", "trampoline") for method in ("naive, x", "trained_prefix, y")
    ]
    assert [[one.profile for one in task.arguments[3]] for task in first] == [["no_delay", "burst"]] * 4
    assert [[one.method for one in task.arguments[3]] for task in second] == [["late"]] * 2


def test_a_small_study_from_start_to_page(arguments, monkeypatch, capsys):
    root = Path(arguments.output_root)
    root.mkdir()
    (root / "discussion.md").write_text("What it means.\n")
    shown = []

    def video(path, takes, episode):
        shown.append([(take.subject.level.name, take.config.delay_profile, take.cell.cell.profile) for take in takes])
        path.write_bytes(b"a video")

    monkeypatch.setattr(preview, "write", video)
    study_program.run(SMALL, dataclasses.replace(arguments, preview=True))
    lines = capsys.readouterr().out.splitlines()
    assert "2 of 2 cells to compute" in lines
    cells = [line for line in lines if line.startswith("grasp_easy ") and "solved" in line]
    assert [line.split(":")[0] for line in cells] == [f"grasp_easy {p}/naive/seed_0" for p in ("no_delay", "long_tail")]
    assert lines[-1] == f"open first: {root / 'index.html'}"
    names = ("long_tail", "no_delay")  # the comparison's
    assert shown == [[("grasp_easy", delay_profiles.profile(name), name) for name in names]]
    assert files.read_csv(root / "results_all.csv")["profile"].tolist() == ["no_delay", "long_tail"]
    english, chinese = (root / name for name in ("summary.md", "summary.zh-CN.md"))
    assert "long_tail - no_delay (naive)" in english.read_text()
    assert "What it means." in english.read_text()
    assert "# 一个研究" in chinese.read_text()
    page = (root / "index.html").read_text()
    assert page.count("<video") == 1
    assert not re.search(r'src="(?!data:)', page)  # self-contained

    monkeypatch.setattr(runner, "compute", None)  # nothing is left to compute
    study_program.run(SMALL, arguments)
    assert "0 of 2 cells to compute" in capsys.readouterr().out


def test_results_of_another_configuration_are_in_the_way(arguments, monkeypatch, capsys):
    few = dataclasses.replace(SMALL, arms=SMALL.arms[:1], comparisons=())
    args = dataclasses.replace(arguments, num_evals=2).of(few)
    runner.run(few, args)
    monkeypatch.setattr(runner, "compute", None)  # it stops before any work
    more = dataclasses.replace(args, num_evals=4)
    with pytest.raises(ConflictError, match=r"config\.num_evals = 2, not 4.*--output-root.*--overwrite"):
        runner.run(few, more)
    with pytest.raises(store.CellError, match="1 arms are incomplete"):
        Outcome.read(few, more, required=None)
    assert Outcome.read(few, args).complete(("no_delay", "naive"))
    planned = next(plan.cells(few, args))
    assert planned.standing().status == "complete"


def test_a_cell_of_older_code_is_computed_again(arguments, monkeypatch, capsys):
    few = dataclasses.replace(SMALL, arms=SMALL.arms[:1], comparisons=())
    args = dataclasses.replace(arguments, num_evals=2).of(few)
    runner.run(few, args)
    monkeypatch.setattr(plan.subject.identity, "code", lambda config, loader: "newer")
    assert next(plan.cells(few, args)).standing().status == "older"
    assert Outcome.read(few, args).complete(("no_delay", "naive"))  # a report of it can still be written
    capsys.readouterr()
    runner.run(few, args)
    out = capsys.readouterr().out
    assert "1 of 1 cells to compute, 1 of them again as the code has changed" in out
    assert "(again: older code)" in out
    assert next(plan.cells(few, args)).standing().status == "complete"


def test_arms_with_the_delays_of_others_are_checked_and_run_like_others(arguments, monkeypatch, capsys):
    late = dataclasses.replace(arm("no_delay", "naive", "late"), delays_of=("long_tail", "naive"))
    study = study_of(arm("no_delay", "naive"), arm("long_tail", "naive"), late)
    args = dataclasses.replace(arguments, num_evals=2).of(study)
    computed = runner.compute

    def faulty(planned, started):
        if (planned.cell.profile, planned.cell.method) == ("no_delay", "naive"):
            raise ValueError("no such thing")
        return computed(planned, started)

    # What fails in the first wave keeps nothing else from running.
    monkeypatch.setattr(runner, "_program", lambda one: str(one.key))  # a task each
    monkeypatch.setattr(runner, "compute", faulty)
    with pytest.raises(ChildProcessError, match=r"no_delay.*\n?.*no such thing"):
        runner.run(study, args, keep_going=True)
    monkeypatch.setattr(runner, "compute", computed)
    runner.run(study, args)
    assert "1 of 3 cells to compute" in capsys.readouterr().out

    monkeypatch.setattr(runner, "compute", None)
    other = dataclasses.replace(late, config=dataclasses.replace(late.config, num_flow_steps=3))
    with pytest.raises(ConflictError, match=r"no_delay/late.*config\.num_flow_steps = 5, not 3"):
        runner.run(study_of(*study.arms[:2], other), args)


def test_runs_with_other_settings_share_a_folder(arguments):
    args = dataclasses.replace(arguments, num_evals=2).of(SMALL)
    one, other = (
        study_of(arm("custom", "naive", delay=delay_profiles.profile(name))) for name in ("no_delay", "burst")
    )
    assert plan.distinct(one, args).profiles == ["custom"]
    runner.run(one, args)
    assert plan.distinct(one, args).profiles == ["custom"]
    (name,) = plan.distinct(other, args).profiles
    assert re.fullmatch(r"custom-[0-9a-f]{8}", name)
    seeds = dataclasses.replace(args, seeds=(5,))
    assert plan.distinct(one, seeds).profiles == ["custom"]
    assert plan.distinct(other, seeds).profiles == [name]


def test_wandb_gets_the_report_without_a_network(arguments, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    study_program.run(SMALL, dataclasses.replace(arguments, wandb=True))
    (run,) = tmp_path.glob("wandb/offline-run-*")
    names = {path.name.split("_")[0] for path in (run / "files/media").rglob("*") if path.is_file()}
    assert names >= {"comparisons", "all", "level", "arms"}


@pytest.mark.usefixtures("modules_for_jobs")
def test_a_study_in_other_processes_gives_the_same_episodes(on_the_simulator, tmp_path):
    study_program.run(SMALL, on_the_simulator)
    jobs = LauncherConfig("processes")
    elsewhere = dataclasses.replace(on_the_simulator, launcher=jobs, output_root=str(tmp_path / "jobs_study"))
    study_program.run(SMALL, elsewhere)
    roots = (Path(args.output_root) for args in (on_the_simulator, elsewhere))
    here, there = (sorted(root.rglob("episodes.csv"), key=lambda path: path.parts[-4:]) for root in roots)
    assert len(here) == len(there) == 2
    assert [path.read_bytes() for path in here] == [path.read_bytes() for path in there]


@pytest.mark.parametrize("change", [{}, {"tail_cap": 3}, {"hedge": 3}, {"deadline": 2}, {"drop_spike_prob": 0.3}])
def test_the_mean_delay_is_that_of_the_samples(change):
    config = dataclasses.replace(delay_profiles.profile("long_tail"), **change)
    process = sampling.make_process(config)
    streams = jax.vmap(sampling.init)(jax.random.split(jax.random.key(0), 20_000))
    sample = jax.vmap(sampling.sample, (None, 0))(process, streams)[0].delay
    deadline = config.deadline or np.inf
    spent = np.minimum(sample, deadline).sum() / (sample <= deadline).sum()  # per query that returns
    error = sample.std() / np.sqrt(len(sample))
    assert abs(spent - delay_profiles.mean_delay(config)) < 5 * error
    with pytest.raises(ValueError, match="for mode 'mixture' only"):
        delay_profiles.mean_delay(delay_profiles.profile("heavy"))


def test_a_speed_up_cannot_slow_down():
    with pytest.raises(ValueError, match=r"mean=0\.5 must lie between 0 and"):
        delay_profiles.thinned(delay_profiles.profile("long_tail"), 0.5)
    hedged = dataclasses.replace(delay_profiles.profile("long_tail"), hedge=2)
    with pytest.raises(ValueError, match="hedge=2 would be lost"):
        delay_profiles.thinned(hedged, 0.01)
