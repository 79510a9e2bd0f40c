"""The digest of code: what leaves it as it is, and what changes it."""

import inspect
import shutil
from pathlib import Path

import pytest

from rtc.shared import identity

MODULES = {
    "__init__": "",
    "arithmetic": '''"""Module."""
        import numpy as np

        from pack.settings import Config, scaled

        STEP = 0.5


        def integrate(config: Config, x):
            """Docstring."""
            if x < 0:
                raise ValueError(f"x={x} is negative")
            return np.add(x, STEP * scaled(config, x))


        def unused(x):
            return x
        ''',
    "settings": """
        from dataclasses import dataclass
        from typing import Literal

        Kind = Literal["a", "b"]


        @dataclass(frozen=True)
        class Config:
            name: str
            kind: Kind = "a"

            def __post_init__(self):
                if self.kind not in ("a", "b"):
                    raise ValueError(self.kind)

            def factor(self):
                return 2


        def scaled(config, x):
            return config.factor() * x
        """,
    "variants": """
        from pack import arithmetic

        class First:
            def step(self, x):
                return arithmetic.integrate(None, x)

        class Second:
            def step(self, x):
                return 0

        VARIANTS = {"first": First, "second": Second}

        def make(name):
            return VARIANTS[name]()
        """,
}


MODULES = {name: inspect.cleandoc(text) + "\n" for name, text in MODULES.items()}


def written(folder: Path, modules: dict[str, str]) -> Path:
    """A package with these modules."""
    package = folder / "pack"
    package.mkdir(parents=True)
    for name, text in modules.items():
        (package / f"{name}.py").write_text(text)
    return package


@pytest.fixture
def digest(tmp_path):
    """The digest of `pack` after some modules have been replaced."""
    number = 0

    def of(changes=None, roots=("pack.arithmetic.integrate",), left_out=()):
        nonlocal number
        number += 1
        package = written(tmp_path / str(number), {**MODULES, **(changes or {})})
        return identity.code_digest(roots, left_out, package)

    return of


def changed(module: str, old: str, new: str) -> dict[str, str]:
    assert old in MODULES[module]
    return {module: MODULES[module].replace(old, new)}


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        pytest.param("arithmetic", "STEP = 0.5", "STEP = 0.5  # seconds", id="comment"),
        pytest.param("arithmetic", '"""Docstring."""', '"""Other."""', id="docstring"),
        pytest.param("arithmetic", '"""Docstring."""', "", id="no docstring"),
        pytest.param("arithmetic", "STEP * scaled(config, x)", "(STEP\n  * scaled(config, x))", id="formatting"),
        pytest.param("arithmetic", "x={x} is negative", "x={x} must not be negative", id="message"),
        pytest.param("arithmetic", "return x\n", "return x + 1\n", id="function that is not reached"),
        pytest.param("arithmetic", "config: Config", "config: 'Config'", id="annotation"),
        pytest.param("settings", 'kind: Kind = "a"', 'kind: Kind = "a"\n    more: int = 3', id="option"),
        pytest.param("settings", 'kind: Kind = "a"', 'kind: Kind = "b"', id="default"),
        pytest.param("settings", 'Literal["a", "b"]', 'Literal["a", "b", "c"]', id="choice"),
        pytest.param("settings", 'in ("a", "b")', 'in ("a", "b", "c")', id="check"),
    ],
)
def test_what_changes_no_result_leaves_the_digest(digest, module, old, new):
    assert digest(changed(module, old, new)) == digest()


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        pytest.param("arithmetic", "STEP = 0.5", "STEP = 0.25", id="constant"),
        pytest.param("arithmetic", "np.add", "np.subtract", id="function of another package"),
        pytest.param("arithmetic", "import numpy as np", "import jax.numpy as np", id="another package"),
        pytest.param("arithmetic", "x < 0", "x <= 0", id="condition"),
        pytest.param("settings", "return config.factor() * x", "return config.factor() + x", id="callee"),
        pytest.param("settings", "return 2", "return 3", id="method of a class that only an annotation names"),
        pytest.param("settings", "name: str", "label: str", id="field without a default"),
    ],
)
def test_what_changes_results_changes_the_digest(digest, module, old, new):
    assert digest(changed(module, old, new)) != digest()


@pytest.mark.parametrize(
    "forms",
    [
        pytest.param(("def f(*, a, b=1): pass", "def f(*, a=1, b): pass"), id="which keyword has a default"),
        pytest.param(("f = {'x': 1, **dict(x=2)}", "f = {**dict(x=2), 'x': 1}"), id="order in a dictionary"),
        pytest.param(("a, b = {}, {}\nf = {'x': a, **b}", "a, b = {}, {}\nf = {**a, 'x': b}"), id="what is unpacked"),
    ],
)
def test_places_that_are_empty_count(digest, forms):
    first, second = (digest({"one": form}, roots=("pack.one.f",)) for form in forms)
    assert first != second


def test_names_of_modules_and_of_imports_do_not_count(digest):
    moved = MODULES["settings"] + "\nSTEP = 0.5\n"
    renamed = (
        MODULES["arithmetic"]
        .replace("import numpy as np", "from numpy import add")
        .replace("np.add", "add")
        .replace("from pack.settings import Config, scaled", "from pack import settings")
        .replace("STEP = 0.5", "")
        .replace("Config,", "settings.Config,")
        .replace("STEP", "settings.STEP")
        .replace(" scaled", " settings.scaled")
    )
    assert digest({"arithmetic": renamed, "settings": moved}) == digest()


