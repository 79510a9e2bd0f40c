"""The page of the networks' errors."""

import pytest

from rtc.policies import networks
from rtc.policies.forward import ForwardModel
from rtc.policies.heads import CorrectionHead, HeadOnly
from rtc.programs import report_networks

HEAD = {"action_dim": 1, "config": {"widths": [4]}}
KINDS = {
    "forward": (ForwardModel, {"action_dim": 1, "config": {"width": 4}}),
    "correction": (CorrectionHead, HEAD),
    "head_only": (HeadOnly, {"action_dim": 1, "config": {"widths": [4], "reads_base": False}}),
}
ERRORS = [{"ticks": 1, "model": 0.25, "nothing": 0.5}, {"ticks": 2, "model": 0.375, "nothing": 0.75}]


def save(root, kind, level, **facts):
    cls, sizes = KINDS[kind]
    network = cls.of_sizes(sizes, [0, 2])
    networks.save(networks.place(root / "run", kind, f"worlds/l/{level}.json"), network, {"seconds": 3.0, **facts})


def test_every_network_has_its_row(tmp_path):
    save(tmp_path, "forward", "catapult", errors=ERRORS)
    save(tmp_path, "correction", "grasp_easy", held_out_loss=0.1, uncorrected_loss=0.4)
    save(tmp_path, "head_only", "grasp_easy", held_out_loss=0.2, uncorrected_loss=0.4)
    report_networks.run(report_networks.Arguments(("grasp_easy", "catapult"), tmp_path))
    lines = (tmp_path / "networks.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
    assert ["catapult", "0.250 / 0.500", "0.375 / 0.750", "3"] in rows
    assert ["grasp_easy", "0.4000", "0.1000", "0.2000", "0.25", "3+3"] in rows
    assert len(rows) == 6


def test_without_networks_it_says_so(tmp_path):
    with pytest.raises(FileNotFoundError, match="no networks in"):
        report_networks.run(report_networks.Arguments(root=tmp_path))
