"""The leaderboard: a method under the protocol, the check of its file, and the table."""

import json
from dataclasses import replace

import pytest
from flax import nnx

from model import FlowPolicy
from rtc.delay.estimators import EstimatorConfig
from rtc.policies import checkpoints
from rtc.programs import leaderboard_check, leaderboard_run, leaderboard_show
from rtc.programs import study as study_program
from rtc.report import leaderboard
from rtc.shared.paths import ROOT
from rtc.study import archive, entries
from rtc.study.cells import Cell
from still_level import still_levels
from stubs import TINY

PLUGIN = '''"""A method for the test."""

import jax
import jax.numpy as jnp
from dataclasses import dataclass

from rtc import methods


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Half(methods.FlowMethod):
    """Half of every chunk."""

    noise_scale: jax.Array

    def next_chunk(self, policy, query, num_steps):
        return 0.5 * self.plain_chunk(policy, query, num_steps)


def half(noise_scale: float = 1.0) -> Half:
    return Half(jnp.float32(noise_scale))


methods.register("half", half)
'''
STUDY = """
name = "study_toy"
title = "A toy protocol"
levels = ["grasp_easy"]
num_evals = 4
seeds = [0]

[profiles.no_delay]
[profiles.long_tail]

[defaults]
execution = {{ execute_horizon = 2 }}

[methods.naive]
run_path = "{run}"
"""


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A toy protocol and an entry for it, whose plugin is registered for this module alone."""
    from rtc.methods import registry

    before = dict(registry._ENTRIES)
    root = tmp_path_factory.mktemp("leaderboard")
    policy = FlowPolicy(obs_dim=679, action_dim=6, config=TINY, rngs=nnx.Rngs(0))
    checkpoints.save_policy(root / "run/1/policies/worlds_l_grasp_easy", policy, {})
    study, plugin, entry = root / "toy.toml", root / "half.py", root / "entry"
    study.write_text(STUDY.format(run=root / "run"))
    plugin.write_text(PLUGIN)
    common = ["--protocol", str(study), "--num-slots", "4"]
    with still_levels():
        leaderboard_run.main(["half", "--plugin", str(plugin), "--output-dir", str(entry), *common])
    yield root, study, entry
    registry._ENTRIES.clear()
    registry._ENTRIES.update(before)


def test_an_entry_passes_its_check_and_prints_its_row(places, capsys):
    _, study, entry = places
    assert {path.name for path in entry.iterdir()} >= {"entry.json", "episodes.parquet", "half.py"}
    assert entries.problems(entry) == []
    leaderboard_check.main([str(entry / "episodes.parquet")])
    shown = capsys.readouterr().out
    assert "is complete: 2 cells" in shown
    assert "| half" in shown
    assert entries.read(entry) == entries.Entry("half", protocol=str(study), plugin="half.py")


def changed(tmp_path, entry, change):
    """A copy of an entry whose cells were changed."""
    for name in ("entry.json", "half.py"):
        (tmp_path / name).write_bytes((entry / name).read_bytes())
    cells = dict(archive.read(entry).cells)
    archive.write(tmp_path, change(cells).values())
    return tmp_path


FIRST = Cell("no_delay", "half", 0, "grasp_easy")


def other(cells, **fields):
    return {**cells, FIRST: replace(cells[FIRST], **fields)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda cells: {cell: one for cell, one in cells.items() if cell != FIRST},
            "no_delay/half/seed_0.* is missing",
        ),
        (
            lambda cells: other(cells, episodes=cells[FIRST].episodes.iloc[:3]),
            "has 3 episodes, not those numbered 0 to 3",
        ),
        (lambda cells: other(cells, episodes=cells[FIRST].episodes.iloc[[0, 1, 1, 3]]), "not those numbered"),
        (
            lambda cells: other(cells, episodes=cells[FIRST].episodes.drop(columns="flow_evals")),
            "lacks the columns flow_e",
        ),
        (
            lambda cells: other(cells, episodes=cells[FIRST].episodes.assign(returned_episode_solved=1)),
            "its result says returned_episode_solved = ",
        ),
        (
            lambda cells: other(cells, result={**cells[FIRST].result, "flow_evals_per_tick": 0.5}),
            "its result says flow_evals_per_tick = 0.5",
        ),
        (
            lambda cells: other(cells, inputs={**cells[FIRST].inputs, "code": "0" * 64}),
            "run it again with this version",
        ),
        (lambda cells: other(cells, inputs={**cells[FIRST].inputs, "level_sha256": "0" * 64}), "level_sha256 = 0000"),
        (
            lambda cells: other(
                cells,
                inputs={
                    **cells[FIRST].inputs,
                    "config": {**cells[FIRST].inputs["config"], "execution": {"execute_horizon": 1}},
                },
            ),
            "config.execution.execute_horizon = 1, not 2",
        ),
    ],
    ids=["missing", "fewer", "twice", "column", "result", "cost", "code", "level", "horizon"],
)
def test_what_is_wrong_with_an_entry_is_named(places, tmp_path, change, message):
    folder = changed(tmp_path, places[2], change)
    assert any(__import__("re").search(message, text) for text in entries.problems(folder))
    with pytest.raises(SystemExit, match=message):
        leaderboard_check.main([str(folder)])


def test_cells_that_the_protocol_lacks_are_named(places, tmp_path):
    more = Cell("no_delay", "half", 7, "grasp_easy")
    folder = changed(tmp_path, places[2], lambda cells: {**cells, more: replace(cells[FIRST], cell=more)})
    assert [text for text in entries.problems(folder) if "seed_7" in text and "not part of the protocol" in text]


def test_something_else_is_no_entry(tmp_path):
    with pytest.raises(SystemExit, match=r"entry\.json is missing"):
        leaderboard_check.main([str(tmp_path)])
    (tmp_path / "entry.json").write_text(json.dumps({"method": "naive", "colour": "red"}))
    with pytest.raises(SystemExit, match="is no entry of the leaderboard"):
        leaderboard_check.main([str(tmp_path)])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"protocol": None}, "protocol=None must be a text"),
        ({"plugin": 3}, "plugin=3 must be a text"),
        ({"method": []}, r"method=\[\] must be a text"),
        ({"label": None}, "label=None must be a text"),
        ({"estimator": {"kind": "best"}}, "kind='best' is unknown"),
    ],
)
def test_values_of_an_entry_that_are_no_texts_are_named(tmp_path, given, said):
    (tmp_path / "entry.json").write_text(json.dumps({"method": "naive", "label": "mine", **given}))
    with pytest.raises(SystemExit, match=rf"entry\.json is no entry of the leaderboard \(.*{said}"):
        leaderboard_check.main([str(tmp_path)])


@pytest.fixture(scope="module")
def board(places, tmp_path_factory):
    """A folder with the protocol's outcomes, the entry, and entries that are not as the protocol wants them."""
    _root, study, entry = places
    root = tmp_path_factory.mktemp("board")
    with pytest.MonkeyPatch.context() as patch, still_levels():
        patch.chdir(root)
        study_program.main([str(study), "--num-slots", "4", "--no-preview"])
    folder = root / "exp_runs/leaderboard"
    for name in ("half", "half_again", "older", "other_plugin", "twice_registered", "unreadable"):
        (folder / name).mkdir(parents=True)
        for path in ("entry.json", "half.py", "episodes.parquet"):
            (folder / name / path).write_bytes((entry / path).read_bytes())
    cells = dict(archive.read(entry).cells)
    older = replace(cells[FIRST], inputs={**cells[FIRST].inputs, "code": "0" * 64})
    about = json.loads((entry / "entry.json").read_text())
    archive.write(folder / "older", {**cells, FIRST: older}.values())
    (folder / "older/entry.json").write_text(json.dumps(about))
    (folder / "twice_registered/half.py").write_text(PLUGIN + "# another\n")
    (folder / "other_plugin/half.py").write_text("raise RuntimeError('<b>no</b>')\n")
    (folder / "unreadable/entry.json").write_text("{")
    return root


