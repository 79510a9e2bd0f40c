"""Demonstrations of LIBERO on state observations: labels, noise, files, resuming. No LIBERO needed."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import tyro

from libero_kinematic import environment
from rtc.programs import bench_libero, libero_demonstrations
from rtc.training import libero_demonstrations as demonstrations
from rtc.training.libero_demonstrations import RecordingConfig
from rtc.worlds.libero.expert import BowlExpert


def recorded(**changes):
    config = RecordingConfig(**{"episodes": 3, "noise": 0.1, "push_ticks": 8} | changes)
    return config, demonstrations.record(environment(), BowlExpert(), 3, config)


def test_labels_are_the_experts_and_executed_actions_have_noise():
    config, data = recorded()
    assert data.num_solved == 3 == data.done.sum()
    np.testing.assert_array_equal(np.flatnonzero(data.done) - np.flatnonzero(data.solved), config.after_ticks)
    assert (data.obs.dtype, data.action.dtype, data.executed.dtype) == (np.float32, np.float16, np.float16)
    assert data.ticks == len(data.obs) - 3 * config.after_ticks
    ends = np.flatnonzero(data.done)
    np.testing.assert_array_equal(np.diff(data.episode, append=3), data.done)
    # Played again, executed actions lead through the same states, and the expert says the same in them.
    env, expert = environment(), BowlExpert()
    env.reset(int(data.seed[1]))
    for tick in range(ends[0] + 1, ends[1] + 1):
        np.testing.assert_array_equal(env.scene().vector().astype(np.float32), data.obs[tick])
        np.testing.assert_array_equal(expert.act(env.scene()).astype(np.float16), data.action[tick])
        env.step(data.executed[tick].astype(float))
    assert data.seed[1] == demonstrations.episode_seed(config, 3, 1)
    assert len(set(data.seed)) == 3
    assert np.abs(data.executed[:, :6].astype(float) - data.action[:, :6]).max() > 0.05
    np.testing.assert_array_equal(data.executed[:, 6], data.action[:, 6])


def test_without_noise_what_the_expert_wants_is_executed():
    _, data = recorded(noise=0.0, push_ticks=0, episodes=1)
    np.testing.assert_array_equal(data.executed, data.action)


def test_a_file_gives_back_what_was_recorded(tmp_path):
    config, data = recorded()
    path = demonstrations.path_of(tmp_path, 3)
    assert demonstrations.recorded(path, config) is None
    demonstrations.save(path, data)
    found = demonstrations.recorded(path, config)
    for name in demonstrations.StateDemonstrations._fields[:-1]:
        np.testing.assert_array_equal(getattr(found, name), getattr(data, name))
    assert found.facts["config"] == dataclasses.asdict(config)
    with pytest.raises(ValueError, match=r"recorded otherwise \(noise = 0\.1, not 0\.2\).*--no-resume"):
        demonstrations.recorded(path, dataclasses.replace(config, noise=0.2))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="is no file of demonstrations"):
        demonstrations.load(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"episodes": 0}, "episodes=0 must be an integer, at least 1"),
        ({"noise": 2.0}, "noise=2.0 must be a finite number"),
        ({"suite": "libero"}, "suite='libero' is unknown"),
    ],
)
def test_settings_of_a_recording_are_checked(changes, message):
    with pytest.raises(ValueError, match=message):
        RecordingConfig(**changes)


@pytest.fixture
def program(monkeypatch):
    """The program on kinematic worlds, in this process; returns the tasks that it records."""
    opened = []

    def open_kinematic(task, suite):
        opened.append(task)
        return environment(task=task)

    def record_all(tasks, args):
        for task in tasks:
            libero_demonstrations.record(task, args.config, args.folder)

    monkeypatch.setattr(demonstrations.state, "opened", open_kinematic)
    monkeypatch.setattr(libero_demonstrations, "_record_all", record_all)
    monkeypatch.setattr(libero_demonstrations.setup_check, "require", lambda images: None)
    return opened


def test_a_recording_goes_on_where_it_was(program, tmp_path, capsys):
    flags = ["--folder", str(tmp_path), "--config.episodes", "2", "--tasks"]
    libero_demonstrations.main([*flags, "1", "2"])
    assert program == [1, 2]
    first = (tmp_path / "task_01.npz").read_bytes()
    libero_demonstrations.main([*flags, "0", "1", "2"])
    assert program == [1, 2, 0]
    assert (tmp_path / "task_01.npz").read_bytes() == first
    printed = capsys.readouterr().out
    assert "| all  |        6 |      6 |" in printed
    assert printed.splitlines()[-1] == f"open first: {tmp_path / 'task_00.npz'}"
    with pytest.raises(SystemExit, match="recorded otherwise"):
        libero_demonstrations.main(["--folder", str(tmp_path), "--config.episodes", "3", "--tasks", "1"])
    libero_demonstrations.main([*flags, "1", "--no-resume"])
    assert program == [1, 2, 0, 1]
    libero_demonstrations.main(["--folder", str(tmp_path), "--config.episodes", "3", "--tasks", "1", "--no-resume"])
    assert len(demonstrations.load(tmp_path / "task_01.npz").seed) == 3


def test_the_table_counts_episodes(tmp_path):
    _, data = recorded()
    failed = data.solved.copy()
    failed[np.flatnonzero(data.solved)[0]] = False
    sized = [one._replace(facts=one.facts | {"bytes": 5e5}) for one in (data, data._replace(solved=failed, task=4))]
    found = libero_demonstrations.table(sized)
    assert isinstance(found, pd.DataFrame)
    assert list(found["task"]) == ["3", "4", "all"]
    assert list(found["solved"]) == [3, 2, 5]
    assert list(found["size (MB)"]) == [0.5, 0.5, 1.0]
    # Wilson (1927) for 3 of 3, worked out by hand: n / (n + z²).
    assert found["solved (%)"][0] == f"100.0 [{100 * 3 / 6.841459:.1f}, 100.0]"


def test_programs_check_their_arguments():
    with pytest.raises(ValueError, match="tasks entry=10 must be an integer, between 0 and 9"):
        libero_demonstrations.Arguments(tasks=(10,))
    with pytest.raises(ValueError, match="processes=0 must be an integer, at least 1"):
        libero_demonstrations.Arguments(processes=0)
    with pytest.raises(ValueError, match="task=10 must be an integer, between 0 and 9"):
        bench_libero.Arguments(task=10)
    for program in (libero_demonstrations, bench_libero):
        lines = [line.split()[2:] for line in program.__doc__.splitlines() if line.startswith("python ")]
        assert [tyro.cli(program.Arguments, args=flags) for flags in lines]
