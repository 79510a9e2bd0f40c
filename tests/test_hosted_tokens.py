"""Token policies in a world that is stepped from Python: made by the program, evaluated as cells of a study."""

import dataclasses
import importlib.util

import jax
import numpy as np
import pandas as pd
import pytest
from flax import nnx

from rtc.bench import answers, policies_report
from rtc.control.controller import ExecutionConfig
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.policies.tokens import checkpoints
from rtc.policies.tokens.policy import TokenModelConfig
from rtc.policies.tokens.sequence import SequenceModelConfig
from rtc.programs import compare_policies, train_tokens
from rtc.report.page import Section
from rtc.study import hosted_tokens, plan, runner, sequences, tokens
from rtc.study.arguments import StudyArguments
from rtc.study.evaluation import EvalConfig
from rtc.study.outcome import Outcome
from rtc.study.protocols import libero_policies
from rtc.study.sequences import SequenceDecoding
from rtc.study.study import Arm, Study
from rtc.study.tokens import Decoding
from rtc.training import gym_demonstrations
from rtc.training import tokens as tokens_training
from rtc.training.fast import EncodingConfig
from rtc.training.gym_demonstrations import RecordingConfig
from rtc.training.trainer import FitConfig
from rtc.worlds.gym import tasks
from token_world import SMALL

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("tokenizers") is None, reason="FAST tokens are learned with pip install 'exp-delta[fast]'"
)
PENDULUM = "gym:Pendulum-v1"
SIZES = {"dim": 8, "depth": 1, "num_heads": 2, "obs_hidden_dim": 8, "simulated_delay": 2}
MODELS = {
    "blocks": TokenModelConfig(blocks=(1, 1, 2), **SIZES),
    "draft": TokenModelConfig(blocks=(1, 1), **SIZES),
}
TINY = FitConfig(num_epochs=1, batch_size=32, warmup_steps=1)
EXACT = Decoding("blocks", speculative=True)


