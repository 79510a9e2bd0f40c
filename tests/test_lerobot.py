"""LeRobot's policies under the host executor: with a stand-in that needs nothing, and with tiny ones of the library."""

import importlib.util
import sys
import types

import numpy as np
import pytest

import rtc
from rtc.control.host import Request, Step
from rtc.control.host.lerobot import LerobotPolicy, problem_with_conditioning

CHUNK, DIM, OBS = 6, 2, 3
MEAN, STD = np.array([1.0, -2.0]), np.array([0.5, 2.0])


# --- a stand-in -----------------------------------------------------------------------------------------------


class FakeTensor(np.ndarray):
    """What the adapter asks of a tensor."""

    def detach(self):
        return self

    def float(self):
        return self.astype(np.float32)

    def cpu(self):
        return self

    def numpy(self):
        return np.asarray(self)


def tensor(array):
    return np.asarray(array, np.float32).view(FakeTensor)


class Shaped:
    """A policy with LeRobot's names: its chunk in normalised space says what it was told."""

    name = "shaped"

    def __init__(self, rtc_config=True):
        self.config = types.SimpleNamespace(
            chunk_size=CHUNK,
            action_feature=types.SimpleNamespace(shape=(DIM,)),
            rtc_config=types.SimpleNamespace(enabled=True) if rtc_config else None,
        )
        self.asked, self.resets = [], 0

    def supports_rtc(self):
        return True

    def init_rtc_processor(self):
        raise AssertionError("the user's to call")

    def reset(self):
        self.resets += 1

    def predict_action_chunk(self, batch, **conditions):
        self.asked.append((batch, conditions))
        return tensor(np.arange(CHUNK * DIM).reshape(1, CHUNK, DIM) / 10)


class Deaf(Shaped):
    """A policy that takes no conditions."""

    def predict_action_chunk(self, batch):
        return super().predict_action_chunk(batch)


class Plain(Deaf):
    """One without Real-Time Chunking."""

    def supports_rtc(self):
        return False


def normalise(batch):
    action = batch.get("action")
    return batch | {"action": None if action is None else tensor((action - MEAN) / STD), "seen": True}


def restore(chunk):
    return tensor(chunk * STD + MEAN)


@pytest.fixture
def seeds(monkeypatch):
    """Seeds that PyTorch's generator was given."""
    found = []
    fake = types.SimpleNamespace(as_tensor=tensor, manual_seed=found.append, Tensor=FakeTensor)
    monkeypatch.setitem(sys.modules, "torch", fake)
    return found


def wrapped(policy, **options):
    names = {"batch": lambda obs: {"observation.state": obs}, "preprocessor": normalise, "postprocessor": restore}
    return LerobotPolicy(policy, **names | options)


class Counter:
    """Ticks as observations."""

    max_ticks = 8

    def reset(self, seed):
        self.tick = 0
        return np.zeros(OBS)

    def step(self, action):
        self.tick += 1
        return Step(np.full(OBS, self.tick), terminated=self.tick >= 8)


def test_the_policy_is_told_delay_and_leftover_in_its_own_space(seeds):
    policy = Shaped()
    asked = wrapped(policy, execution_horizon=4)
    assert asked.spec.conditioning == ("planned_delay", "leftover")
    assert (asked.spec.chunk_size, asked.spec.action_dim, asked.spec.identity) == (CHUNK, DIM, "lerobot/shaped")
    leftover = np.arange(6.0).reshape(3, 2)
    reply = asked.infer(Request(np.ones(OBS), 7, 2, 1, 1, planned_delay=2, leftover=leftover))
    ((batch, told),) = policy.asked
    assert seeds == [7]
    assert batch["seen"]
    assert "action" not in batch
    assert told["inference_delay"] == 2
    assert told["execution_horizon"] == 4
    np.testing.assert_allclose(told["prev_chunk_left_over"], ((leftover - MEAN) / STD)[None])
    np.testing.assert_allclose(reply.chunk, np.arange(12).reshape(6, 2) / 10 * STD + MEAN, rtol=1e-6)


