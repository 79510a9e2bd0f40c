"""`--plugin` of the programs."""

import pickle

import pytest

from rtc import methods
from rtc.programs import delay_sweep, eval_flow, measure_latency, plugins, tail_baseline, tail_matrix, tail_summary
from rtc.programs import study as study_program
from rtc.study import runner
from rtc.study.arguments import StudyArguments

PLUGIN = """
from rtc import methods
from rtc.methods.naive import naive

methods.register("{name}", lambda noise_scale=1.0: naive(noise_scale))
"""


@pytest.fixture
def plugin(registered, tmp_path, request):
    """A file that registers a method of this test's name."""
    name = request.node.name.rstrip("]").replace("[", "-")
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN.format(name=name))
    return path, name


def test_a_flag_may_name_a_method_of_the_plugin(plugin, monkeypatch):
    path, name = plugin
    started = []
    monkeypatch.setattr(eval_flow, "run", started.append)
    flags = ["--run-path", "run", "--config.method", name]
    with pytest.raises(SystemExit):
        eval_flow.main(flags)
    eval_flow.main([*flags, "--plugin", str(path)])
    assert started[0].config.method == name
    assert started[0].plugin == (path,)


@pytest.mark.parametrize("program", [delay_sweep, tail_baseline, tail_matrix, tail_summary, measure_latency])
def test_programs_whose_cells_may_have_it_take_the_flag(plugin, monkeypatch, program):
    path, name = plugin
    started = []
    monkeypatch.setattr(program, "run", started.append)
    named = [] if program is tail_baseline else ["--methods", "naive", "realtime", name]
    program.main([*named, "--plugin", str(path)])
    assert started[0].plugin == (path,)
    assert name in methods.METHODS


def test_a_job_loads_the_plugin_before_its_cells(plugin, monkeypatch):
    path, name = plugin
    known = []
    monkeypatch.setattr(runner.planning, "cells", lambda study, args, arms: [])
    monkeypatch.setattr(runner, "run_cells", lambda planned, overwrite: known.append(name in methods.METHODS))
    # As it comes to a job.
    args = pickle.loads(pickle.dumps(StudyArguments(levels=("grasp_easy",), plugin=(path,))))
    runner.run_arms(None, args, "grasp_easy", ())
    assert known == [True]


@pytest.mark.parametrize("program", [["--run-path", "run"], ["methods"]])
def test_a_file_that_is_not_there_is_an_error_of_one_line(tmp_path, program):
    main = eval_flow.main if program[0].startswith("-") else study_program.main
    with pytest.raises(SystemExit, match=r"^error: plugin='.*nothing\.py' is no file"):
        main([*program, "--plugin", str(tmp_path / "nothing.py")])


def test_without_the_flag_nothing_is_loaded(monkeypatch):
    monkeypatch.setattr(methods, "load_plugin", lambda path: pytest.fail(f"loaded {path}"))
    plugins.load(["--config.method", "naive"])
