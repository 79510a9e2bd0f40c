"""Tasks with two right answers, on tabletops without physics: no LIBERO needed."""

import dataclasses
import types

import numpy as np
import pandas as pd
import pytest

from libero_kinematic import choice_environment
from rtc import worlds
from rtc.control.metrics import Summary
from rtc.policies.mixer import ModelConfig
from rtc.programs import libero_demonstrations, several_answers, train_libero
from rtc.programs import study as program
from rtc.report import modes as shown
from rtc.shared.paths import ROOT
from rtc.study import archive, hosted, modes, plan
from rtc.study.arguments import StudyArguments
from rtc.study.evaluation import Evaluation
from rtc.study.outcome import Outcome
from rtc.study.protocols import several_answers as protocol
from rtc.training import libero_demonstrations as recorded
from rtc.training.cloning import CloningConfig
from rtc.training.libero_demonstrations import RecordingConfig
from rtc.worlds import modes as measures
from rtc.worlds.libero import choice, choice_worlds
from rtc.worlds.libero.choice_expert import ChoiceExpert
from rtc.worlds.modes import ANSWER, FIRST, NONE, PLACE, SWITCHES

SMALL = ModelConfig(8, 8, 4, num_layers=1, action_chunk_size=8)
WORLDS = ("libero_choice:two_bowls", "libero_choice:two_plates")
ANSWERS = np.array([[0.0, 2.0], [0.0, -2.0]])


# --- measures -----------------------------------------------------------------------------------------------------


def test_places_are_measured_along_the_line_through_the_answers():
    for point, place in (([0, 2], -1), ([5, 2], -1), ([0, -2], 1), ([-3, 0], 0), ([0, -4], 2)):
        assert measures.place(np.array(point, float), ANSWERS) == place


@pytest.mark.parametrize(
    ("at", "command", "answer"),
    [
        (0.0, (0.0, 0.6), 0),
        (0.4, (1.0, -0.6), 1),
        (0.0, (1.0, 0.4), NONE),  # not firm
        (0.41, (0.0, 1.0), NONE),  # no longer in the middle
        (-0.41, (0.0, 1.0), NONE),
    ],
)
def test_a_firm_command_in_the_middle_leads_to_an_answer(at, command, answer):
    assert measures.heading(at, np.array(command), ANSWERS) == answer


def test_changes_of_mind_are_counted_between_firm_commands():
    found = measures.noted([NONE, 1, 1, NONE, 0, NONE, 0, 1], 1, 0.9)
    assert found == {ANSWER: 1, FIRST: 1, SWITCHES: 2, PLACE: 0.9}
    assert measures.noted([NONE, NONE], NONE, 0.1)[FIRST] == NONE
    assert measures.noted([], NONE, 0.1)[SWITCHES] == 0


def test_a_cell_sums_up_its_episodes():
    columns = {ANSWER: np.array([1.0, 1, 0, NONE]), SWITCHES: np.array([0.0, 3.0, 0.0, 1.0])}
    found = measures.summary(columns)
    assert found == {measures.SECOND: pytest.approx(2 / 3), measures.MEAN_SWITCHES: 1.0, measures.SWITCHED: 0.5}
    assert np.isnan(measures.summary({ANSWER: np.array([float(NONE)]), SWITCHES: np.zeros(1)})[measures.SECOND])


def test_what_an_environment_noted_joins_the_episodes_of_a_cell():
    frame = pd.DataFrame({"episode": [1, 0]})
    found = Evaluation(Summary({}, frame, {}), None, 0.0, 1.0)

    environment = types.SimpleNamespace(notes=[measures.noted([1], NONE, np.nan), measures.noted([0, 1], 1, 0.8)])
    assert modes.noted(found, environment) is found
    assert frame[ANSWER].tolist() == [1, NONE]
    assert frame[SWITCHES].tolist() == [1, 0]
    assert found.summary.row[measures.SECOND] == 1.0
    plain = Evaluation(Summary({}, pd.DataFrame({"episode": [0]}), {}), None, 0.0, 1.0)
    assert list(modes.noted(plain, object()).summary.episodes) == ["episode"]


# --- tasks --------------------------------------------------------------------------------------------------------


