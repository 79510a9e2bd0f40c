"""FAST tokens: the transform, the encoding, policies of sequences, and decoding."""

import dataclasses
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
from flax import nnx

from rtc.control import executor
from rtc.control.controller import ExecutionConfig, make_controller
from rtc.control.records import NEVER
from rtc.delay import sampling
from rtc.delay.estimators import EstimatorConfig
from rtc.delay.profiles import DelayProfileConfig
from rtc.methods.decode_sequence import decode_sequence
from rtc.policies.tokens import checkpoints, fast, sequence, sequence_checkpoints
from rtc.policies.tokens.engine import Prompt
from rtc.policies.tokens.fast import FastConfig, FastTokenizer
from rtc.policies.tokens.rules import Exact, Greedy
from rtc.policies.tokens.sequence import SequenceModelConfig, SequencePolicy
from rtc.policies.tokens.sequence_agent import SequenceAgent
from rtc.study import identity, sequences, tokens
from rtc.study.costs import example_query
from rtc.study.evaluation import EvalConfig
from rtc.study.sequences import SequenceDecoding
from rtc.training import fast as training
from rtc.training import token_data
from rtc.training.fast import EncodingConfig
from rtc.training.trainer import FitConfig
from rtc.worlds.kinetix import levels
from stubs import SmoothEnv
from token_world import demonstrations_of

pytest.importorskip("tokenizers", reason="FAST tokens are learned with pip install 'exp-delta[fast]'")

H, A = 4, 6
SMALL = SequenceModelConfig(dim=8, depth=1, num_heads=2, obs_hidden_dim=8, simulated_delay=2)


def smooth_chunks(number=200, seed=0):
    """Chunks as of smooth motions: the second dimension hardly moves, the third never."""
    rng = np.random.default_rng(seed)
    ticks = np.arange(H) / H
    chunks = np.sin(rng.uniform(0, 6, (number, 1, A)) + ticks[:, None] * rng.uniform(-2, 2, (number, 1, A)))
    return chunks * np.array([1, 0.01, 0, 1, 1, 1]) + np.array([0, 0, 0.5, 0, 0, 0])


@pytest.fixture(scope="module")
def encoder():
    return training.learn(smooth_chunks(), EncodingConfig(scale=10.0, vocabulary=160))


def table(pieces, chunk_size=2, action_dim=2):
    """A tokenizer with these tokens."""
    longest = max(map(len, pieces))
    tokenizer = FastTokenizer(FastConfig(chunk_size, action_dim, len(pieces), longest, scale=1.0))
    tokenizer.pieces[...] = jnp.int32([[*piece, *[0] * (longest - len(piece))] for piece in pieces])
    tokenizer.lengths[...] = jnp.int32([len(piece) for piece in pieces])
    return tokenizer


# --- transform and encoding -----------------------------------------------------------------------------------


def test_coefficients_are_rounded_and_the_lowest_frequencies_come_first():
    chunk = np.array([[[1.0, -0.5], [1.0, 0.5]]])
    found = fast.rounded(chunk, np.zeros(2), np.ones(2), 10.0)
    np.testing.assert_array_equal(found, [[14, 0, 0, -7]])  # √2·10 and 0 of frequency 0, then 0 and -10/√2
    matrix = fast.transform(5)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(5), atol=1e-12)
    column = np.random.default_rng(0).standard_normal(5)
    np.testing.assert_allclose(matrix @ column, scipy.fft.dct(column, norm="ortho"))


def test_ranges_are_quantiles_and_what_hardly_moves_is_not_blown_up():
    chunks = smooth_chunks()
    chunks[0, 0, 0] = 1000.0  # an outlier has no part in the range
    centre, half = fast.ranges(chunks)
    assert half[0] == pytest.approx(1, abs=0.05)
    assert half[1] == half[2] == fast.LEAST_HALF_RANGE
    assert centre[2] == pytest.approx(0.5)


def test_the_encoding_is_lossless_and_the_round_trip_within_the_bound_of_rounding(encoder):
    fresh = smooth_chunks(50, seed=1)
    tokens = encoder.encode(fresh)
    assert len({len(one) for one in tokens}) > 1  # no fixed length
    assert np.mean([len(one) for one in tokens]) < 0.8 * H * A  # and shorter than coefficients
    found, filled = training.padded(tokens, np.asarray(encoder.tokenizer.lengths[...]))
    count = jnp.asarray((found >= 0).sum(1))
    padded = jnp.asarray(np.maximum(found, 0))
    assert bool(encoder.tokenizer.is_valid(padded, count).all())
    half = np.asarray(encoder.tokenizer.half_range[...])
    coefficients = fast.rounded(fresh, np.asarray(encoder.tokenizer.centre[...]), half, 10.0)
    clipped = np.clip(coefficients, encoder.first, encoder.last)
    np.testing.assert_array_equal(encoder.tokenizer.coefficients(padded, count), clipped)
    bound = encoder.tokenizer.config.largest_error * half
    inside = (coefficients == clipped).all(1)
    assert inside.mean() > 0.8
    error = np.abs(np.asarray(encoder.tokenizer.decode(padded, count)) - fresh)[inside]
    assert (error <= bound + 1e-5).all()
    assert error.max() > 0.2 * bound.max()
    assert filled[0, 0] == 0
    assert filled[found >= 0].max() < H * A