def test_an_unconditioned_query_has_no_conditions(seeds):
    policy = Shaped()
    asked = wrapped(policy, execution_horizon=4)
    asked.infer(Request(np.ones(OBS), 0, 0, 1, 1))
    asked.infer(Request(np.ones(OBS), 0, 0, 1, 1, planned_delay=1, leftover=np.zeros((0, DIM))))
    assert [told for _, told in policy.asked] == [{}, {}]


def test_under_the_executor_the_leftover_begins_at_the_launch(seeds):
    policy = Shaped()
    result = rtc.evaluate(env=Counter(), policy=wrapped(policy), method="conditioned", delay=2, episodes=1, max_ticks=8)
    assert policy.resets == 1
    told = [told for _, told in policy.asked[1:]]
    assert told[0]["prev_chunk_left_over"].shape == (1, CHUNK, DIM)  # the chunk before the first query, from its start
    np.testing.assert_allclose(told[0]["prev_chunk_left_over"][0, 0], [0, 0.1], atol=1e-6)
    # Launched two ticks later, when the first answer, of this query's tick -2, arrives: its entry 2 comes next.
    np.testing.assert_allclose(told[1]["prev_chunk_left_over"][0, 0], [0.4, 0.5], atol=1e-6)
    assert told[1]["prev_chunk_left_over"].shape == (1, CHUNK - 2, DIM)
    assert {one["inference_delay"] for one in told[1:]} == {2}
    assert len(result.queries) == len(told)


def test_a_policy_that_cannot_be_conditioned_says_why(seeds):
    assert problem_with_conditioning(Shaped()) is None
    for policy, message in (
        (Plain(), "it has no Real-Time Chunking .*: choose a method that needs only chunks"),
        (Deaf(), "its predict_action_chunk takes no inference_delay"),
        (
            Shaped(rtc_config=False),
            r"is off and would ignore them: .*rtc_config .*init_rtc_processor",
        ),
    ):
        asked = wrapped(policy)
        assert asked.spec.conditioning == ()
        assert asked.infer(Request(np.ones(OBS), 0, 0, 1, 1)).chunk.shape == (CHUNK, DIM)
        with pytest.raises(ValueError, match=f"cannot be conditioned: .*{message}"):
            wrapped(policy, conditioned=True)
        with pytest.raises(ValueError, match="execution_horizon=3 has no effect"):
            wrapped(policy, execution_horizon=3)
        with pytest.raises(ValueError, match=r"conditioning=\(\)"):
            rtc.evaluate(env=Counter(), policy=asked, method="conditioned", episodes=1)


def test_sizes_that_nobody_says_and_faulty_answers_are_errors(seeds):
    policy = Shaped()
    policy.config.chunk_size = None
    with pytest.raises(ValueError, match="chunk_size=None, and the policy's configuration does not say it"):
        wrapped(policy)
    assert wrapped(policy, chunk_size=3).spec.chunk_size == 3
    with pytest.raises(ValueError, match="execution_horizon=0"):
        wrapped(Shaped(), execution_horizon=0)
    request = Request(np.ones(OBS), 0, 0, 1, 1, planned_delay=1, leftover=np.zeros((3, DIM)))
    with pytest.raises(ValueError, match=r"made of 3 actions.* None, not \(1, 3, A\)"):
        wrapped(Shaped(), preprocessor=lambda batch: {"observation.state": 0}).infer(request)
    with pytest.raises(ValueError, match=r"shape \(6, 2\), not \(1, H, A\)"):
        wrapped(Shaped(), postprocessor=lambda chunk: chunk[0]).infer(request)


# --- tiny policies of the library -----------------------------------------------------------------------------

needs_lerobot = pytest.mark.skipif(
    importlib.util.find_spec("lerobot") is None or importlib.util.find_spec("transformers") is None,
    reason="LeRobot is not installed: pip install 'exp-delta[lerobot]', to run its policies",
)
SIDE = 16


