"""Reports from synthetic cells: tail_v1, studies, the delay curve, RSD."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rtc import report
from rtc.control import timeline
from rtc.delay.profiles import DelayProfileConfig
from rtc.report import figures, page, sections, study_tables, words
from rtc.report.figures import delays
from rtc.shared import files
from rtc.study import cells, layout, verdicts
from rtc.study.cells import Cell, CellData
from rtc.study.evaluation import EvalConfig
from rtc.study.layout import Section
from rtc.study.outcome import Outcome
from rtc.study.protocols import layouts, published_curve, tail_v1
from rtc.study.questions import Comparison, versus
from rtc.study.study import Arm, Study, arm
from stubs import episode_trace

SEEDS, EPISODES = (0, 1), 24
SOLVE_RATE = {"naive": 0.5, "realtime": 0.75}
RECORD = {"git_commit": "f" * 40, "git_dirty": False, "packages": {"jax": "0.9.0"}, "command": "python exp/run.py"}
RECORD |= {"start_time_utc": "2026-01-01T00:00:00+00:00", "wall_s": 1.5}
TAIL_STUDY = tail_v1.study(EvalConfig(num_evals=EPISODES), baseline_root="exp_runs/stepA_baseline")


def episodes(rate, seed, bonus=0.0):
    rng = np.random.default_rng(seed)  # the same in all groups, like common random numbers
    luck = rng.permutation(EPISODES) / EPISODES
    frame = pd.DataFrame({"episode": np.arange(EPISODES), "returned_episode_solved": (luck < rate).astype(int)})
    frame["returned_episode_returns"] = luck + bonus
    frame["returned_episode_lengths"] = rng.integers(40, 256, EPISODES)
    for column in ("max_delta_action", "max_ddelta_action", "rms_ddelta_action"):
        frame[column] = rng.uniform(0.1, 1.0, EPISODES)
    return frame.assign(num_queries=3, abandoned_queries=1, flow_evals=3)


def cell_of(profile, method, seed, rate=None, level="grasp_easy", directory=None):
    tail = {"long_tail": 4, "tail_controlled": 2}.get(profile, 0)
    frame = episodes(SOLVE_RATE.get(method, 0.5) if rate is None else rate, seed, 0.25 * (tail == 2))
    row = {"profile": profile, "method": method, "seed": seed, "level": level}
    row |= frame.drop(columns=["episode", "num_queries", "abandoned_queries", "flow_evals"]).mean().to_dict()
    row |= {"d_p50": 0.0, "d_p95": float(tail), "d_p99": float(tail), "p_violate": 0.05 * (tail > 3)}
    row |= {"starved_fraction": 0.01 * tail, "p_starve_condition": 0.05 * (tail > 3), "mean_flow_steps": 5.0}
    inputs = {"config": {"num_evals": EPISODES, "model": {"action_chunk_size": 4}, "seed": seed}, "code": "v" * 64}
    counts = {0: 90, 1: 5, tail: 5} if tail else {0: 100}
    return CellData(
        Cell(profile, method, seed, level), row, frame, counts, inputs, RECORD, directory or Path("nowhere")
    )


@pytest.fixture
def tail(tmp_path, monkeypatch):
    """All cells of tail_v1 with its baseline, of few episodes, which are judged."""
    monkeypatch.setattr(verdicts, "MIN_EPISODES", 48)
    cells = {
        ("grasp_easy", *one.key): tuple(
            cell_of(*one.key, seed, 0.9 if one.key == tail_v1.BASELINE else None, directory=tmp_path) for seed in SEEDS
        )
        for one in TAIL_STUDY.arms
    }
    return Outcome(TAIL_STUDY, cells)


def replaced(outcome, key, rate):
    """The same with an arm that solves another share."""
    cells = tuple(cell_of(*key, seed, rate) for seed in SEEDS)
    return dataclasses.replace(outcome, cells={**outcome.cells, ("grasp_easy", *key): cells})


def broken_links(page, whole=False):
    """Where a page's links lead that do not exist; or all of them."""
    text = page.read_text()
    targets = [target for target in re.findall(r'href="([^"]+)"', text) if not target.startswith(("data:", "https:"))]

    def there(target):
        return f'id="{target[1:]}"' in text if target.startswith("#") else (page.parent / target).exists()

    return targets if whole else [target for target in targets if not there(target)]