def test_common_sequences_become_one_token():
    chunks = np.tile(np.array([[[0.3, -0.2]] * 4]), (20, 1, 1))
    encoder = training.learn(chunks, EncodingConfig(vocabulary=64))
    assert encoder.encode(chunks[:1]) == encoder.encode(chunks[1:2])
    assert len(encoder.encode(chunks[:1])[0]) == 1
    assert encoder.tokenizer.config.longest == 8
    assert encoder.tokenizer.config.usual_length == 1


def test_a_vocabulary_needs_room_for_single_coefficients():
    with pytest.raises(ValueError, match=r"vocabulary=8 is smaller than the \d+ values"):
        training.learn(smooth_chunks(), EncodingConfig(vocabulary=8))
    with pytest.raises(ValueError, match="scale"):
        EncodingConfig(scale=0.0)


def test_sequences_of_another_length_are_invalid_and_decode_as_zeros():
    tokenizer = table([[1], [2, 3], [4, 5, 6]])
    tokenizer.centre[...], tokenizer.half_range[...] = jnp.array([0.5, -0.5]), jnp.array([2.0, 1.0])
    tokens = jnp.array([[1, 1, 0, 0], [2, 0, 2, 2], [2, 2, 0, 0], [0, 0, 0, 0]])
    count = jnp.array([2, 2, 2, 3])
    assert tokenizer.is_valid(tokens, count).tolist() == [True, True, False, False]
    found = tokenizer.coefficients(tokens, count)
    np.testing.assert_array_equal(found, [[2, 3, 2, 3], [4, 5, 6, 1], [0] * 4, [0] * 4])
    chunk = tokenizer.decode(tokens, count)
    np.testing.assert_allclose(chunk[2], [[0.5, -0.5]] * 2)
    expected = scipy.fft.idct(np.array([[2.0, 3], [2, 3]]), norm="ortho", axis=0) * [2, 1] + [0.5, -0.5]
    np.testing.assert_allclose(chunk[0], expected, atol=1e-5)


# --- policies and decoding ------------------------------------------------------------------------------------

PIECES = [[1], [2, 3], [4, 5, 6], [7]]
BATCH = 3000


@pytest.fixture(scope="module")
def small():
    """A tokenizer of four tokens, a policy of random weights, and a batch of queries."""
    tokenizer = table(PIECES)
    policy = SequencePolicy(obs_dim=5, tokens=tokenizer.config, config=SMALL, rngs=nnx.Rngs(0))
    obs = jnp.asarray(np.random.default_rng(0).standard_normal((BATCH, 5), np.float32))
    return tokenizer, policy, Prompt(obs, jnp.ones((BATCH, 2, 2)), jnp.zeros(BATCH, jnp.int32))


def preferring(policy, probabilities):
    """The policy with these probabilities of tokens, whatever came before."""
    same = nnx.clone(policy)
    same.head.kernel[...] = jnp.zeros_like(policy.head.kernel[...])
    same.head.bias[...] = jnp.log(jnp.asarray(probabilities) + 1e-9)
    return same


@jax.jit
def drawn(policy, tokenizer, prompt):
    keys = jax.random.split(jax.random.key(1), len(prompt.obs))
    return sequence.decode(keys, policy, tokenizer, prompt, Exact())


def test_passes_with_a_cache_are_one_pass_over_the_whole_sequence(small):
    _, policy, prompt = small
    prompt = jax.tree.map(lambda leaf: leaf[:2], prompt)
    tokens = jnp.array([[0, 1, 3, 0], [3, 0, 0, 3]])
    filled = jnp.array([[0, 1, 3, 3], [0, 1, 2, 3]])

    @jax.jit
    def in_passes(tokens):
        context, cache, previous, found = policy.context(prompt), policy.start(2), jnp.full(2, 4), []
        for number in range(4):
            logits, cache = policy.step(context, previous, filled[:, number], jnp.int32(number), cache)
            previous = tokens[:, number]
            found.append(logits)
        return jnp.stack(found, 1)

    whole = jax.jit(lambda tokens: policy.logits(policy.context(prompt), tokens, filled))
    np.testing.assert_allclose(in_passes(tokens), whole(tokens), atol=1e-5)
    other = whole(tokens.at[:, 2].set(1))
    np.testing.assert_allclose(other[:, :3], whole(tokens)[:, :3], atol=1e-6)  # nothing is seen before its turn
    assert np.abs(np.asarray(other - whole(tokens))[:, 3]).max() > 1e-6