def told(outcome):
    """The same, as if methods were told every delay."""
    arms = [replace(one, config=replace(one.config, estimator=EstimatorConfig("oracle"))) for one in outcome.study.arms]
    return replace(outcome, study=replace(outcome.study, arms=tuple(arms)))


def test_a_table_has_the_protocol_and_its_entries_and_names_those_left_out(places, board, monkeypatch):
    _root, study, _entry = places
    monkeypatch.chdir(board)
    found = leaderboard.read(board, str(study))
    table = leaderboard.table(found.outcomes)
    assert sorted(table["method"]) == ["half", "naive"]
    assert list(table.columns[:4]) == ["method", "mean under delay (%)", "no_delay", "long_tail"]
    assert set(table["sees"]) == {""}
    assert set(leaderboard.table([told(found.outcomes[0])])["sees"]) == {"every delay"}
    why = {name: " ".join(wrong) for name, wrong in found.left_out.items()}
    assert set(why) == {"half_again", "older", "other_plugin", "twice_registered", "unreadable"}
    assert "is that of half already" in why["half_again"]
    assert "run it again with this version" in why["older"]
    assert "cannot be loaded: RuntimeError" in why["other_plugin"]
    assert "half.py cannot be loaded: ValueError" in why["twice_registered"]
    assert "is no entry of the leaderboard" in why["unreadable"]
    leaderboard_show.main(["--protocol", str(study), "--output", "board.md"])
    page = (board / "board.md").read_text()
    assert "| half" in page
    assert "and 1 entries" in page
    assert all(f"| {name} " in page for name in why)