def text_of(outcome, kind, root="."):
    """One section of a study, as Markdown."""
    context = sections.Context(outcome, root, Section(kind), False, ())
    return page.Section("", sections.WRITERS[kind](context)).markdown()


def test_every_section_and_figure_that_a_study_can_name_exists():
    assert tuple(sorted(sections.WRITERS)) == layout.SECTIONS
    assert tuple(sorted(figures.DRAWN)) == layout.FIGURES == tuple(sorted(words.CAPTIONS))
    described = (Path(__file__).parents[1] / "docs/reports.md").read_text()
    assert all(f"`{name}`" in described for name in (*layout.SECTIONS, *layout.FIGURES))
    with pytest.raises(ValueError, match="did you mean 'comparisons'"):
        Section("comparison")
    with pytest.raises(ValueError, match="figures entry='bars' is unknown"):
        Section("text", figures=("bars",))


def test_the_report_of_tail_v1_has_every_part(tail, tmp_path):
    files.atomic_write(tmp_path / cells.TRACE, timeline.to_bytes(episode_trace()))
    assert report.write(TAIL_STUDY, tail, tmp_path) == tmp_path / "index.html"
    text = (tmp_path / "summary.md").read_text()
    assert report.verdict(tail) in text
    headings = [
        "Question",
        "Verdict",
        "Results",
        "Delay and starvation",
        "Paired differences",
        "Within a margin",
        "Figures",
        "Protocol",
    ]
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == [*headings, "Provenance", "Metrics", "Cautions", "Data"]
    for line in (
        "- **BY CONSTRUCTION**: d_p99 falls: 4.0 → 2.0 ticks",
        "- **BY CONSTRUCTION**: p_violate falls: 5.0% → 0.0%",
        "75.0% → 75.0% (limit 75.0%)",
        "Conclusion: **PASS**",
        "The row `no_delay` is the same policy without inference delay",
        "- estimator.kind: window_max",
        "- execution.execute_horizon: 1",
        "- num_evals: 24",
        "tail_cap, by profile: long_tail = None; tail_controlled = 2",
        "- method, by method: naive = naive; realtime = realtime",
        "- seed, by seed: 0 = 0; 1 = 1",
        f"- git_commit: `{'f' * 40}`",
        "- packages.jax: `0.9.0`",
        "- wall time of all cells: 15 s",
        "p_violate` is not the starvation condition",
    ):
        assert line in text
    for name in ("outcomes", "delays", "timeline"):
        assert f"figures/{name}.png" in text
        assert (tmp_path / f"figures/{name}.png").stat().st_size > 10_000
        assert (tmp_path / f"figures/{name}.svg").exists()
    assert len(files.read_csv(tmp_path / "results_all.csv")) == 8  # the baseline's rows are step A's
    assert not (tmp_path / "summary.zh-CN.md").exists()


def test_the_summary_table_by_hand(tail, tmp_path):
    report.write(TAIL_STUDY, tail, tmp_path)
    table = files.read_csv(tmp_path / "summary.csv").set_index(["profile", "method"])
    row = table.loc["tail_controlled", "realtime"]
    assert (row["seeds"], row["episodes"]) == (2, 48)
    assert row["returned_episode_solved"] == 0.75
    assert row["returned_episode_solved_std"] == 0
    assert row["returned_episode_solved_low"] == pytest.approx(0.612, abs=1e-3)  # Wilson of 36 of 48
    assert row["returned_episode_returns"] == pytest.approx(23 / 48 + 0.25)
    assert row["d_p99"] == 2
    shown = study_tables.seeds(table.reset_index()).set_index(["profile", "method"])
    assert shown.loc["tail_controlled", "realtime"]["solved (%)"] == "75.0 ± 0.0 [61.2, 85.1]"


