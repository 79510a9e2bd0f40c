"""Policy openvla_oft: what its loading code calls, in a process of its own. A stand-in takes the model's place."""

import os
import sys

import numpy as np
import pytest

from fake_libero import raw_observation
from rtc.worlds.libero import adapter, oft_worker, policies
from rtc.worlds.libero.constants import find_suite
from rtc.worlds.libero.openvla_oft import OftConfig, OpenVlaOft, worker_command
from rtc.worlds.libero.policies import PolicyConfig

SUITE = find_suite("libero_spatial")

# The functions of openvla-oft's experiments/robot/openvla_utils.py that are called, with their parameters.
OPENVLA_UTILS = """
import sys
import types
import numpy as np

print("OpenVLA-OFT prints a lot")

def get_vla(cfg):
    assert "libero" in " ".join(sys.argv)  # prismatic/vla/constants.py chooses its constants by that
    assert (cfg.use_l1_regression, cfg.use_diffusion, cfg.use_film, cfg.center_crop) == (True, False, False, True)
    assert (cfg.num_images_in_input, cfg.use_proprio, cfg.lora_rank) == (2, True, 32)
    if cfg.pretrained_checkpoint == "broken":
        raise OSError("no such checkpoint")
    return types.SimpleNamespace(llm_dim=16, norm_stats={"libero_spatial_no_noops": {}}, name=cfg.pretrained_checkpoint)

def get_processor(cfg):
    return "processor"

def get_proprio_projector(cfg, llm_dim, proprio_dim):
    assert (llm_dim, proprio_dim) == (16, 8)
    return "projector"

def get_action_head(cfg, llm_dim):
    assert llm_dim == 16
    return "head"

def resize_image_for_policy(img, resize_size):
    assert img.dtype == np.uint8
    return np.full((resize_size, resize_size, 3), img.sum() % 251, np.uint8)

def get_vla_action(cfg, vla, processor, obs, task_label, action_head=None, proprio_projector=None,
                   noisy_action_projector=None, use_film=False):
    assert (processor, action_head, proprio_projector) == ("processor", "head", "projector")
    assert cfg.unnorm_key == "libero_spatial_no_noops"
    print("a query:", task_label)
    if task_label == "fail":
        raise RuntimeError("CUDA out of memory")
    numbers = [*obs["state"], *obs["full_image"][:3, 0, 0], *obs["wrist_image"][:3, 0, 0]]
    return [np.array(numbers[:7], np.float32) + i for i in range(8)]
"""


@pytest.fixture
def config(tmp_path):
    folder = tmp_path / "openvla-oft/experiments/robot"
    folder.mkdir(parents=True)
    (folder / "openvla_utils.py").write_text(OPENVLA_UTILS)
    return OftConfig(python=sys.executable, root=str(tmp_path / "openvla-oft"), checkpoint=None)


def changed(config, **values):
    return OftConfig(**vars(config) | values)


def test_a_query_goes_to_the_process_and_back(config):
    observation = adapter.observe(raw_observation(), "put it there")
    with policies.opened("openvla_oft", PolicyConfig(oft=config), SUITE) as policy:
        for _ in range(2):
            chunk = policy.predict(observation)
            expected = observation.proprio[:7] + np.arange(8)[:, None]
            np.testing.assert_allclose(chunk, expected, atol=1e-6)
            assert policy.get_stats()["inference_ms"] > 0
    assert policy._process.returncode == 0


def test_errors_of_the_process_are_passed_on(config, capfd):
    with pytest.raises(ChildProcessError, match="OpenVLA-OFT failed: OSError: no such checkpoint"):
        OpenVlaOft(changed(config, checkpoint="broken"), SUITE)
    with pytest.raises(ChildProcessError, match="action statistics for libero_spatial_no_noops, not for libero_goal"):
        OpenVlaOft(config, find_suite("libero_goal"))
    policy = OpenVlaOft(config, SUITE)
    with pytest.raises(ChildProcessError, match="CUDA out of memory"):
        policy.predict(adapter.observe(raw_observation(), "fail"))
    policy.close()
    assert "OpenVLA-OFT prints a lot" in capfd.readouterr().err


def test_a_killed_process_is_noticed(config):
    policy = OpenVlaOft(config, SUITE)
    policy._process.kill()
    with pytest.raises(ChildProcessError, match="the OpenVLA-OFT process ended with status -9"):
        policy.predict(adapter.observe(raw_observation(), "go on"))
    policy.close()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"python": None}, r"policy_config.oft.python=None: policy 'openvla_oft' runs in its own Python environment"),
        ({"root": None}, r"policy_config.oft.root=None: .* docs/libero.md"),
        ({"root": "/nowhere"}, "root='/nowhere' is no checkout of openvla-oft"),
        ({"python": "/nowhere/python"}, "python='/nowhere/python' is no file"),
    ],
)
def test_an_incomplete_configuration_says_how_to_complete_it(config, values, message):
    with pytest.raises(ValueError, match=message):
        worker_command(changed(config, **values), SUITE)


def test_checkpoints_go_with_suites(config):
    published = worker_command(config, find_suite("libero_10"))
    assert "moojink/openvla-7b-oft-finetuned-libero-10" in published
    with pytest.raises(ValueError, match="none is published for libero_90"):
        worker_command(config, find_suite("libero_90"))
    assert "mine" in worker_command(changed(config, checkpoint="mine"), find_suite("libero_90"))


def test_results_depend_on_the_checkpoint_and_not_on_where_the_environment_is(config):
    settings = policies.find_policy("openvla_oft").settings(PolicyConfig(oft=config), SUITE)
    assert settings == {"checkpoint": "moojink/openvla-7b-oft-finetuned-libero-spatial"}
    assert policies.find_policy("stub").settings(PolicyConfig(seed=3, oft=config), SUITE) == {"seed": 3}


def test_frames_carry_arrays_and_text():
    reader, writer = (os.fdopen(end, mode) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
    oft_worker.write_frame(writer, image=np.arange(6, dtype=np.uint8).reshape(1, 2, 3), text="你好")
    writer.close()
    frame = oft_worker.read_frame(reader)
    np.testing.assert_array_equal(frame["image"], np.arange(6).reshape(1, 2, 3))
    assert str(frame["text"]) == "你好"
    assert oft_worker.read_frame(reader) is None
    reader.close()
