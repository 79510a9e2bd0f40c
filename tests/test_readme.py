"""Both READMEs show the same commands, and the commands exist with these flags."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
import tyro

import eval_flow
import generate_data
import render_levels
import train_expert
import train_flow
import train_networks
from rtc.programs import (
    advise,
    bench_libero,
    bench_networks,
    bench_physics,
    bench_rsd,
    bench_tail_v1,
    check_physics,
    check_statistics,
    compare_groups,
    compare_policies,
    console,
    delay_sweep,
    libero_demonstrations,
    measure_spread,
    read_log,
    record_episodes,
    report_networks,
    report_training,
    route_demonstrations,
    rsd,
    run_rsd_libero,
    several_answers,
    tail_baseline,
    tail_matrix,
    tail_summary,
    train_gym,
    train_libero,
    train_rsd,
    train_tokens,
)
from rtc.shared import files
from rtc.study import files as study_files
from rtc.study.arguments import StudyArguments
from rtc.study.cells import IDENTITY_COLUMNS

ROOT = Path(__file__).resolve().parents[1]
READMES = ("README.md", "README.zh-CN.md")
LONGEST_README = 9000
# What adding-a-method.md runs is a method that the reader writes.
PAGES = [f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")) if path.name != "adding-a-method.md"]
# Pages in English with their Chinese editions.
TRANSLATED = (
    READMES,
    *(
        (str(page.relative_to(ROOT)).replace(".zh-CN", ""), str(page.relative_to(ROOT)))
        for page in sorted((ROOT / "docs").glob("*.zh-CN.md"))
    ),
)
ARGUMENTS = {
    "src/train_expert.py": train_expert.Arguments,
    "src/generate_data.py": generate_data.Arguments,
    "src/train_flow.py": train_flow.Arguments,
    "src/train_networks.py": train_networks.Arguments,
    "src/eval_flow.py": eval_flow.Arguments,
    "src/render_levels.py": render_levels.Arguments,
    "exp/run_stepA_baseline.py": tail_baseline.Arguments,
    "exp/run_stepD_tail_v1.py": tail_matrix.Arguments,
    "exp/summarize_tail_v1.py": tail_summary.Arguments,
    "exp/advise.py": advise.Arguments,
    "exp/bench_libero.py": bench_libero.Arguments,
    "exp/bench_networks.py": bench_networks.Arguments,
    "exp/bench_physics.py": bench_physics.Arguments,
    "exp/bench_tail_v1.py": bench_tail_v1.Arguments,
    "exp/check_physics.py": check_physics.Arguments,
    "exp/check_statistics.py": check_statistics.Arguments,
    "exp/compare_groups.py": compare_groups.Arguments,
    "exp/libero_demonstrations.py": libero_demonstrations.Arguments,
    "exp/measure_spread.py": measure_spread.Arguments,
    "exp/read_log.py": read_log.Arguments,
    "exp/record_episodes.py": record_episodes.Arguments,
    "exp/report_networks.py": report_networks.Arguments,
    "exp/report_training.py": report_training.Arguments,
    "exp/run_delay_sweep.py": delay_sweep.Arguments,
    "exp/train_gym.py": train_gym.Arguments,
    "exp/train_libero.py": train_libero.Arguments,
    "exp/train_tokens.py": train_tokens.Arguments,
    "exp/compare_policies.py": compare_policies.Arguments,
    "exp/train_rsd.py": train_rsd.Arguments,
    "exp/bench_rsd.py": bench_rsd.Arguments,
    "exp/run_rsd.py": rsd.Arguments,
    "exp/run_rsd_libero.py": run_rsd_libero.Arguments,
    "exp/route_demonstrations.py": route_demonstrations.Arguments,
    "exp/several_answers.py": several_answers.Arguments,
    "exp/run_study.py": StudyArguments,
}


def code_blocks(name, language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / name).read_text(), flags=re.DOTALL)


def commands(name):
    """Its commands, but for `. FILE`, which changes the shell."""
    lines = [line for block in code_blocks(name, "bash") for line in block.splitlines() if line.strip()]
    return [line for line in lines if not line.startswith(". ")]


def own_commands(names):
    """What pages run with this project, in blocks and tables; they have commands of other systems too."""
    found = [command for name in names for command in commands(name)]
    found += [
        command for name in names for command in re.findall(r"^\| `(\S+ [^`]+)` \|", (ROOT / name).read_text(), re.M)
    ]
    return [command for command in found if re.match(r"([A-Z_]+=\S+ )*(python|bash) (exp|src|tests)/", command)]


def console_commands(names):
    """What pages run with `exp-delta`, in blocks and in the text; what stands for other words is left out."""
    found = [command for name in names for command in commands(name)]
    found += [span for name in names for span in re.findall(r"`([^`\n]+)`", (ROOT / name).read_text())]
    found = [command for command in found if command.startswith("exp-delta ")]
    return [command for command in found if not re.search(r"[…|]|\b[A-Z]{3,}\b|\.\.\.|<", command)]


@pytest.mark.parametrize("command", dict.fromkeys(console_commands([*READMES, *PAGES, "docs/adding-a-method.md"])))
def test_command_of_the_console_exists_with_its_flags(command):
    module, flags = console.find(shlex.split(command, comments=True)[1:])
    if module == "rtc.programs.study" and flags:
        study_files.find(flags.pop(0))
    if flags and "--help" not in flags:
        arguments = StudyArguments if module == "rtc.programs.study" else importlib.import_module(module).Arguments
        tyro.cli(arguments, args=flags)


def test_commands_of_the_console_are_found():
    found = console_commands(PAGES)
    assert len(found) >= 6
    with pytest.raises(ValueError, match="evall"):
        test_command_of_the_console_exists_with_its_flags("exp-delta evall --run-path logs-bc/x")
    with pytest.raises(SystemExit):
        test_command_of_the_console_exists_with_its_flags("exp-delta eval --run-paht logs-bc/x")


@pytest.mark.parametrize("pages", TRANSLATED)
def test_both_languages_show_the_same_code(pages):
    english, chinese = ([code_blocks(name, language) for language in ("bash", "python")] for name in pages)
    assert english == chinese


@pytest.mark.parametrize("pages", TRANSLATED)
def test_both_languages_show_the_same_numbers(pages):
    """Tables are generated once and pasted into both: their rows of numbers must agree."""

    def rows(name):
        lines = [line for line in (ROOT / name).read_text().splitlines() if line.startswith("| ")]
        return [re.findall(r"\d+(?:[.,]\d+)*", line) for line in lines]

    english, chinese = map(rows, pages)
    assert english == chinese


@pytest.mark.parametrize("command", dict.fromkeys([*commands("README.md"), *own_commands([*READMES, *PAGES])]))
def test_command_exists_with_its_flags(command):
    words = [word for word in shlex.split(command) if not re.fullmatch(r"[A-Z_]+=\S+", word)]
    program, script, *flags = words
    assert program in ("bash", "python")
    assert (ROOT / script).is_file()
    if script == "exp/run_study.py":
        study_files.find(flags.pop(0))
    if program == "python" and "--help" not in flags:
        tyro.cli(ARGUMENTS[script], args=flags)


def test_commands_of_the_report_exist():
    quoted = re.findall(r"`(python [^`]+)`", (ROOT / "exp_runs/tail_v1/report.md").read_text())
    assert len(quoted) >= 3
    for command in quoted:
        test_command_exists_with_its_flags(command)


@pytest.mark.parametrize("name", READMES)
def test_readme_is_short(name):
    assert len((ROOT / name).read_bytes()) <= LONGEST_README


@pytest.mark.parametrize("name", READMES)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / name).read_text()):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_every_column_is_defined():
    """docs/metrics.md names every column of the shipped cells, and no other."""
    text = (ROOT / "docs/metrics.md").read_text()
    table, prose = text.split("## episodes.csv")
    cell = ROOT / "exp_runs/tail_v1/long_tail/naive/seed_0"
    of_results, of_episodes = (set(files.read_csv(cell / name)) for name in ("results.csv", "episodes.csv"))
    firsts = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    of_results -= set(IDENTITY_COLUMNS)
    assert {name for first in firsts for name in re.findall(r"`(\w+)`", first)} == of_results
    assert of_episodes <= set(re.findall(r"`(\w+)`", prose))


@pytest.mark.parametrize("path", sorted((ROOT / "docs").glob("*.md")), ids=lambda path: path.name)
def test_links_of_the_documentation_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        assert target.startswith("https://") or (path.parent / target).exists(), target