def test_paired_differences_cancel_what_the_pairs_share(tail):
    shown = study_tables.differences(tail, TAIL_STUDY.comparisons).set_index("difference")
    assert shown.loc["tail_controlled - long_tail (naive)", "return"] == "+0.250 [+0.250, +0.250] *"
    assert shown.loc["tail_controlled - long_tail (naive)", "solved (pp)"] == "+0.0 [-7.4, +7.4]"
    assert shown.loc["realtime - naive (long_tail)", "solved (pp)"].startswith("+25.0 [")
    assert shown.loc["realtime - naive (long_tail)", "solved (pp)"].endswith("] *")


def test_the_verdict_fails_when_fewer_episodes_are_solved(tail):
    text = text_of(replaced(tail, ("tail_controlled", "realtime"), 0.5), "verdict")
    assert "- **FAIL**: solve rate does not fall" in text
    assert "75.0% → 50.0%" in text
    assert "Conclusion: **FAIL**" in text


def test_no_conclusion_without_a_working_baseline(tail):
    key = ("grasp_easy", *tail_v1.BASELINE)
    missing = Outcome(TAIL_STUDY, {k: v for k, v in tail.cells.items() if k != key}, {key: "not computed yet"})
    failing = replaced(tail, tail_v1.BASELINE, 0.0)
    for outcome, reason in ((missing, "baseline is missing"), (failing, "0.0% of the episodes")):
        text = text_of(outcome, "verdict")
        assert "**No conclusion** about the policy" in text
        assert "- **NOT JUDGED**: solve rate" in text
        assert reason in text
        assert "Conclusion: **" not in text
    assert "**The zero-delay baseline is missing**: not computed yet." in text_of(missing, "seeds")


def test_the_timeline_is_left_out_without_a_trace(tail, tmp_path):
    files.atomic_write(tmp_path / "figures" / "timeline.png", "of an earlier report")
    files.atomic_write(tmp_path / "summary.md", "# Report\n\n![timeline](figures/timeline.png)\n")
    report.write(TAIL_STUDY, tail, tmp_path)
    assert "no episode trace was recorded" in (tmp_path / "summary.md").read_text()
    assert not (tmp_path / "figures" / "timeline.png").exists()


def test_a_report_without_cells_says_so(tmp_path):
    with pytest.raises(ValueError, match="no finished cells"):
        report.write(TAIL_STUDY, Outcome(TAIL_STUDY, {}), tmp_path)


@pytest.fixture
def small():
    """With delay realtime solves a quarter more than naive."""
    arms = tuple(arm(p, m) for p in ("no_delay", "long_tail") for m in ("naive", "realtime"))
    texts = {"title": "A study", "title_zh": "一个研究", "question": "Which?", "question_zh": "哪个？"}
    pairs = versus(("realtime",), "naive", ("no_delay", "long_tail"))
    study = Study(name="small", arms=arms, comparisons=pairs, levels=("a", "b"), **texts)
    rates = {("long_tail", "naive"): 0.25}
    cells = {
        (level, *one.key): (cell_of(*one.key, 0, rates.get(one.key, 0.5), level),) for level in "ab" for one in arms
    }
    return Outcome(study, cells)


def test_only_a_study_that_says_so_was_fixed_beforehand(small):
    assert "before the study ran" not in text_of(small, "question")
    declared = dataclasses.replace(small, study=dataclasses.replace(small.study, preregistered=True))
    assert "returned_episode_solved, fixed before the study ran." in text_of(declared, "question")


def test_a_study_has_pages_in_both_languages(small, tmp_path):
    (tmp_path / "discussion.md").write_text("What it means.\n")
    report.write(small.study, small, tmp_path)
    english, chinese = ((tmp_path / name).read_text() for name in ("summary.md", "summary.zh-CN.md"))
    headings = re.findall(r"^## (.*)", english, re.MULTILINE)
    assert headings == [
        "Question",
        "How it was asked",
        "Comparisons",
        "Discussion",
        "All arms",
        "Costs and side effects",
        "Level by level",
        "Data",
    ]
    assert "realtime - naive (long_tail)" in english
    assert "# 一个研究" in chinese
    assert "哪个？" in chinese
    for name, other in (("index.html", "index.zh-CN.html"), ("index.zh-CN.html", "index.html")):
        html = (tmp_path / name).read_text()
        assert html.count("<table>") == 4
        assert not re.search(r'src="(?!data:)', html)  # self-contained
        assert other in broken_links(tmp_path / name, whole=True)
        assert broken_links(tmp_path / name) == []
    assert list(report.tables(small.study, small)) == [
        "comparisons",
        "all_arms",
        "costs_and_side_effects",
        "level_by_level",
    ]


