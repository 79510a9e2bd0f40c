"""The house's plan: which room imports which, how long files and functions are, what names mean."""

import ast
import functools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import numpy as np
import pytest

from rtc.study import agreement

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "rtc"
BELOW = {
    "shared": (),
    "delay": ("shared",),
    "policies": ("shared",),
    "methods": ("policies", "delay", "shared"),
    "control": ("methods", "policies", "delay", "shared"),
    "worlds": ("control", "shared"),
    "training": ("worlds", "control", "policies", "shared"),
    "study": ("training", "worlds", "control", "methods", "policies", "delay", "shared"),
    "report": ("study", "training", "worlds", "control", "methods", "policies", "delay", "shared"),
    "bench": ("report", "study", "training", "worlds", "control", "methods", "policies", "delay", "shared"),
}
ROOMS = (*BELOW, "programs")
# What rooms that run no policy may know of control: what an environment is.
PROTOCOLS = ("rtc.control.environment", "rtc.control.host.environments")
FOLDERS = ("src", "exp", "tests")
LONGEST_FILE = 400
LONGEST_FUNCTION = 60
MISLEADING = ("wrappers", "protocol", "experiment", "aggregate")
UNIQUE = ("Query", "Arm", "Environment")
OF_NAMED_TUPLES = ("_replace", "_asdict", "_fields", "_make")

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def files_of(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def name_of(path: Path) -> str:
    """The module's full name."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in files_of("src/rtc")}


def room(module: str) -> str:
    """The room of a module, "" for the package itself and what is outside of it."""
    return module.split(".")[1] if module.startswith("rtc.") else ""


def imported(path: Path) -> set[str]:
    """The project's modules that a file imports, inside functions and for type checkers too."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in inside}
    return found & set(MODULES)


IMPORTS = {name: imported(path) for name, path in MODULES.items()}


def private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in ("_", *OF_NAMED_TUPLES)


def private_names(path: Path, *, used: bool) -> dict[str, int]:
    """Private names that a file imports or reads off something, or those that it defines; with a line of each."""
    found = {}
    for node in ast.walk(tree(path)):
        match node:
            case ast.ImportFrom() if used:
                found |= {alias.name: node.lineno for alias in node.names}
            case ast.Attribute(attr=name, ctx=ast.Load()) if used:
                found[name] = node.lineno
            case ast.Attribute(attr=name, ctx=ast.Store()) | ast.Name(id=name, ctx=ast.Store()) if not used:
                found[name] = node.lineno
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) if not used:
                found[name] = node.lineno
    return {name: line for name, line in found.items() if private(name)}


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Every function with its lines, its docstring not counted."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            prose = node.body[0] if ast.get_docstring(node) is not None else None
            yield node.name, node.end_lineno - node.lineno + 1 - (prose.end_lineno - prose.lineno + 1 if prose else 0)


def circle(edges: dict[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle; none if there is none."""
    left = {name: set(others) for name, others in edges.items()}
    while free := [name for name, others in left.items() if not others & set(left)]:
        for name in free:
            del left[name]
    return sorted(left)


def test_every_module_has_a_room() -> None:
    assert {room(name) for name in MODULES} == {"", *ROOMS}
    assert [name for name in MODULES if name.count(".") == 1 and MODULES[name].name != "__init__.py"] == []


@pytest.mark.parametrize("name", BELOW)
def test_no_room_imports_upwards(name: str) -> None:
    wrong = [
        f"{module} imports {other}"
        for module, others in IMPORTS.items()
        if room(module) == name
        for other in sorted(others)
        if room(other) not in ("", name, *BELOW[name])
    ]
    assert wrong == []


@pytest.mark.parametrize("name", ["worlds", "training"])
def test_of_control_worlds_and_training_know_the_protocols_alone(name: str) -> None:
    used = {other for module in MODULES if room(module) == name for other in IMPORTS[module]}
    assert {other for other in used if room(other) == "control"} <= set(PROTOCOLS)


def test_no_module_imports_itself_by_way_of_others() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["a", "b", "c", "d"]
    assert circle(IMPORTS) == []


def test_private_names_stay_in_their_room() -> None:
    defined = {name: set() for name in ("", *ROOMS)}
    for module, path in MODULES.items():
        defined[room(module)] |= set(private_names(path, used=False))
    wrong = []
    for path in files_of("src", "exp"):
        here = room(name_of(path)) if path.is_relative_to(SOURCE) else ""
        own = defined[here] | set(private_names(path, used=False))
        of_others = set().union(*defined.values()) - own
        wrong += [
            f"{path.relative_to(ROOT)}:{line}: {name}"
            for name, line in private_names(path, used=True).items()
            if name in of_others
        ]
    assert wrong == []


def test_files_are_short() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in files_of(*FOLDERS)}
    assert not {name: n for name, n in lengths.items() if n > LONGEST_FILE}


def test_functions_are_short() -> None:
    lengths = {
        f"{path.relative_to(ROOT)}: {name}": n
        for path in files_of(*FOLDERS)
        for name, n in functions(path)
        if n > LONGEST_FUNCTION
    }
    assert lengths == {}


def test_no_module_is_named_for_less_than_it_does() -> None:
    assert [name for name in MODULES if name.rsplit(".", 1)[-1] in MISLEADING] == []


def test_a_name_means_one_thing() -> None:
    classes = Counter(
        node.name for path in files_of("src") for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef)
    )
    assert {name: classes[name] for name in UNIQUE} == dict.fromkeys(UNIQUE, 1)


@pytest.mark.parametrize("name", ROOMS)
def test_every_room_says_what_it_holds(name: str) -> None:
    assert ast.get_docstring(tree(PACKAGE / name / "__init__.py"))


def test_the_architecture_page_names_files_that_exist() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    named = set(re.findall(r"`((?:src|exp|tests|docs)?/?[\w./-]+\.(?:py|toml|sh|md|html))`", text))
    places = ROOT, PACKAGE
    assert len(named) >= 30
    assert [name for name in sorted(named) if not any((place / name).is_file() for place in places)] == []
    assert [name for name in ROOMS if f"<b>{name}</b>" not in text] == []


def test_the_tests_check_the_arrays_of_every_call() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match=r"parameters of rtc\.study\.agreement\.kendall_w"):
        agreement.kendall_w(np.ones(3))