class Camera:
    """A state and a picture, with LeRobot's names."""

    max_ticks = 6

    def reset(self, seed):
        self.rng, self.tick = np.random.default_rng(seed), 0
        return self.look()

    def step(self, action):
        assert action.shape == (DIM,)
        self.tick += 1
        return Step(self.look(), terminated=self.tick >= self.max_ticks)

    def look(self):
        picture = self.rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
        state = self.rng.standard_normal(OBS).astype(np.float32)
        return {"observation.state": state, "observation.images.top": picture}


def features():
    from lerobot.configs.types import FeatureType, PolicyFeature

    inputs = {
        "observation.state": PolicyFeature(FeatureType.STATE, (OBS,)),
        "observation.images.top": PolicyFeature(FeatureType.VISUAL, (3, SIDE, SIDE)),
    }
    return {"input_features": inputs, "output_features": {"action": PolicyFeature(FeatureType.ACTION, (DIM,))}}


def stats():
    import torch

    def of(mean, std):
        return {"mean": torch.tensor(mean, dtype=torch.float32), "std": torch.tensor(std, dtype=torch.float32)}

    return {"observation.state": of([0.0] * OBS, [1.0] * OBS), "action": of(MEAN, STD)}


@pytest.fixture(scope="module")
def smolvla(tmp_path_factory):
    """A SmolVLA with random weights, one layer and a vocabulary of its own, with its processors."""
    import torch
    from lerobot.configs.types import RTCAttentionSchedule
    from lerobot.policies.rtc.configuration_rtc import RTCConfig
    from lerobot.policies.smolvla import modeling_smolvla, processor_smolvla, smolvlm_with_expert
    from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, SmolVLMConfig

    folder = tmp_path_factory.mktemp("smolvlm")
    text = {
        "model_type": "llama", "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "vocab_size": 32,
        "num_attention_heads": 4, "num_key_value_heads": 4, "head_dim": 8, "pad_token_id": 0,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": SIDE, "patch_size": 8,
    }  # fmt: skip
    SmolVLMConfig(text_config=text, vision_config=vision, scale_factor=2, pad_token_id=0).save_pretrained(folder)
    words = {"[PAD]": 0, "[UNK]": 1, "<fake>": 2, "<global>": 3, "push": 4}
    spelled = Tokenizer(models.WordLevel(words, unk_token="[UNK]"))
    spelled.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=spelled, pad_token="[PAD]", unk_token="[UNK]")
    tokenizer.save_pretrained(folder)
    tokens = types.SimpleNamespace(fake_image_token_id=2, global_image_token_id=3)
    patch = pytest.MonkeyPatch()
    # The processor of pictures and text belongs to the hub's weights; of it, these two numbers are read.
    reader = types.SimpleNamespace(from_pretrained=lambda name: types.SimpleNamespace(tokenizer=tokens))
    patch.setattr(smolvlm_with_expert, "AutoProcessor", reader)
    config = SmolVLAConfig(
        **features(), chunk_size=CHUNK, n_action_steps=CHUNK, max_state_dim=8, max_action_dim=8, num_steps=3,
        resize_imgs_with_padding=(SIDE, SIDE), vlm_model_name=str(folder), num_vlm_layers=2, tokenizer_max_length=8,
        expert_width_multiplier=1.0, device="cpu",
        rtc_config=RTCConfig(execution_horizon=4, prefix_attention_schedule=RTCAttentionSchedule.ONES),
    )  # fmt: skip
    torch.manual_seed(0)
    policy = modeling_smolvla.SmolVLAPolicy(config)
    yield policy, *processor_smolvla.make_smolvla_pre_post_processors(config, stats())
    patch.undo()


def of(library, **options):
    policy, before, after = library
    return LerobotPolicy(policy, preprocessor=before, postprocessor=after, task="push", **options)