def test_what_limits_a_study_is_said(small):
    key = ("b", "long_tail", "realtime")
    fewer = Outcome(small.study, {k: v for k, v in small.cells.items() if k != key}, {key: "not computed yet"})
    context = sections.Context(fewer, ".", Section("text"), False, ())
    assert any("**Incomplete:** 1 of 8 arms × levels" in part for part in sections.lead(context))
    assert len(study_tables.comparisons(fewer, small.study.comparisons)) == 1
    keys = [one.key for one in small.study.arms]
    assert len(study_tables.costs(fewer, keys)) == 3
    assert study_tables.arms(fewer, keys)["long_tail"].tolist()[1] == ""
    assert study_tables.levels(fewer, keys)["b"].tolist()[3] == "n/a"
    failing = {k: (cell_of(*k[1:], 0, 0.0, "b"),) if k[0] == "b" else v for k, v in small.cells.items()}
    many = {k: (dataclasses.replace(v[0], episodes=pd.concat([v[0].episodes] * 9)),) for k, v in failing.items()}
    assert study_tables.unfit_levels(small.study, small) == []
    assert study_tables.unfit_levels(small.study, Outcome(small.study, many)) == ["b"]


def test_better_is_what_the_metric_says(small):
    """Where every solved episode jerks, whoever solves more is worse."""
    rough = {
        key: tuple(
            dataclasses.replace(
                cell,
                episodes=cell.episodes.assign(rms_ddelta_action=cell.episodes["returned_episode_solved"].astype(float)),
            )
            for cell in cells
        )
        for key, cells in small.cells.items()
    }
    study = dataclasses.replace(small.study, primary="rms_ddelta_action")
    table = study_tables.comparisons(Outcome(study, rough), study.comparisons)
    assert table["better / worse levels"].tolist() == ["0 / 0", "0 / 2"]


def test_comparisons_say_what_they_find_and_what_it_costs(small):
    dear = {
        key: (dataclasses.replace(v[0], episodes=v[0].episodes.assign(flow_evals=9 if "realtime" in key else 3)),)
        for key, v in small.cells.items()
    }
    table = study_tables.comparisons(Outcome(small.study, dear), small.study.comparisons)
    assert table["finding"].tolist() == ["not told apart", "higher"]
    assert table["better / worse levels"].tolist() == ["0 / 0", "2 / 0"]
    assert table["extra evals/chunk"].tolist() == ["+2.00", "+2.00"]  # 9 or 3 evaluations, 3 chunks
    assert table["gain per extra eval"].tolist()[1].startswith("+12.50 [")


def test_sections_cover_the_arms_that_they_name(small):
    context = sections.Context(small, ".", Section("arms", profiles=("long_tail",)), False, ())
    assert context.keys == [("long_tail", "naive"), ("long_tail", "realtime")]
    assert [str(comparison) for comparison in context.comparisons] == ["realtime - naive (long_tail)"]
    (table,) = sections.WRITERS["outcomes"](context)
    assert table.columns.tolist() == ["method", "solved (%)", "a", "b"]


def test_the_curve_has_published_values_and_the_grid_below(tmp_path):
    base = EvalConfig(num_evals=EPISODES)
    study = published_curve.study(("naive", "realtime"), ("naive",), (0, 1), 3, base, ("a", "b"))
    found = {
        (level, *one.key): (cell_of(*one.key, 0, level=level, directory=tmp_path),)
        for level in "ab"
        for one in study.arms
    }
    outcome = Outcome(study, found)
    report.write(study, outcome, tmp_path)
    text = (tmp_path / "summary.md").read_text()
    assert (tmp_path / "figures/solve_rate.png").stat().st_size > 10_000
    assert (tmp_path / "figures/grid.png").exists()
    assert "| published naive | published realtime |" in text
    table = study_tables.curve(outcome, [("d0_s1", "naive"), ("d1_s1", "naive"), ("d1_s1", "realtime")], "naive")
    assert table["published naive"].tolist() == ["90.8", "78.1"]
    assert table["realtime"].tolist()[0] == "n/a"
    assert table["realtime - naive"].tolist()[1].startswith("+25.0 [")
    drawn = dataclasses.replace(study.arms[0], profile="burst", config=arm("burst", "naive").config)
    told = Outcome(
        dataclasses.replace(study, arms=(drawn,), comparisons=(), sections=()),
        {("a", *drawn.key): found["a", "d0_s1", "naive"]},
    )
    assert study_tables.curve(told, [drawn.key], "naive")["d"].tolist() == ["burst"]
    grid = text.partition("## All d and s")[2].partition("\n## ")[0]
    assert "|   0 |   3 |" in grid
    assert "realtime" not in grid


