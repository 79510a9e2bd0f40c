"""Writes what MkDocs builds the site from: pages, data of the explorer, leaderboard, reference, the notebook's page.

    bash docs/build.sh

calls it. Numbers come from committed outcomes alone; nothing is run.
"""

import dataclasses
import importlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtc.programs import delay_sweep, tail_summary
from rtc.report import leaderboard
from rtc.report.site import episodes, explorer, notebook, reference, staging
from rtc.shared import commands, entry
from rtc.shared.paths import ROOT
from rtc.study import archive, files
from rtc.study.arguments import StudyArguments
from rtc.study.outcome import Outcome
from rtc.study.study import DELAY_LEVELS


@dataclass(frozen=True)
class Arguments:
    """Command line of stage_site.

    Attributes:
        build: folder of what MkDocs reads; what is there is replaced.
        site: folder of the site that MkDocs will write.
    """

    build: Path = Path("build")
    site: Path = Path("site")


@dataclass(frozen=True)
class Sweep:
    """A sweep over constant delays.

    Attributes:
        title: what tells it from the others.
        arguments: what it was run with, but for methods, episodes and points, which its outcomes say.
    """

    title: str
    arguments: delay_sweep.Arguments = field(default_factory=delay_sweep.Arguments)


def _longer(chunk: int) -> Sweep:
    """That of policies with longer chunks, which not all levels have."""
    levels = ("grasp_easy", "hard_lunar_lander", "catcher_v3", "mjc_walker")
    run = f"logs-bc/h{chunk}"
    return Sweep(
        f"chunks of {chunk}", delay_sweep.Arguments(levels=levels, run_path=run, prefix_run_path=f"{run}_prefix")
    )


_PUBLISHED = delay_sweep.Arguments(
    run_path="logs-bc/published_recipe", prefix_run_path="logs-bc/published_recipe_prefix"
)
# By their folders in exp_runs/.
SWEEPS = {
    "delay_sweep": Sweep("shipped policies"),
    "delay_sweep_h16": _longer(16),
    "delay_sweep_h32": _longer(32),
    "delay_sweep_more": Sweep("further methods", delay_sweep.Arguments(levels=DELAY_LEVELS)),
    "delay_sweep_published_recipe": Sweep("published training recipe", _PUBLISHED),
    "delay_sweep_published_recipe_networks": Sweep("published training recipe, prediction and correction", _PUBLISHED),
}


def run(args: Arguments) -> None:
    """Writes `<build>/pages` and `<build>/mkdocs.yml`."""
    folder, sets = args.build.resolve() / "pages", []
    for outcome, run_path, report in outcomes():
        sets.append(explorer.data(outcome, run_path, report))
        print(f"explorer: {sets[-1]['name']}, {len(sets[-1]['arms'])} arms", flush=True)
    generated = scripts(sets, episodes.index(ROOT))
    generated["leaderboard.md"] = leaderboard.within((ROOT / "docs/leaderboard.md").read_text(), ROOT)
    generated |= reference.pages(ROOT / "src/rtc") | notebook.pages(ROOT / "docs/notebook.ipynb")
    titles = staging.stage(ROOT, folder, generated)
    commands.open_first(staging.configure(ROOT, folder, args.site.resolve(), titles))


def outcomes() -> Iterator[tuple[Outcome, str, str]]:
    """The outcomes that are committed, each with the run of its policies and the address of its report."""
    tail = tail_summary.Arguments(
        output_root=str(ROOT / "exp_runs/tail_v1"), baseline_root=str(ROOT / "exp_runs/stepA_baseline")
    )
    yield tail_summary.load(tail), tail.run_path, "exp_runs/tail_v1/summary.html"
    for name, sweep in sweeps(ROOT):
        outcome = Outcome.read(sweep.study(), sweep.of_study())
        title = f"{outcome.study.title}: {SWEEPS[name].title}"
        named = dataclasses.replace(outcome.study, name=name, title=title)
        yield dataclasses.replace(outcome, study=named), sweep.run_path, f"exp_runs/{name}/summary.html"
    for path in sorted(files.FOLDER.glob("*.toml")):
        study = files.read(str(path))
        args = StudyArguments(output_root=str(ROOT / "exp_runs" / study.name)).of(study)
        if archive.path(args.root).is_file():
            yield Outcome.read(study, args), args.run_path, f"exp_runs/{study.name}/summary.html"


def sweeps(root: Path) -> Iterator[tuple[str, delay_sweep.Arguments]]:
    """The sweeps over constant delays whose outcomes are there, by folder, with the methods and points that they have.

    Args:
        root: the repository.
    """
    for name, about in SWEEPS.items():
        folder = root / "exp_runs" / name
        there = archive.read(folder).cells
        if not there:
            continue
        args = dataclasses.replace(
            about.arguments,
            methods=tuple(dict.fromkeys(cell.method for cell in there)),
            num_evals=max(int(one.inputs["config"]["num_evals"]) for one in there.values()),
            output_root=str(folder),
        )
        line = {one.profile for one in args.study().arms}
        yield name, dataclasses.replace(args, grid=not line >= {cell.profile for cell in there})


def scripts(sets: Sequence[dict[str, Any]], shown: Sequence[dict[str, Any]]) -> dict[str, str | bytes]:
    """What the explorer's page loads, by its path in the site: an index, a script per study, the library that draws.

    Args:
        sets: `explorer.data` of each study.
        shown: recorded episodes.

    Raises:
        ValueError: two studies share a name or a title, by which the page tells them apart; or there is no library.
    """
    for name in ("name", "title"):
        twice = [value for value, count in Counter(one[name] for one in sets).items() if count > 1]
        if twice:
            raise ValueError(f"{name} of several studies of the explorer: {', '.join(twice)}; give each its own")
    named = [{name: one[name] for name in ("name", "title")} for one in sets]
    index = {"sets": named, "metrics": explorer.catalogue_entries(), "episodes": list(shown), "data": {}}
    found: dict[str, str | bytes] = {
        "explorer/index.js": f"window.exp_delta = {_json(index)};\n",
        "js/vega.js": _vega(),
    }
    for one in sets:
        place = f"window.exp_delta.data[{json.dumps(one['name'])}]"
        found[f"explorer/{one['name']}.js"] = f"{place} = {_json(one)};\n"
    return found


def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script for browsers, as vl-convert bundles them."""
    try:
        return importlib.import_module("vl_convert").javascript_bundle()
    except ModuleNotFoundError as error:
        fix = entry.how_to_install("-r docs/requirements.lock")
        raise ValueError(f"the site needs the extra `docs`: {fix}") from error


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def main(argv: Sequence[str] | None = None) -> None:
    commands.start(Arguments, run, __doc__, argv)
