"""Runs exp/run_rsd_libero.py on Modal (https://modal.com): builds the image, with the assets, and keeps the results.

    pip install modal && modal setup
    modal run exp/modal_libero.py --flags "--policy stub --num-trials 1"
    modal run exp/modal_libero.py::with_oft --flags "--suites libero_spatial libero_goal"
    modal volume get exp-delta-libero / exp_runs/libero

Results and the checkpoints of OpenVLA-OFT stay in volumes, so a run that is cut off goes on where it was.
docs/libero.md says what of this has been tried.
"""

import shlex
import subprocess
from pathlib import Path

import modal

ROOT = Path(__file__).resolve().parents[1]
PROJECT, RESULTS, CACHE = "/exp-delta", "/results", "/cache"
OFT, OFT_PYTHON = "/openvla-oft", "/oft/bin/python"
# Of openvla-oft's main branch.
OFT_COMMIT = "e4287e94541f459edc4feabc4e181f537cd569a8"
TORCH = "torch==2.2.0 torchvision==0.17.0 torchaudio==2.2.0"
LIBRARIES = ("git", "build-essential", "cmake", "libegl1", "libgl1", "libgl1-mesa-dri", "libglib2.0-0")
FOLDERS = ("src", "exp", "pyproject.toml", "requirements.lock", "README.md", "LICENSE")
EXTRAS = "pip install -c requirements.lock -e '.[libero,libero-assets]'"

app = modal.App("exp-delta-libero")
results = modal.Volume.from_name("exp-delta-libero", create_if_missing=True)
cache = modal.Volume.from_name("exp-delta-libero-cache", create_if_missing=True)


def with_project(image: modal.Image) -> modal.Image:
    """The image with this project, LIBERO and its assets in it."""
    for name in FOLDERS:
        add = image.add_local_dir if (ROOT / name).is_dir() else image.add_local_file
        image = add(str(ROOT / name), f"{PROJECT}/{name}", copy=True)
    return image.workdir(PROJECT).run_commands(EXTRAS).env({"MUJOCO_GL": "egl"})


simulation = modal.Image.debian_slim(python_version="3.11").apt_install(*LIBRARIES)
# OpenVLA-OFT's own environment, beside the simulation's: its SETUP.md and LIBERO.md.
oft = simulation.pip_install("uv").run_commands(
    f"git clone https://github.com/moojink/openvla-oft {OFT} && git -C {OFT} checkout {OFT_COMMIT}",
    "uv venv --python 3.10 /oft",
    f"uv pip install --python {OFT_PYTHON} {TORCH} 'numpy<2' 'setuptools<80'",
    f"uv pip install --python {OFT_PYTHON} -e {OFT} 'numpy<2'",
)


def run(flags: str) -> None:
    """The entry point, with its results in the volume."""
    command = ["python", "exp/run_rsd_libero.py", "--output-root", RESULTS, *shlex.split(flags)]
    try:
        subprocess.run(command, cwd=PROJECT, check=True)
    finally:
        results.commit()


@app.function(image=with_project(simulation), volumes={RESULTS: results}, cpu=2, timeout=24 * 3600)
def on_cpu(flags: str) -> None:
    run(flags)


@app.function(
    image=with_project(oft).env({"HF_HOME": CACHE}),
    gpu="A100",
    volumes={RESULTS: results, CACHE: cache},
    timeout=24 * 3600,
)
def on_gpu(flags: str) -> None:
    run(f"--policy openvla_oft --policy-config.oft.python {OFT_PYTHON} --policy-config.oft.root {OFT} {flags}")


@app.local_entrypoint()
def main(flags: str = "--policy stub --num-trials 1") -> None:
    on_cpu.remote(flags)


@app.local_entrypoint()
def with_oft(flags: str = "--suites libero_spatial") -> None:
    on_gpu.remote(flags)