def test_rsd_has_tables_per_timing_and_corrects_within_each(tmp_path):
    names = ("flow", "blocks")
    arms = [Arm(profile, name, EvalConfig()) for profile in ("no_delay", "assumed") for name in names]
    arms += [Arm("depth", f"layers_{n}", EvalConfig()) for n in (1, 2)]
    study = Study(
        name="rsd",
        title="RSD",
        title_zh="",
        question="",
        question_zh="",
        arms=tuple(arms),
        comparisons=tuple(Comparison((p, "blocks"), (p, "flow"), family=p) for p in ("no_delay", "assumed")),
        levels=("a",),
        figures=(),
        sections=layouts.rsd("24 episodes.", (4, 1), {"assumed": "Assumed."}, "As they were."),
        about={"flow": "the flow policy", "blocks": "tokens"},
    )
    found = {}
    for one in arms:
        cell = cell_of(*one.key, 0, level="a")
        shares = {"passes_3": 1.0} if one.method == "blocks" else {}
        found["a", *one.key] = (dataclasses.replace(cell, result=cell.result | shares),)
    report.write(study, Outcome(study, found), tmp_path)
    text = (tmp_path / "summary.md").read_text()
    assert "| layers_2 " in text
    assert text.count("blocks - flow (") == 2
    assert "Assumed. s = 1; methods plan" in text
    assert "the flow policy" in text
    assert (tmp_path / "figures/layers.png").exists()
    passes = study_tables.passes(Outcome(study, found), [("no_delay", name) for name in names])
    assert passes.to_dict("records") == [{"method": "blocks", "mean": "5.00", "3 (%)": "100.0"}]


def test_profiles_without_queries_have_no_distribution(small):
    empty = {key: (dataclasses.replace(v[0], delay_counts={}),) for key, v in small.cells.items()}
    assert delays.draw(small.study, Outcome(small.study, empty)) is None
    assert DelayProfileConfig() == small.study.arms[0].config.delay_profile


def test_a_margin_is_judged_with_enough_episodes_only(tail):
    few = text_of(tail, "margins")
    assert "**Not judged:** 48 episodes" in few

    def many(key, rate):
        frame = pd.DataFrame({"episode": np.arange(1000), "returned_episode_solved": np.arange(1000) < 1000 * rate})
        return (dataclasses.replace(tail.cells["grasp_easy", *key][0], episodes=frame),)

    rates = {"long_tail": 0.9, "tail_controlled": 0.895, "no_delay": 0.95}
    cells = {key: many(key[1:], rates[key[1]] - 0.1 * (key[2] == "realtime")) for key in tail.cells}
    table = study_tables.margins(dataclasses.replace(tail, cells=cells), TAIL_STUDY.comparisons)
    table = table.set_index("candidate - reference")
    same = table.loc["tail_controlled - long_tail (naive)"]
    assert (same["finding"], same["not worse"]) == ("differs by less than 2 pp", "yes")
    worse = table.loc["realtime - naive (long_tail)"]
    assert (worse["finding"], worse["not worse"]) == ("differs", "not shown")
    # 100 pairs of 1000 differ, by 1: standard deviation 0.3, times (1.96 + 0.84) / sqrt(1000).
    assert float(worse["finds (pp)"]) == pytest.approx(100 * 0.3 * 2.80 / 1000**0.5, abs=0.05)
    assert "percentage points that was stated before the run" in text_of(
        dataclasses.replace(tail, cells=cells), "margins"
    )