@needs_lerobot
def test_a_smolvla_is_pulled_towards_what_is_left_over(smolvla):
    asked, obs = of(smolvla), Camera().reset(0)
    assert asked.spec.conditioning == ("planned_delay", "leftover")
    free = asked.infer(Request(obs, 5, 0, 1, 1)).chunk
    np.testing.assert_array_equal(free, asked.infer(Request(obs, 5, 0, 1, 1)).chunk)
    assert (free != asked.infer(Request(obs, 6, 0, 1, 1)).chunk).any()
    leftover = (free + 3 * STD).astype(np.float32)[:5]
    joined = asked.infer(Request(obs, 5, 4, 1, 1, planned_delay=2, leftover=leftover)).chunk
    assert joined.shape == (CHUNK, DIM)
    before, after = (np.abs((chunk[:4] - leftover[:4]) / STD).mean() for chunk in (free, joined))
    assert after < before / 2
    # The window ends where it is told to.
    short = of(smolvla, execution_horizon=1).infer(Request(obs, 5, 4, 1, 1, planned_delay=1, leftover=leftover)).chunk
    assert np.abs((short[1:4] - leftover[1:4]) / STD).mean() > after


@needs_lerobot
def test_what_is_left_over_is_the_chunk_in_the_policys_own_space(smolvla, monkeypatch):
    policy, obs = smolvla[0], Camera().reset(0)
    seen = []

    def predict(batch, **conditions):
        chunk = original(batch, **conditions)
        seen.append((chunk, conditions))
        return chunk

    original = policy.predict_action_chunk
    monkeypatch.setattr(policy, "predict_action_chunk", predict)
    asked = of(smolvla)
    first = asked.infer(Request(obs, 5, 0, 1, 1)).chunk
    asked.infer(Request(obs, 6, 2, 1, 1, planned_delay=1, leftover=first[2:]))
    (own, _), (_, told) = seen
    assert told["inference_delay"] == 1
    np.testing.assert_allclose(told["prev_chunk_left_over"].numpy(), own.numpy()[:, 2:], atol=1e-5)


@needs_lerobot
def test_a_smolvla_runs_under_the_executor(smolvla):
    results = [
        rtc.evaluate(env=Camera(), policy=of(smolvla), method=method, delay=1, episodes=2)
        for method in ("naive", "conditioned", "conditioned")
    ]
    actions = [result.records.actions for result in results]
    np.testing.assert_array_equal(actions[1], actions[2])
    assert (actions[0] != actions[1]).any()


@needs_lerobot
def test_an_act_gives_chunks_and_cannot_be_conditioned():
    import torch
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy
    from lerobot.policies.act.processor_act import make_act_pre_post_processors

    inputs = {name: feature for name, feature in features()["input_features"].items() if "image" not in name}
    environment = inputs["observation.state"].__class__
    inputs["observation.environment_state"] = environment(type(inputs["observation.state"].type).ENV, (OBS,))
    config = ACTConfig(
        input_features=inputs, output_features=features()["output_features"], chunk_size=CHUNK, n_action_steps=CHUNK,
        dim_model=16, n_heads=2, dim_feedforward=16, n_encoder_layers=1, n_decoder_layers=1, n_vae_encoder_layers=1,
        latent_dim=4, use_vae=False, device="cpu",
    )  # fmt: skip
    torch.manual_seed(0)
    library = (ACTPolicy(config), *make_act_pre_post_processors(config, stats()))

    def batch(obs):
        return {name: torch.tensor(obs, dtype=torch.float32)[None] for name in inputs}

    asked = of(library, batch=batch)
    assert asked.spec.conditioning == ()
    assert rtc.evaluate(env=Counter(), policy=asked, method="synchronous", delay=1, episodes=1).records.length[0] == 8
    with pytest.raises(ValueError, match=r"ACTPolicy cannot be conditioned: it has no Real-Time Chunking"):
        of(library, batch=batch, conditioned=True)
