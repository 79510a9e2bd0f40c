"""The table of shipped policies and the learning curves."""

import pytest
from flax import nnx

from model import FlowPolicy
from rtc.policies import checkpoints, weights
from rtc.programs import report_training
from rtc.report import training as training_report
from rtc.report.training import Shipped
from rtc.study.statistics import wilson
from stubs import TINY

SLUG = "worlds_l_grasp_easy"
EXPERT = {"seed": 3, "solve_rate": 0.97, "update": 9, "env_steps": 1_500_000, "seconds": 40.0}
FACTS = {
    "data_experts": {"a": EXPERT, "b": {**EXPERT, "solve_rate": 0.8}},
    "data_masked_experts": {"c": {**EXPERT, "solve_rate": 0.5}},
    "data_transitions": 1000,
    "data_solve_rate": 0.9,
    "loss": 0.5,
    "seconds": 60.0,
    "git_commit": "0123456789abcdef",
}


@pytest.fixture
def root(tmp_path):
    """logs-bc/ with one run of two epochs, and the experts' run."""
    policy = FlowPolicy(obs_dim=679, action_dim=6, config=TINY, rngs=nnx.Rngs(0))
    for epoch in (2, 10):
        checkpoints.save_policy(tmp_path / f"logs-bc/tiny/{epoch}/policies/{SLUG}", policy, FACTS)
    rows = "epoch,loss\n0,0.9\n1,0.6\n"
    for path, text in (
        (tmp_path / f"logs-bc/tiny/stats/{SLUG}.csv", rows),
        (tmp_path / f"experts/stats/{SLUG}_seed_3.csv", "env_steps,solve_rate\n1000000,0.5\n2000000,0.9\n"),
        (tmp_path / f"experts/stats/{SLUG}_seed_4.csv", "env_steps,solve_rate\n1000000,0.0\n"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    weights.write_json(tmp_path / f"experts/9/policies/{SLUG}_seed_3.json", {})
    return tmp_path


def test_every_checkpoint_is_found_in_the_order_of_epochs(root):
    found = list(training_report.shipped(root / "logs-bc", ["grasp_easy", "catapult"]))
    assert found == [Shipped(root / "logs-bc/tiny", epoch, "grasp_easy") for epoch in (2, 10)]


def test_a_row_names_used_and_masked_experts(root):
    row = training_report.row(Shipped(root / "logs-bc/tiny", 2, "grasp_easy"), wilson(9, 10))
    assert row["solved (%)"].startswith("90.0 [")
    assert (row["experts solved (%)"], row["masked (%)"]) == ("97.0, 80.0", "50.0")
    assert (row["expert steps (M)"], row["expert time (s)"], row["commit"]) == ("1.5, 1.5", 80, "0123456789")


def test_a_policy_without_experts_and_learning_curves_is_reported_too(root):
    policy = FlowPolicy(obs_dim=679, action_dim=6, config=TINY, rngs=nnx.Rngs(0))
    own = {name: value for name, value in FACTS.items() if name != "data_masked_experts"} | {"data_experts": {}}
    checkpoints.save_policy(root / f"logs-bc/tiny_vlash/8/policies/{SLUG}", policy, own)
    rates = {one: wilson(9, 10) for one in training_report.shipped(root / "logs-bc", ["grasp_easy"])}
    row = training_report.row(Shipped(root / "logs-bc/tiny_vlash", 8, "grasp_easy"), wilson(9, 10))
    assert [row[name] for name in ("experts solved (%)", "masked (%)", "expert steps (M)")] == ["-"] * 3
    training_report.write(rates, root / "logs-bc", root / "experts", ["grasp_easy"], 10, 0.0)
    assert "tiny_vlash, epoch 8" in (root / "logs-bc/README.md").read_text()


def test_the_report_from_start_to_end(root, capsys):
    args = report_training.Arguments(
        levels=("grasp_easy",),
        num_evals=4,
        root=root / "logs-bc",
        expert_run=root / "experts",
        cells=root / "cells",
    )
    report_training.run(args)
    text = (root / "logs-bc/README.md").read_text()
    assert text.index("tiny, epoch 2") < text.index("tiny, epoch 10")
    assert "4 episodes" in text
    for name in ("cloning_curves.png", "expert_curves.png"):
        assert name in text
        assert (root / "logs-bc/figures" / name).stat().st_size > 5_000
    assert capsys.readouterr().out.count(": solved ") == 2
    report_training.run(args)
    assert ": solved " not in capsys.readouterr().out
