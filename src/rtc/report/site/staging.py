"""The site's pages in a folder of their own, from which MkDocs builds: docs/, the reports, and what is generated."""

import fnmatch
import itertools
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from rtc.report.site import links
from rtc.shared import files

# Folders whose Markdown is in the site as it is; other files only where a page links to them.
REPORTS = (
    "exp_runs/*.md",
    "exp_runs/*/summary*.md",
    "exp_runs/*/report*.md",
    "logs-bc/*.md",
    "logs-bc/*/README.md",
)
ASSETS = ("docs/js/*.js", "docs/css/*.css", "docs/episodes/*.mp4")
LARGEST = 2_000_000  # bytes of a file that a page links to
VIDEO = '\n<video controls loop muted playsinline src="preview.mp4" style="max-width: 100%"></video>\n'
_MERMAID = re.compile(r"^```mermaid\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NODE = re.compile(r'^\s*(\w+)\["<b>\w+</b> · (.*)"\]$')
_ARROW = re.compile(r"^\s*([\w &]+?)((?:\s+--> [\w &]+)+)$")
_TITLE = re.compile(r"^# (.+)$", re.MULTILINE)


def pages(root: Path) -> dict[str, str]:
    """Where the Markdown files of the repository are in the site, by their path in the repository."""
    found = {f"docs/{path.name}": path.name for path in sorted((root / "docs").glob("*.md"))}
    for pattern in REPORTS:
        for path in sorted(root.glob(pattern)):
            name = path.relative_to(root).as_posix()
            found[name] = name
    return found


def stage(root: Path, folder: Path, generated: Mapping[str, str | bytes]) -> dict[str, str]:
    """Writes all pages and what they link to below `folder`; returns their titles by their path in the site.

    Args:
        root: the repository.
        folder: where they go; what is there is deleted.
        generated: further files by their path in the site. Pages among them link as a page of docs/ would.
    """
    shutil.rmtree(folder, ignore_errors=True)
    places, titles = pages(root), {}
    places |= {f"docs/{name}": name for name in generated if name.endswith(".md")}
    # A notebook is linked to as the file that it is, and shown as the page that is made of it.
    links_to = places | {f"{name.removesuffix('.md')}.ipynb": at for name, at in places.items()}
    links_to |= {f"docs/{name}": name for name in generated}

    def place(name: str) -> str | None:
        if name in links_to:
            return links_to[name]
        file = root / name
        if not file.is_file() or not file.resolve().is_relative_to(root) or file.stat().st_size > LARGEST:
            return None
        at = links_to[name] = name.removeprefix("docs/")
        if file.suffix == ".md":
            files.atomic_write(folder / at, links.rewrite(file.read_text(), name, at, place))
        else:
            _copy(file, folder / at)
        return at

    texts = {name: (root / name).read_text() for name, at in places.items() if at not in generated}
    texts |= {f"docs/{name}": text for name, text in generated.items() if name.endswith(".md")}
    for name, text in texts.items():
        text = links.rewrite(without_diagrams(text), name, places[name], place)
        film = root / Path(name).parent / "preview.mp4"
        if Path(name).stem == "summary" and film.is_file():
            text += VIDEO
            _copy(film, folder / film.relative_to(root))
        files.atomic_write(folder / places[name], text)
        title = _TITLE.search(text)
        titles[places[name]] = title[1].replace("`", "") if title else places[name]
    for name, content in generated.items():
        if not name.endswith(".md"):
            files.atomic_write(folder / name, content)
    for pattern in ASSETS:
        for file in root.glob(pattern):
            _copy(file, folder / file.relative_to(root / "docs"))
    return titles


def _copy(file: Path, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, to)


def without_diagrams(text: str) -> str:
    """A page whose Mermaid flowcharts, which need a script from elsewhere, are tables of boxes and arrows."""
    return _MERMAID.sub(lambda match: _as_table(match[1]), text)


def _as_table(chart: str) -> str:
    held, arrows = {}, {}
    for line in chart.splitlines():
        if node := _NODE.match(line):
            held[node[1]] = node[2]
        elif _ARROW.match(line):
            steps = [[name.strip() for name in step.split("&")] for step in line.split("-->")]
            for sources, reached in itertools.pairwise(steps):
                for source in sources:
                    arrows.setdefault(source, []).extend(reached)
    rows = [f"| {name} | {what} | {', '.join(arrows.get(name, ())) or '–'} |" for name, what in held.items()]
    return "\n".join(["| room | holds | imports first |", "| --- | --- | --- |", *rows])


def navigation(wanted: Iterable[Any], there: Mapping[str, str]) -> list[Any]:
    """The navigation without the pages that are not there, and without sections that would be empty.

    Args:
        wanted: MkDocs' `nav`: pages, {title: page} and {title: entries}. A pattern with `*` stands for all pages of
            such paths that neither have a place of their own nor were taken by a pattern before.
        there: titles of the pages by path.
    """
    wanted = list(wanted)
    placed = set(named(wanted))
    return _kept(wanted, {path: title for path, title in there.items() if path not in placed}, there)


def _kept(wanted: Iterable[Any], free: dict[str, str], there: Mapping[str, str]) -> list[Any]:
    """The entries that are there; pages that a pattern takes are free no more."""
    found: list[Any] = []
    for entry in wanted:
        title, what = next(iter(entry.items())) if isinstance(entry, dict) else ("", entry)
        if isinstance(what, list):
            inside = _kept(what, free, there)
            found += [{title: inside}] if inside else []
        elif "*" in what:
            chosen = {path: free.pop(path) for path in list(free) if fnmatch.fnmatchcase(path, what)}
            found += [{name: path} for path, name in sorted(chosen.items(), key=lambda item: item[1].lower())]
        elif what in there:
            found.append({title or there[what]: what})
    return found


def named(wanted: Iterable[Any]) -> Iterable[str]:
    """The pages and patterns of MkDocs' `nav`, those in sections included."""
    for entry in wanted:
        what = next(iter(entry.values())) if isinstance(entry, dict) else entry
        yield from named(what) if isinstance(what, list) else [what]


def configure(root: Path, folder: Path, site: Path, titles: Mapping[str, str]) -> Path:
    """Writes MkDocs' configuration for the staged pages, docs/site.yml with its paths and navigation; returns it."""
    config = yaml.safe_load((root / "docs/site.yml").read_text())
    config |= {"docs_dir": str(folder), "site_dir": str(site), "nav": navigation(config["nav"], titles)}
    for plugin in config["plugins"]:
        if isinstance(plugin, dict) and "mkdocstrings" in plugin:
            plugin["mkdocstrings"]["handlers"]["python"]["paths"] = [str(root / "src")]
    path = folder.parent / "mkdocs.yml"
    files.atomic_write(path, yaml.safe_dump(config, allow_unicode=True, sort_keys=False))
    return path