@pytest.fixture(scope="module", autouse=True)
def short_episodes():
    """Episodes of Pendulum end after 40 ticks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "TASKS", {"Pendulum-v1": dataclasses.replace(tasks.TASKS["Pendulum-v1"], max_ticks=40)})
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory, short_episodes):
    """A run with all that RSD and FAST need for Pendulum, made by the program."""
    folder = tmp_path_factory.mktemp("tokens")
    path = folder / "experts" / "data" / "worlds_l_Pendulum-v1.npz"
    path.parent.mkdir(parents=True)
    gym_demonstrations.recorded(path, tasks.find("Pendulum-v1"), RecordingConfig(num_transitions=400), resume=True)
    args = train_tokens.Arguments(
        models=("blocks", "draft", "fast"),
        data_run=folder / "experts",
        run_path=folder / "run",
        action_chunk_size=4,
        tokenizer=TINY,
        encoding=EncodingConfig(vocabulary=64),
        policy=TINY,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokens, "MODELS", MODELS)
        small = dataclasses.replace(SMALL, action_dim=1)
        patch.setattr(train_tokens, "TokenizerConfig", lambda **sizes: dataclasses.replace(small, **sizes))
        patch.setattr(train_tokens, "SequenceModelConfig", lambda: SequenceModelConfig(**SIZES))
        # Training and RSD's tables are tested elsewhere; here the networks stay as they are drawn.
        for name in ("tokenizer_section", "policies_section"):
            patch.setattr(train_tokens.token_training, name, lambda *given: Section("", []))
        facts = {"seconds": 0.0, "accuracy": 0.5}
        patch.setattr(tokens_training.trainer, "fit", lambda model, *given, **options: (model, facts))
        train_tokens.train(args)
    return folder / "run"


def config_of(**changes):
    usual = {
        "num_evals": 1,
        "estimator": EstimatorConfig(initial=1),
        "execution": ExecutionConfig(execute_horizon=4),
    }
    return EvalConfig(**usual | changes)


def test_the_program_notes_what_was_trained(run):
    text = (run / "README.md").read_text()
    assert "Token policies: Pendulum-v1" in text
    assert "tokens of a chunk, mean" in text
    facts = checkpoints.facts(sequences.policy_path(run, "Pendulum-v1"))
    assert facts["level"] == "Pendulum-v1"
    assert facts["data_transitions"] == 400
    assert facts["entries"] == [0, 1, 2]
    assert checkpoints.load_tokenizer(tokens.tokenizer_path(run)).config.action_dim == 1
    with pytest.raises(ValueError, match="models entry='blocs' is unknown; did you mean 'blocks'"):
        train_tokens.Arguments(models=("blocs",))


def test_speculation_is_noted_query_by_query(run):
    subject = hosted_tokens.load(str(run), EXACT, PENDULUM)
    found = subject.evaluate(config_of(), 0)
    row, queries = found.summary.row, int(found.summary.episodes["num_queries"].sum())
    shares = {int(name.removeprefix("passes_")): row[name] for name in row if name.startswith("passes_")}
    assert sum(shares.values()) == pytest.approx(1)
    # Every layer with a draft is verified once in every query (4 tokens of one code each here, so one per layer).
    assert row["proposed_0"] == row["proposed_1"] == queries
    assert 0 <= row["accepted_0"] <= queries
    # A query takes a pass for each of its three blocks, less one for every drafted block that stood.
    spent = sum(count * share for count, share in shares.items()) * queries
    assert spent == pytest.approx(3 * queries - row["accepted_0"] - row["accepted_1"])
    assert "invalid_sequences" not in row
    again = subject.rollout(config_of(), seed=0, episodes=np.array([0]))
    np.testing.assert_array_equal(again.actions, found.records.actions)


def test_passes_are_the_delay_and_invalid_sequences_are_counted(run):
    own = SequenceDecoding(pass_ticks=0.5, overhead_ticks=0.25)
    subject = hosted_tokens.load(str(run), own, PENDULUM)
    found = subject.evaluate(config_of(execution=ExecutionConfig(execute_horizon=1)), 0)
    launched = found.records.delay >= 0
    passes, delay = found.records.steps[launched], found.records.delay[launched]
    np.testing.assert_array_equal(delay, np.ceil(0.25 + 0.5 * passes - 1e-4))
    assert len(np.unique(passes)) > 1
    assert passes.max() <= 4
    row = found.summary.row
    assert 0 < row["invalid_sequences"] < len(passes)
    assert "proposed_0" not in row


def test_what_has_no_effect_or_does_not_fit_is_refused(run, monkeypatch):
    subject = hosted_tokens.load(str(run), SequenceDecoding(), PENDULUM)
    with pytest.raises(ValueError, match=r"start_noise=0\.1 has no effect in gym:Pendulum-v1"):
        subject.check(config_of(start_noise=0.1))
    with pytest.raises(ValueError, match="num_flow_steps has no effect on a policy that decodes tokens"):
        subject.check(config_of(num_flow_steps=3))
    timed = hosted_tokens.load(str(run), SequenceDecoding(pass_ticks=1.0), PENDULUM)
    with pytest.raises(ValueError, match="delay_profile has no effect on queries that take their own passes"):
        timed.check(config_of(delay_profile=DelayProfileConfig(fixed_delay=1)))
    with pytest.raises(ValueError, match="overhead_ticks has no effect without pass_ticks"):
        SequenceDecoding(overhead_ticks=1.0)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        hosted_tokens.load(str(run), Decoding("parallel"), PENDULUM)
    monkeypatch.setattr(tasks, "TASKS", {"Pendulum-v1": dataclasses.replace(tasks.TASKS["Pendulum-v1"], tolerance=0.3)})
    hosted_tokens.load.cache_clear()
    with pytest.raises(ValueError, match="was trained on level 'Pendulum-v1' with content"):
        hosted_tokens.load(str(run), SequenceDecoding(), PENDULUM)
    hosted_tokens.load.cache_clear()


def test_identity_is_that_of_decoding_world_and_family(run):
    config = config_of()
    of = {
        name: hosted_tokens.load(str(run), decoding, PENDULUM).inputs(config, 0)
        for name, decoding in (
            ("exact", EXACT),
            ("fast", SequenceDecoding()),
            ("fast_greedy", SequenceDecoding("greedy")),
        )
    }
    assert of["fast"]["code"] == of["fast_greedy"]["code"] != of["exact"]["code"]
    assert of["fast"]["config"]["decoding"] == {}
    assert of["fast_greedy"]["config"]["decoding"] == {"rule": "greedy"}
    assert of["fast"]["checkpoint_sha256"] != of["exact"]["checkpoint_sha256"]


def test_a_study_asks_for_them_and_a_page_shows_what_they_cost(run, tmp_path):
    arms = (Arm("no_delay", "fast", config_of(), run_path=str(run), decoding=SequenceDecoding()),)
    study = Study(
        name="study_tokens",
        title="Tokens",
        title_zh="t",
        question="",
        question_zh="",
        arms=arms,
        comparisons=(),
        levels=(PENDULUM,),
        num_evals=1,
        about={"fast": "drawn tokens"},
        figures=(),
    )
    args = StudyArguments(output_root=str(tmp_path), preview=False).of(study)
    runner.run(study, args)
    assert runner.check(study, args).startswith("0 of 1 cells")
    planned = plan.planned(study, args, arms[0], PENDULUM, 0)
    cell = planned.read()
    outcome = Outcome.read(study, args, required=None)
    measured = answers.measure({"fast": (planned.subject, planned.config)}, np.zeros((3, 3), np.float32), 4)
    assert measured["fast"].milliseconds.shape == (4,)
    agent = planned.subject.agent
    sizes = sum(leaf.size for part in (agent.main, agent.tokenizer) for leaf in jax.tree.leaves(nnx.state(part)))
    assert measured["fast"].parameters == sizes + 1  # and the mask of the actions
    policies_report.write(outcome, measured, tmp_path, "An introduction.", 0.0)
    (row,) = pd.read_csv(tmp_path / "table.csv").to_dict("records")
    queries = int(cell.episodes["num_queries"].sum())
    assert row["invalid (%)"] == pytest.approx(100 * cell.result["invalid_sequences"] / queries, abs=0.06)
    assert row["passes per query"] == pytest.approx(cell.result["mean_flow_steps"], abs=0.01)
    assert row["episodes"] == 1
    assert "An introduction." in (tmp_path / "summary.md").read_text()
    assert (tmp_path / "figures" / "iso_latency.png").exists()


def test_a_protocol_compares_them_on_all_tasks():
    study = libero_policies.study(libero_policies.Protocol())
    assert len(study.levels) == 10
    assert {one.method for one in study.arms} == study.about.keys()
    assert {one.run_path for one in study.arms if one.decoding is not None} == {"logs-bc/libero/tokens"}
    with pytest.raises(ValueError, match="leave nothing to do"):
        compare_policies.Arguments(cells_only=True, report_only=True)