def test_decoding_ends_when_the_coefficients_of_a_chunk_are_there(small):
    tokenizer, policy, prompt = small
    for token, passes, valid in ((0, 4, True), (1, 2, True), (2, 2, False)):
        found = drawn(preferring(policy, np.eye(4)[token]), tokenizer, prompt)
        assert (np.asarray(found.passes) == passes).all()
        assert (np.asarray(found.valid) == valid).all()
        assert (np.asarray(found.tokens)[:, :passes] == token).all()


def test_rows_end_on_their_own_and_drawn_tokens_have_the_policys_law(small):
    tokenizer, policy, prompt = small
    found = drawn(preferring(policy, [0.75, 0, 0.25, 0]), tokenizer, prompt)  # tokens of one and of three coefficients
    law = {2: 0.25 + 0.75 * 0.25, 3: 0.75**2 * 0.25, 4: 0.75**3}
    for count, probability in law.items():
        assert np.mean(np.asarray(found.passes) == count) == pytest.approx(probability, abs=0.04)
    exactly_four = 0.75**4 + 2 * 0.25 * 0.75
    assert np.mean(np.asarray(found.valid)) == pytest.approx(exactly_four, abs=0.04)


def test_the_delay_follows_the_passes_and_committed_actions_stay(small):
    tokenizer, policy, _ = small
    agent = SequenceAgent(tokenizer, preferring(policy, [1, 0, 0, 0]), jnp.array([True, False]))
    query = example_query(agent, jnp.ones((1, 5)), 1)
    query = query._replace(leftover=jnp.full_like(query.leftover, 9.0))

    @jax.jit
    def ask(method):
        return method.answer(agent, query, (), jnp.full(1, 7), 1)[0]

    answer = ask(decode_sequence(Greedy(), pass_ticks=0.75, overhead_ticks=0.1))
    assert answer.steps.tolist() == [4]
    assert answer.delay.tolist() == [4]  # 0.1 + 4 · 0.75, rounded up
    np.testing.assert_array_equal(answer.chunk[0, 0], [9, 9])
    assert answer.chunk[0, 1, 1] == 0  # a motor that drives nothing
    plain = decode_sequence(Greedy(), conditioned=False)
    answer = ask(plain)
    assert answer.delay.tolist() == [7]
    np.testing.assert_allclose(answer.chunk, jax.jit(SequenceAgent.first_chunk)(agent, query.obs))
    assert plain.problem(policy).startswith("needs a SequenceAgent, and this one is SequencePolicy")
    assert plain.problem(agent) is None


def test_on_a_level_it_is_what_was_trained_there(monkeypatch, tmp_path):
    level = types.SimpleNamespace(name="reach", sha256="1" * 64, bound_actions=np.arange(6) < 4)
    monkeypatch.setattr(tokens, "observed", lambda path: (level, None))
    monkeypatch.setattr(levels, "varying_observation_entries", lambda level: np.array([0, 2, 3, 4, 6]))
    tokenizer, policy = sequences.files(tmp_path, "reach")
    small = table(PIECES, chunk_size=2, action_dim=6)
    model = SequencePolicy(obs_dim=5, tokens=small.config, config=SMALL, rngs=nnx.Rngs(0))
    sequence_checkpoints.save_tokenizer(tokenizer, small, "{}", {})
    facts = {"level": "reach", "level_sha256": level.sha256, "tokenizer_sha256": checkpoints.sha256(tokenizer)}
    sequence_checkpoints.save_policy(policy, model, facts | {"entries": [0, 2, 3, 4, 6]})
    subject = sequences.load(str(tmp_path), SequenceDecoding(), "reach")
    inputs = subject.inputs(EvalConfig(), 0)
    assert inputs["code"] != identity.token_code(EvalConfig())
    assert inputs["checkpoint_sha256"] == "+".join(map(checkpoints.sha256, (tokenizer, policy)))
    assert subject.chunk_size == 2
    np.testing.assert_array_equal(subject.agent.bound, level.bound_actions)
    sequence_checkpoints.save_policy(policy, model, facts | {"entries": [0]})
    sequences.load.cache_clear()
    with pytest.raises(ValueError, match="reads other entries of the observation than vary in reach"):
        sequences.load(str(tmp_path), SequenceDecoding(), "reach")