def test_both_answers_are_observed_alike_and_nothing_tells_which_is_taken():
    environment, expert = choice_environment(), ChoiceExpert(0)
    seen = environment.reset(3)
    assert seen.shape == (choice.STATE_DIM + 2,) == (environment.observation_dim,)
    first, second = environment.scene().answers
    hand, block = 12, 15
    np.testing.assert_allclose(seen[hand : hand + block], first.vector()[hand : hand + block], atol=1e-6)
    np.testing.assert_allclose(seen[hand + block : hand + 2 * block], second.vector()[hand : hand + block], atol=1e-6)
    np.testing.assert_array_equal(seen[-2:], [1, 0])
    expert.reset()
    before = expert.answer
    while expert.answer == before:
        expert.reset()
    np.testing.assert_array_equal(environment.reset(3), seen)


def test_of_every_two_episodes_the_expert_takes_each_answer_once():
    expert = ChoiceExpert((0, 1))
    drawn = []
    for _ in range(40):
        expert.reset()
        drawn.append(expert.answer)
    assert {tuple(sorted(drawn[i : i + 2])) for i in range(0, 40, 2)} == {(0, 1)}
    assert {tuple(drawn[i : i + 2]) for i in range(0, 40, 2)} == {(0, 1), (1, 0)}


@pytest.mark.parametrize("task", [0, 1])
@pytest.mark.parametrize("answer", [0, 1])
def test_either_answer_counts_and_is_noted(task, answer):
    environment, expert = choice_environment(task), ChoiceExpert(0)
    expert.reset()
    while expert.answer != answer:
        expert.reset()
    environment.begin_episode(7)
    environment.reset(1)
    while not (step := environment.step(expert.act(environment.scene()))).terminated:
        assert not step.truncated
    found = environment.notes[7]
    assert step.solved
    assert (found[ANSWER], found[FIRST], found[SWITCHES]) == (answer, answer, 0)
    assert found[PLACE] == pytest.approx((-1, 1)[answer], abs=0.25)


def test_a_hand_that_changes_its_mind_is_noted():
    environment = choice_environment()
    environment.begin_episode(0)
    environment.reset(0)
    for y in (1, 1, -1, -1, -1, 1):
        environment.step(np.array([0.0, y, 0, 0, 0, 0, -1]))
    assert environment.notes[0][SWITCHES] == 2
    assert environment.notes[0][ANSWER] == NONE


# --- worlds -------------------------------------------------------------------------------------------------------


def test_the_tasks_are_worlds_that_share_a_policy(monkeypatch, tmp_path):
    bowls, plates = map(worlds.load, WORLDS)
    assert (bowls.name, bowls.home.name, plates.home) == ("two_bowls", "libero_choice", bowls.home)
    assert (bowls.observation_dim, bowls.num_starts, worlds.is_hosted(WORLDS[0])) == (47, None, True)
    assert list(np.flatnonzero(bowls.robot)) == [*range(12), 42, 43, 44]
    with pytest.raises(ValueError, match="one environment at a time and has no batched one"):
        worlds.make_env(bowls)
    with pytest.raises(ValueError, match="did you mean 'two_bowls'"):
        worlds.load("libero_choice:two_bowl")
    before = bowls.sha256, choice_worlds.ChoiceSuite().sha256
    (tmp_path / "two_bowls.bddl").write_text(bowls.path)
    (tmp_path / "two_plates.bddl").write_bytes((choice.FOLDER / "two_plates.bddl").read_bytes())
    monkeypatch.setattr(choice, "FOLDER", tmp_path)
    assert bowls.sha256 != before[0]
    assert choice_worlds.ChoiceSuite().sha256 != before[1]


def test_networks_read_centred_and_scaled_numbers():
    plain, scaled = choice_environment(), choice_worlds.ScaledChoice(choice_environment())
    raw, seen = plain.reset(4), scaled.reset(4)
    np.testing.assert_allclose(seen[:-2] * choice.SCALE + choice.CENTRE, raw[:-2], atol=1e-6)
    np.testing.assert_array_equal(seen[-2:], raw[-2:])
    assert scaled.notes is scaled.inside.notes


