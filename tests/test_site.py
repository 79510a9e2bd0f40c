"""The site's pages before MkDocs builds them: links, navigation, and data that equal the tables."""

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from rtc.control.controller import ExecutionConfig
from rtc.control.records import NEVER
from rtc.programs import stage_site
from rtc.report import catalogue, study_tables
from rtc.report.figures import palette
from rtc.report.site import episodes, explorer, links, notebook, reference, staging
from rtc.study import archive, files, pairs
from rtc.study.cells import Cell
from rtc.study.evaluation import EvalConfig
from rtc.study.outcome import Outcome
from rtc.study.questions import Comparison
from rtc.study.study import Arm, arm

ROOT = Path(__file__).parents[1]
CONTROLS = "study_tail_v1_controls"


@pytest.fixture(scope="module")
def controls() -> Outcome:
    """The committed outcomes of a study with two policies."""
    found = {}
    for cell, data in archive.read(ROOT / "exp_runs" / CONTROLS).cells.items():
        found.setdefault((cell.level, cell.profile, cell.method), []).append(data)
    return Outcome(files.read("tail_v1_controls"), {key: tuple(cells) for key, cells in found.items()})


@pytest.fixture(scope="module")
def shown(controls):
    return explorer.data(controls, "logs-bc/h8", "report.html")


def test_links_lead_where_the_pages_are():
    places = {"docs/a.md": "a.md", "exp_runs/x/summary.md": "exp_runs/x/summary.md", "docs/p.png": "p.png"}
    text = "[a](a.md#part) ![p](p.png) [x](../exp_runs/x/summary.md) [gone](b.md) [web](https://x.org) `[c](a.md)`"
    expected = "[a](a.md#part) ![p](p.png) [x](exp_runs/x/summary.md) gone [web](https://x.org) `[c](a.md)`"
    assert links.rewrite(text, "docs/index.md", "index.md", places.get) == expected
    back = links.rewrite("[a](../../docs/a.md)\n```\n[a](a.md)\n```", "exp_runs/x/r.md", "exp_runs/x/r.md", places.get)
    assert back == "[a](../../a.md)\n```\n[a](a.md)\n```"


def test_the_navigation_has_what_is_there_once():
    there = {"a.md": "A", "r/one.md": "Zwei", "r/two.md": "Eins", "left.md": "Left"}
    wanted = [
        "a.md",
        {"Gone": "gone.md"},
        {"None": ["gone.md"]},
        {"R": [{"First": "r/one.md"}, "r/*"]},
        {"Rest": ["*"]},
    ]
    assert staging.navigation(wanted, there) == [
        {"A": "a.md"},
        {"R": [{"First": "r/one.md"}, {"Eins": "r/two.md"}]},
        {"Rest": [{"Left": "left.md"}]},
    ]


def test_every_page_that_the_navigation_names_is_there():
    named = staging.named(yaml.safe_load((ROOT / "docs/site.yml").read_text())["nav"])
    there = {*staging.pages(ROOT).values(), "notebook.md"}  # the notebook's page is made where the site is built
    assert {name for name in named if "*" not in name} - there == set()


def test_a_flowchart_becomes_a_table():
    text = (
        'Before\n\n```mermaid\nflowchart TB\n  a["<b>a</b> · one"]\n  b["<b>b</b> · two"]\n  a --> b & c --> d\n```\n'
    )
    table = staging.without_diagrams(text)
    assert "| a | one | b, c |" in table
    assert "| b | two | d |" in table
    assert "mermaid" not in table
    assert "mermaid" not in staging.without_diagrams((ROOT / "docs/architecture.md").read_text())