def test_a_table_of_which_no_method_is_complete_says_so(places, board, monkeypatch):
    _root, study, _entry = places
    monkeypatch.chdir(board)
    whole = leaderboard.read(board, str(study)).outcomes[0]
    part = replace(whole, cells={key: cells for key, cells in whole.cells.items() if key[1] == "no_delay"})
    monkeypatch.setattr(leaderboard, "read", lambda *_: leaderboard.Board([part]))
    assert "no method has met all profiles" in leaderboard.section(board, str(study))


@pytest.mark.parametrize("label", ["../../x", "a|b", "<b>", ".hidden", "two words"])
def test_labels_are_plain_words(label):
    with pytest.raises(ValueError, match=r"label=.* cannot name an entry"):
        entries.Entry("naive", label)


def test_entries_are_not_rows_of_the_protocol(places):
    study = str(places[1])
    with pytest.raises(ValueError, match="label='naive' is a row of study_toy"):
        entries.study(entries.Entry("naive", protocol=study))
    assert entries.study(entries.Entry("naive", "naive_again", study)).methods == ["naive_again"]


@pytest.mark.parametrize("protocol", ["training_seeds", "recipe", "tail_v1_controls"])
def test_what_a_protocol_shows_of_its_own_arms_is_no_part_of_an_entry(protocol):
    fixed = entries.study_files.read(protocol)
    shown = dict.fromkeys(("comparisons", "effects", "aggregates", "figures", "sections"), ())
    found = entries.study(entries.Entry("realtime", "mine", protocol))
    assert found.profiles == fixed.profiles
    assert {name: getattr(found, name) for name in shown} == shown
    assert (found.preview, found.baseline) == (None, None)


def test_protocols_of_other_simulators_are_refused():
    with pytest.raises(ValueError, match="protocol='gymnasium' cannot have entries"):
        entries.study(entries.Entry("realtime", "mine", "gymnasium"))


def test_without_outcomes_the_page_says_so(tmp_path):
    assert "are not in this checkout" in leaderboard.section(tmp_path)


def test_the_table_of_committed_outcomes_is_that_of_the_report():
    table = leaderboard.table(leaderboard.read(ROOT, "tail_v1_controls").outcomes)
    summary = (ROOT / "exp_runs/study_tail_v1_controls/summary.md").read_text()
    assert len(table) == 9
    for row in table.to_dict("records"):
        assert row["long_tail"] in summary
        assert row["no_delay"] in summary


def test_the_page_keeps_a_place_for_its_table():
    page = (ROOT / "docs/leaderboard.md").read_text()
    assert page.count(leaderboard.MARK) == 1
    assert "are not in this checkout" in leaderboard.within(page, ROOT / "no-such-place")
