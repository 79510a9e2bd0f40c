"""Answers queries with OpenVLA-OFT, inside its own Python environment; `rtc.worlds.libero.openvla_oft` starts it.

    python oft_worker.py --root CHECKOUT_OF_OPENVLA_OFT --checkpoint NAME_OR_FOLDER --suite libero_spatial

Besides the standard library and NumPy it imports only that checkout, by the calls that its
`experiments/robot/libero/run_libero_eval.py` makes, with the same settings. So it runs under the Python, NumPy and
PyTorch that OpenVLA-OFT asks for, none of which the simulation has to share.

Requests come on standard input and answers go to standard output, each an .npz archive after its length in 8 bytes.
"""

import argparse
import io
import os
import struct
import sys
import time
import traceback
from types import SimpleNamespace

import numpy as np

IMAGE_PIXELS = 224  # of the network's input; experiments/robot/robot_utils.py


def write_frame(stream, **arrays):
    """Sends arrays by name; strings become arrays of characters."""
    content = io.BytesIO()
    np.savez(content, **arrays)
    stream.write(struct.pack("<Q", content.tell()) + content.getvalue())
    stream.flush()


def read_frame(stream):
    """The next arrays by name; None at the end of the stream."""
    header = stream.read(8)
    if len(header) < 8:
        return None
    content = stream.read(struct.unpack("<Q", header)[0])
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def load(root, checkpoint, suite):
    """A function from (image, wrist image, proprio, instruction) to a chunk of 8 × 7.

    Raises:
        ValueError: the checkpoint has no action statistics for the suite.
    """
    sys.path[0] = root  # in place of this file's folder, whose modules have names that others may import
    from experiments.robot import openvla_utils as oft

    config = SimpleNamespace(
        model_family="openvla",
        pretrained_checkpoint=checkpoint,
        use_l1_regression=True,
        use_diffusion=False,
        use_film=False,
        num_images_in_input=2,
        use_proprio=True,
        center_crop=True,
        lora_rank=32,
        load_in_8bit=False,
        load_in_4bit=False,
        num_open_loop_steps=8,
    )
    model = oft.get_vla(config)
    config.unnorm_key = statistics_key(model.norm_stats, suite)
    parts = {
        "vla": model,
        "processor": oft.get_processor(config),
        "proprio_projector": oft.get_proprio_projector(config, model.llm_dim, proprio_dim=8),
        "action_head": oft.get_action_head(config, model.llm_dim),
    }

    def predict(image, wrist_image, proprio, instruction):
        observation = {
            "full_image": oft.resize_image_for_policy(image, IMAGE_PIXELS),
            "wrist_image": oft.resize_image_for_policy(wrist_image, IMAGE_PIXELS),
            "state": proprio,
        }
        return np.stack(oft.get_vla_action(cfg=config, obs=observation, task_label=instruction, **parts))

    return predict


def statistics_key(statistics, suite):
    """The name of a suite's action statistics in a checkpoint; with `_no_noops` where the data were filtered."""
    for key in (suite, f"{suite}_no_noops"):
        if key in statistics:
            return key
    raise ValueError(f"the checkpoint has action statistics for {', '.join(sorted(statistics))}, not for {suite}")


def serve(predict, requests, answers):
    """Answers requests until the stream ends."""
    while (request := read_frame(requests)) is not None:
        start = time.perf_counter()
        arguments = [request[name] for name in ("image", "wrist_image", "proprio")]
        chunk = np.asarray(predict(*arguments, str(request["instruction"])), np.float64)
        write_frame(answers, chunk=chunk, inference_ms=1e3 * (time.perf_counter() - start))


def run(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("root", "checkpoint", "suite"):
        parser.add_argument(f"--{name}", required=True)
    arguments = parser.parse_args(argv)
    # OpenVLA-OFT prints: its text goes to standard error, so that answers are alone on standard output.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        predict = load(arguments.root, arguments.checkpoint, arguments.suite)
        write_frame(answers, ready=True)
        serve(predict, sys.stdin.buffer, answers)
    except Exception as error:
        write_frame(answers, error=f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(run())