def test_a_moved_definition_leaves_the_digest(digest):
    moved = MODULES["arithmetic"].split("def unused")[0].replace("STEP = 0.5", "from pack.constants import STEP")
    modules = {
        "arithmetic": "from pack.numbers import integrate\n",
        "numbers": moved,
        "constants": "STEP = 0.5\n",
    }
    assert digest(modules, roots=("pack.numbers.integrate",)) == digest()
    assert digest(modules) == digest()  # by way of the import in its old place


def test_a_new_registry_entry_leaves_the_digest_of_the_others(digest):
    new = changed("variants", '"second": Second}', '"second": Second, "third": Third}')
    new["variants"] = new["variants"].replace("VARIANTS =", "class Third:\n    pass\n\nVARIANTS =")
    options = {"roots": ("pack.variants.make", "pack.variants.First"), "left_out": ("pack.variants.VARIANTS",)}
    assert digest(new, **options) == digest(**options)
    assert digest(new, roots=("pack.variants.make",)) != digest(roots=("pack.variants.make",))
    # The active variant counts, with all that it calls; another one does not.
    assert digest(changed("variants", "return 0", "return 1"), **options) == digest(**options)
    assert digest(changed("arithmetic", "0.5", "0.25"), **options) != digest(**options)


def test_two_functions_of_one_name_are_told_apart(digest):
    call = "def both(x):\n    return {0}.f(x), first.f(x), second.f(x)\n"
    modules = {"first": "def f(x):\n    return x\n", "second": "def f(x):\n    return 2 * x\n"}
    found = [
        digest({**modules, "user": "from pack import first, second\n" + call.format(name)}, roots=("pack.user",))
        for name in ("first", "second")
    ]
    assert found[0] != found[1]


def test_local_names_stand_for_themselves(tmp_path):
    user = "from pack import settings\n\ndef f(settings):\n    return [settings.scaled(x) for x in settings]\n"
    package = written(tmp_path, {**MODULES, "user": user})
    assert set(identity.reached(["pack.user.f"], source=package)) == {"pack.user.f"}


def test_modules_that_are_loaded_by_name_are_followed(tmp_path):
    user = 'import importlib\n\ndef f():\n    return importlib.import_module("pack.settings").scaled(1)\n'
    package = written(tmp_path, {**MODULES, "user": user})
    assert "pack.settings.scaled" in identity.reached(["pack.user.f"], source=package)


def test_a_file_outside_the_package_is_a_root(tmp_path):
    package = written(tmp_path, MODULES)
    own = tmp_path / "mine.py"
    own.write_text("from pack.arithmetic import integrate\n\ndef act(x):\n    return integrate(None, x)\n")
    found = identity.reached([own], source=package)
    assert any(name.endswith("mine.py.act") for name in found)
    assert "pack.settings.scaled" in found


def test_a_root_that_is_not_there_is_an_error(tmp_path):
    package = written(tmp_path, MODULES)
    for root in ("pack.arithmetic.nothing", "numpy.add", tmp_path / "no.py"):
        with pytest.raises(ValueError, match=r"nothing|numpy|no\.py"):
            identity.code_digest([root], source=package)


def test_code_that_is_edited_while_a_program_runs_does_not_count(tmp_path):
    package = written(tmp_path, MODULES)
    before = identity.code_digest(["pack.arithmetic"], source=package)
    (package / "arithmetic.py").write_text("STEP = 0\n")
    (package / "settings.py").write_text("")
    assert identity.code_digest(["pack.arithmetic.unused", "pack.arithmetic"], source=package) == before
    # Nor does what is looked at for the first time after the edit.
    assert "pack.settings.Config" in identity.reached(["pack.settings"], source=package)


@pytest.mark.long
def test_the_integrator_of_the_physics_counts(tmp_path):
    """The real package: what is reached from an evaluation has the integrator in it."""
    package = tmp_path / "rtc"
    shutil.copytree(identity.SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
    root = ["rtc.study.evaluation.evaluate"]
    found = identity.reached(root, source=package)
    assert found == identity.reached(root)
    twin = tmp_path / "twin" / "rtc"
    shutil.copytree(package, twin)
    path = twin / "worlds/kinetix/physics/step.py"
    text = path.read_text()
    old = "state.angle + solved.spin * dt"
    assert old in text
    path.write_text(text.replace(old, "state.angle + 1.0001 * solved.spin * dt"))
    other = identity.reached(root, source=twin)
    changed = {key for key in found if found[key] != other[key]}
    # The step, and what names it.
    assert "rtc.worlds.kinetix.physics.step.step" in changed
    assert all("rtc.worlds." in key for key in changed)


def test_what_an_evaluation_reaches():
    found = set(identity.reached(["rtc.study.evaluation.evaluate"]))
    assert {"rtc.control.executor.rollout", "rtc.policies.flow.FlowPolicy"} <= found
    assert not {name for name in found if name.startswith(("rtc.report.", "rtc.bench.", "rtc.programs."))}