def test_the_batched_executor_delays_every_query_by_its_passes():
    tokenizer = table(PIECES, chunk_size=2, action_dim=6)
    policy = SequencePolicy(obs_dim=7, tokens=tokenizer.config, config=SMALL, rngs=nnx.Rngs(0))
    agent = SequenceAgent(tokenizer, policy, jnp.ones(6, bool))
    process, estimator = sampling.make_process(DelayProfileConfig()), EstimatorConfig(initial=1).make()
    method = decode_sequence(Exact(), pass_ticks=0.3)
    rules = make_controller(method, process, estimator, ExecutionConfig())
    records = executor.rollout(SmoothEnv(), agent, rules, seed=0, episodes=np.arange(3), num_steps=1, num_slots=2)
    launched = records.delay != NEVER
    passes = records.steps[launched]
    np.testing.assert_array_equal(records.delay[launched], np.ceil(0.3 * passes - 1e-4))
    assert len(np.unique(passes)) > 2
    assert passes.min() >= 4  # twelve coefficients, of which a token has three at most


# --- training -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with a tokenizer and a policy of few demonstrations, learned by heart."""
    folder = tmp_path_factory.mktemp("fast")
    demos = demonstrations_of(num_episodes=4, length=5)
    chunks = token_data.of_world(demos, np.ones(6, bool), held_out=0.01)
    chunks = chunks._replace(training=np.tile(chunks.training, 50))
    tokenizer = folder / "fast_tokenizer" / "policies" / "tokenizer"
    training.train_tokenizer(chunks, H, EncodingConfig(vocabulary=128), tokenizer, {"note": 1})
    config = FitConfig(num_epochs=4, batch_size=15, warmup_steps=5, learning_rate=2e-2, ema_decay=0.0)
    sizes = dataclasses.replace(SMALL, dim=16, obs_hidden_dim=32, simulated_delay=1)
    path = folder / "fast" / "policies" / "one"
    training.train_policy(demos, chunks, tokenizer, sizes, config, path, {"level": "one"})
    return demos, chunks, tokenizer, path, config, sizes


def test_a_policy_that_knows_its_data_by_heart_gives_their_chunks(trained):
    demos, chunks, tokenizer_path, path, *_ = trained
    tokenizer, policy = sequence_checkpoints.load_tokenizer(tokenizer_path), sequence_checkpoints.load_policy(path)
    start = jnp.asarray(np.unique(chunks.training))
    want = np.asarray(chunks.at(start, H))
    agent = SequenceAgent(tokenizer, policy, jnp.ones(6, bool))
    found = np.asarray(jax.jit(SequenceAgent.first_chunk)(agent, jnp.asarray(demos.obs)[start]))
    bound = tokenizer.config.largest_error * np.asarray(tokenizer.half_range[...])
    assert (np.abs(found - want) <= bound + 1e-5).all((1, 2)).mean() > 0.9
    facts = checkpoints.facts(path)
    assert facts["training"]["num_epochs"] == 4
    assert facts["accuracy"] > 0.9
    assert checkpoints.facts(tokenizer_path)["note"] == 1


def test_finished_checkpoints_are_kept_and_belong_together(trained, tmp_path):
    demos, chunks, tokenizer_path, path, config, sizes = trained
    again = training.train_policy(demos, chunks, tokenizer_path, sizes, config, path, {})
    kept = sequence_checkpoints.load_policy(path)
    jax.tree.map(np.testing.assert_array_equal, nnx.state(again), nnx.state(kept))
    other = tmp_path / "fast_tokenizer" / "policies" / "tokenizer"
    training.train_tokenizer(chunks, H, EncodingConfig(vocabulary=100), other, {})
    with pytest.raises(ValueError, match="was trained on the tokens of another tokenizer"):
        training.train_policy(demos, chunks, other, sizes, config, path, {})
    encoder = training.load_encoder(tokenizer_path)
    want = np.asarray(chunks.at(jnp.arange(3), H))
    assert encoder.encode(want) == training.train_tokenizer(chunks, H, EncodingConfig(), tokenizer_path, {}).encode(
        want
    )
    with pytest.raises(ValueError, match="does not describe a sequence policy but a FAST tokenizer"):
        sequence_checkpoints.load_policy(tokenizer_path)
    with pytest.raises(ValueError, match="does not describe a tokenizer but a FAST tokenizer"):
        checkpoints.load_tokenizer(tokenizer_path)


def test_the_library_is_named_where_it_is_missing(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(training.importlib, "import_module", missing)
    with pytest.raises(ValueError, match=r"FAST tokens need the package tokenizers: .*'exp-delta\[fast\]'"):
        training.library()