def test_every_page_of_the_repository_is_staged_and_no_link_is_broken(tmp_path):
    board = "# Board\n\n[level](own-level.md) ![picture](board_files/a.png)\n"
    titles = staging.stage(ROOT, tmp_path / "pages", {"leaderboard.md": board, "board_files/a.png": b"picture"})
    assert "![picture](board_files/a.png)" in (tmp_path / "pages/leaderboard.md").read_text()
    assert titles["leaderboard.md"] == "Board"
    for path in ROOT.glob("docs/*.md"):
        assert path.name in titles
    for path in ROOT.glob("exp_runs/*/summary.md"):
        assert path.relative_to(ROOT).as_posix() in titles
    broken = []
    for page in sorted((tmp_path / "pages").rglob("*.md")):
        name, text = page.relative_to(tmp_path / "pages"), page.read_text()
        text = re.sub(r"```.*?```|`[^`\n]+`", "", text, flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s#]+)[^)]*\)", text):
            generated = target.startswith(("http", "mailto"))
            if not generated and not page.parent.joinpath(target).exists():
                broken.append(f"{name}: {target}")
    assert broken == []
    config = staging.configure(ROOT, tmp_path / "pages", tmp_path / "site", titles).read_text()
    assert str(tmp_path / "site") in config
    assert "'*" not in config


def test_the_reference_has_every_room():
    found = reference.pages(ROOT / "src/rtc")
    assert "::: rtc.control.executor" in found["reference/control.md"]
    assert {Path(name).stem for name in found} >= {"shared", "delay", "policies", "methods", "control", "study"}


def test_arms_are_named_by_profile_method_and_policy(controls, shown):
    assert {(one["method"], one["policy"]) for one in shown["arms"]} == {
        (method, policy) for method in ("naive", "realtime", "realtime_q80") for policy in ("tail_v1", "other", "third")
    }
    plain = [arm("burst", "naive"), arm("burst", "realtime", "realtime+oracle")]
    names = explorer.named(plain, "logs-bc/h8")
    colors = palette.distinct_colors(["naive", "naive+noise0", "realtime", "realtime+oracle", "mine"])
    assert len(set(colors.values())) == 5
    assert colors["naive"] == palette.LOOKS["naive"].color
    assert names["burst", "realtime+oracle"] == explorer.Named("burst", "realtime+oracle", "h8")
    assert all(isinstance(one, Arm) for one in controls.arms())


def test_studies_that_share_a_name_are_refused():
    one, other = ({"name": name, "title": "A"} for name in ("a", "b"))
    with pytest.raises(ValueError, match="title of several studies of the explorer: A"):
        stage_site.scripts([one, other], [])
    with pytest.raises(ValueError, match="name of several studies of the explorer: a"):
        stage_site.scripts([one, one | {"title": "B"}], [])


def test_every_sweep_has_a_set_of_its_own(tmp_path, monkeypatch):
    """Sets are called like their folders, and have the methods, episodes and points that are there."""
    template = next(iter(archive.read(ROOT / "exp_runs" / CONTROLS).cells.values()))
    inputs = {**template.inputs, "config": {**template.inputs["config"], "num_evals": 16}}
    for name, points in (("delay_sweep", ("d0_s1", "d2_s5")), ("delay_sweep_published_recipe", ("d0_s1", "d4_s4"))):
        cells = [Cell(point, method, 0, "grasp_easy") for point in points for method in ("naive", "bid")]
        archive.write(tmp_path / "exp_runs" / name, [replace(template, cell=one, inputs=inputs) for one in cells])
    monkeypatch.chdir(tmp_path)
    found = dict(stage_site.sweeps(tmp_path))
    assert list(found) == ["delay_sweep", "delay_sweep_published_recipe"]
    assert [one.grid for one in found.values()] == [True, False]
    assert {one.methods for one in found.values()} == {("naive", "bid")}
    assert {one.num_evals for one in found.values()} == {16}
    assert found["delay_sweep_published_recipe"].output_root == str(tmp_path / "exp_runs/delay_sweep_published_recipe")


def test_values_are_those_of_the_tables(controls, shown):
    metric = catalogue.PRIMARY
    table = study_tables.arms(controls, [one.key for one in controls.arms()])
    summary = (ROOT / f"exp_runs/{CONTROLS}/summary.md").read_text()
    for one in shown["arms"]:
        text = metric.interval(statistics_of(one["values"][metric.column]))
        row = table[table["method"] == one["label"]].iloc[0]
        assert row[one["profile"]] == text
        assert text in summary


def statistics_of(values):
    from rtc.study.statistics import Interval

    return Interval(*values)


def test_differences_are_those_of_the_study(controls, shown):
    """Every comparison of two arms that differ in one setting, either way round."""
    metric, arms = catalogue.PRIMARY, shown["arms"]
    place = {(one["profile"], one["label"]): number for number, one in enumerate(arms)}
    rows = {(row[0], row[1]): row[2:] for row in shown["pairs"][metric.column]}
    tests, seen = controls.tests(metric.column), 0
    for comparison, (test, _) in tests.items():
        if comparison.less is None:
            a, b = place[comparison.candidate], place[comparison.reference]
            found = rows.get((a, b)) or [-rows[b, a][0], -rows[b, a][2], -rows[b, a][1], rows[b, a][3]]
            assert metric.interval(statistics_of(found[:3]), signed=True) == metric.interval(test.interval, signed=True)
            assert found[3] == pytest.approx(test.p_value, abs=1e-8)
            seen += 1
    assert seen >= 12


def test_other_metrics_have_the_intervals_of_their_kind(controls, shown):
    column, (a, b, *found) = "rms_ddelta_action", shown["pairs"]["rms_ddelta_action"][0]
    keys = [one.key for one in controls.arms()]
    levels = [controls.pairs(Comparison(keys[a], keys[b]), column, level) for level in controls.levels]
    test = pairs.table_test(column, levels)
    assert found == pytest.approx([test.interval.value, test.interval.low, test.interval.high, test.p_value], abs=1e-8)
    assert json.loads(json.dumps(shown, allow_nan=False)) == shown


def test_recorded_episodes_are_complete_and_small():
    found = episodes.index(ROOT)
    videos = list((ROOT / episodes.FOLDER).glob("*.mp4"))
    assert len(found) >= 4, "docs/episodes has two methods at least in two scenes"
    assert {Path(one["video"]).name for one in found} == {path.name for path in videos}
    assert sum(path.stat().st_size for path in videos) < 2_000_000
    scenes = {one["scene"] for one in found}
    for scene in scenes:
        of_scene = [one for one in found if one["scene"] == scene]
        assert len(of_scene) >= 2
        first = [one["queries"][0] for one in of_scene]
        assert len({launch for launch, *_ in first}) == 1
        assert len({delay for _, delay, _ in first}) == 1  # the same delays meet all methods
        assert all(len(one["age"]) > max(launch for launch, *_ in one["queries"]) for one in of_scene)


def test_an_episode_is_recorded_again_if_it_would_be_another(tmp_path, monkeypatch):
    ran, path = [], tmp_path / "scene-naive.mp4"
    records = SimpleNamespace(
        length=np.array([3]),
        delay=np.array([[1, NEVER, NEVER]]),
        planned=np.array([[2, NEVER, NEVER]]),
        age=np.array([[0, 0, NEVER]]),
        solved=np.array([True]),
    )
    black = np.zeros((32, 32, 3), np.uint8)
    monkeypatch.setattr(episodes.preview, "pictures", lambda *_, **__: iter([black] * 3))
    subject = SimpleNamespace(
        level=None,
        inputs=lambda config, seed: {"horizon": config.execution.execute_horizon, "seed": seed},
        rollout=lambda config, **_: ran.append(config) or records,
    )

    def written(horizon=2, seed=0, episode=0, **more):
        config = EvalConfig(execution=ExecutionConfig(execute_horizon=horizon))
        episodes.write(path, "level, heavy", subject, config, seed, episode, **more)
        return len(ran)

    assert [written(), written()] == [1, 1]
    assert [written(horizon=3), written(horizon=3), written()] == [2, 2, 3]
    assert [written(seed=1), written(seed=1, episode=1)] == [4, 5]
    assert written(seed=1, episode=1, again=True) == 6
    path.with_suffix(".json").unlink()  # a run that was killed between the two files
    assert [written(seed=1, episode=1), written(seed=1, episode=1)] == [7, 7]
    (tmp_path / episodes.FOLDER).parent.mkdir()
    (tmp_path / episodes.FOLDER).symlink_to(tmp_path)
    (shown,) = episodes.index(tmp_path)
    assert (shown["queries"], shown["age"], shown["solved"]) == ([[0, 1, 2]], [0, 0, -1], True)
    assert not {"source", "provenance"} & set(shown)


def test_the_notebook_is_executed_without_errors():
    cells = json.loads((ROOT / "docs/notebook.ipynb").read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert len(code) >= 4
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not [out for cell in code for out in cell["outputs"] if out["output_type"] == "error"]
    assert notebook.pages(ROOT / "docs/no-such.ipynb") == {}


@pytest.mark.long
def test_the_notebook_shows_what_its_cells_compute(capsys):
    """The cells again, but for their pictures: what they print is what the page shows."""
    pytest.importorskip("IPython", reason="the notebook needs the extra docs")
    names: dict = {}
    for cell in json.loads((ROOT / "docs/notebook.ipynb").read_text())["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "notebook", "exec"), names)
            shown = "".join(
                "".join(out["text"])
                for out in cell["outputs"]
                if out["output_type"] == "stream" and out["name"] == "stdout"
            )
            printed = capsys.readouterr().out
            if "evaluate" not in "".join(cell["source"]):  # episodes may end otherwise on another processor
                assert printed == shown
            else:
                assert len(printed.splitlines()) == len(shown.splitlines()) == 2
