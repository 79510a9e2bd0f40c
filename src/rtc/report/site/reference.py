"""Pages of the reference: a page per room, with the docstrings of its modules."""

import ast
from collections.abc import Iterator
from pathlib import Path

FOLDER = "reference"


def pages(source: Path) -> dict[str, str]:
    """The pages by their path in the site, for mkdocstrings to fill.

    Args:
        source: folder of the package `rtc`.
    """
    rooms = sorted(path.parent for path in source.glob("*/__init__.py"))
    return {f"{FOLDER}/{room.name}.md": _page(room, source.parent) for room in rooms if _doc(room / "__init__.py")}


def _page(room: Path, top: Path) -> str:
    parts = [f"# rtc.{room.name}", _doc(room / "__init__.py")]
    for path in _modules(room):
        name = ".".join(path.relative_to(top).with_suffix("").parts).removesuffix(".__init__")
        parts.append(f"::: {name}")
    return "\n\n".join(parts) + "\n"


def _modules(room: Path) -> Iterator[Path]:
    """Modules with something public of their own, in the order of their names."""
    for path in sorted(room.rglob("*.py")):
        nodes = ast.parse(path.read_text()).body
        names = [node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)]
        if any(not name.startswith("_") for name in names):
            yield path


def _doc(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text())) or ""