# --- a study ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with a policy for both tasks, trained for a moment by the program, on tabletops without physics."""
    folder = tmp_path_factory.mktemp("choice")

    def record_here(tasks, args):
        for task in tasks:
            libero_demonstrations.record(task, args.config, args.folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(libero_demonstrations.setup_check, "require", lambda images: None)
        patch.setattr(recorded.choice, "opened", choice_environment)
        patch.setattr(libero_demonstrations, "_record_all", record_here)
        tiny = {"num_epochs": 1, "save_every": 1, "batch_size": 64, "parts": 1, "warmup_steps": 1}
        config = CloningConfig(run_path=folder / "experts", model=SMALL, **tiny)
        args = train_libero.Arguments(RecordingConfig("libero_choice", episodes=2), config, folder / "h8")
        assert train_libero.train(args).name == "worlds_l_libero_choice"
    return folder / "h8"


def test_demonstrations_take_both_answers(run):
    data = recorded.load(recorded.path_of(run.parent / "experts", 0))
    ends = np.flatnonzero(data.solved)
    over_plate = np.linalg.norm(data.obs[ends][:, [[18, 19], [33, 34]]], axis=2)  # plate − bowl, of either answer
    assert sorted(over_plate.argmin(axis=1)) == [0, 1]


@pytest.fixture
def tabletops(monkeypatch):
    monkeypatch.setattr(
        choice_worlds, "open_env", lambda level: choice_worlds.ScaledChoice(choice_environment(level.task))
    )
    monkeypatch.setattr(choice, "SUITE", dataclasses.replace(choice.SUITE, max_steps=12))
    hosted._OPEN.clear()
    yield
    hosted._OPEN.clear()


def test_a_study_says_which_answers_episodes_took(run, tabletops, tmp_path):
    full = protocol.study(protocol.PLACES["libero"], str(run.parent))
    arms = tuple(one for one in full.arms if one.key in {("delay_0", "naive"), ("delay_2", "naive")})
    study = dataclasses.replace(full, arms=arms, comparisons=(), num_evals=2, levels=WORLDS)
    args = StudyArguments(output_root=str(tmp_path / "out"))
    program.run(study, args)
    text = (tmp_path / "out" / "summary.md").read_text()
    assert "## Which answer" in text
    assert (tmp_path / "out" / "figures" / "modes.png").is_file()
    assert (tmp_path / "out" / "figures" / "modes_delay_2.png").is_file()
    outcome = Outcome.read(study, args.of(study))
    table = shown.table(outcome, [one.key for one in arms])
    assert table["answer 0 / 1 / none"].tolist() == ["0 / 0 / 2"] * 4  # a policy that learned for a moment
    kept = archive.read(tmp_path / "out").cells
    assert all(measures.PLACE in cell.episodes for cell in kept.values())


@pytest.mark.parametrize("method", ["naive", "l1"])
def test_cells_of_the_archive_count_where_their_policy_is_not_there(method):
    study = protocol.study(protocol.PLACES["libero"], "nowhere")
    args = StudyArguments(output_root=str(ROOT / "exp_runs/study_several_answers")).of(study)
    cell, _ = plan.finished(study, args, study.arm(("delay_0", method)), WORLDS[0], 0)
    assert (cell.cell.method, len(cell.episodes)) == (method, 50)
    assert ("num_flow_steps" in cell.inputs["config"]) == (method == "naive")


def test_the_protocol_has_every_kind_and_every_way_to_join():
    study = protocol.study(protocol.PLACES["libero"])
    assert len(study.arms) == 5 + 3 * 4
    assert {one.config.execution.execute_horizon for one in study.arms} == {4}
    assert study.levels == WORLDS
    assert study.arm(("delay_4", "trained_prefix")).run_path == "logs-bc/choice/h8_prefix"
    some = protocol.study(protocol.PLACES["libero"], kinds=("l1", "rsd"))
    assert some.methods == ["l1", "rsd_drawn", "rsd_greedy"]
    assert some.comparisons == ()
    part = protocol.study(protocol.PLACES["libero"], kinds=("flow", "l1", "rsd"))
    assert (len(part.arms), set(part.arms) < set(study.arms)) == (3 + 3 * 4, True)
    with pytest.raises(ValueError, match="did you mean 'fast'"):
        protocol.study(protocol.PLACES["libero"], kinds=("fasst",))
    with pytest.raises(ValueError, match="run_path='x' has no effect here: give policies"):
        several_answers.Arguments(run_path="x")
