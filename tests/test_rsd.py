"""RSD's token policies, and that speculative decoding keeps the main model's law."""

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import log_softmax, softmax

from rtc.policies.tokens import engine
from rtc.policies.tokens.engine import Prompt
from rtc.policies.tokens.policy import TokenModelConfig, TokenPolicy
from rtc.policies.tokens.rfsq import Tokenizer, TokenizerConfig
from rtc.policies.tokens.rules import ActionDistance, Exact, Greedy, IndexDistance

# Three values per token and one token per layer: all 81 sequences of four layers can be enumerated.
TOY = TokenizerConfig(action_chunk_size=3, action_dim=2, latent_dim=1, num_layers=4, tokens_per_layer=1, hidden_dim=8)
BLOCKS = (1, 1, 2)
SAMPLES, ROWS = 20_000, 200  # batches of one size share their programs


# --- policies -----------------------------------------------------------------------------------------------


@functools.cache
def toy_policy(seed, blocks=BLOCKS, sharpness=1.0):
    """A policy with large random weights, whose distributions depend on everything that they may depend on."""
    config = TokenModelConfig(blocks=blocks, dim=8, depth=2, num_heads=2, obs_hidden_dim=8, simulated_delay=2)
    policy = with_random_weights(TOY, config, seed, 0.7)
    policy.embedding[...] = 4 * policy.embedding[...]
    policy.head.kernel[...] = sharpness * policy.head.kernel[...]
    policy.head.bias[...] = 0 * policy.head.bias[...]
    return policy


def with_random_weights(tokens, config, seed, scale):
    graph, state = nnx.split(
        nnx.eval_shape(lambda: TokenPolicy(obs_dim=3, tokens=tokens, config=config, rngs=nnx.Rngs(0)))
    )
    rng = np.random.default_rng(seed)
    weights = jax.tree.map(lambda x: jnp.asarray(scale * rng.standard_normal(x.shape, np.float32)), state)
    return nnx.merge(graph, weights)


@functools.partial(jax.jit, static_argnames="num_blocks")
def logits_of(policy, query, tokens, num_blocks=None):
    """One pass, given all tokens."""
    return policy.logits(policy.context(*query), tokens, num_blocks)


@jax.jit
def context_of(policy, query):
    return policy.context(*query)


def toy_query(batch, prefix=1):
    obs = jnp.array([0.3, -1.0, 0.5])
    committed = jnp.arange(6.0).reshape(3, 2) / 6
    return Prompt(
        jnp.broadcast_to(obs, (batch, 3)),
        jnp.broadcast_to(committed, (batch, 3, 2)),
        jnp.full(batch, prefix, jnp.int32),
    )


def keys(batch, seed=0):
    return jax.random.split(jax.random.key(seed), batch)


SEQUENCES = np.array(list(itertools.product(range(3), repeat=4)))


def exact_law(policy):
    """Probability of each of the 81 sequences: one teacher-forced pass."""
    return sequence_law(logits_of(policy, toy_query(81), SEQUENCES[:, :, None]), SEQUENCES[:, :, None])


def sequence_law(logits, tokens):
    """The probability of each row's tokens."""
    chosen = np.take_along_axis(log_softmax(np.asarray(logits), axis=-1), tokens[..., None], -1)
    return np.exp(chosen.sum((1, 2, 3)))


def test_the_law_is_a_law_and_depends_on_the_blocks_before():
    law = exact_law(toy_policy(2)).reshape(3, 3, 9)
    assert law.sum() == pytest.approx(1, abs=1e-5)
    conditional = law / law.sum(-1, keepdims=True)
    assert np.abs(conditional[0, 0] - conditional[1, 2]).max() > 0.05


def test_a_pass_is_block_causal():
    """Tokens of a block and of later ones change nothing in its logits; earlier ones do."""
    policy, query = toy_policy(2), toy_query(1)
    tokens = jnp.zeros((1, 4, 1), jnp.int32)
    before = logits_of(policy, query, tokens)
    for layer, first_changed in [(0, 1), (1, 2), (2, 4), (3, 4)]:
        after = logits_of(policy, query, tokens.at[:, layer].set(2))
        np.testing.assert_array_equal(before[:, :first_changed], after[:, :first_changed])
        assert first_changed == 4 or float(jnp.abs(before - after)[:, first_changed].max()) > 1e-3
    short = logits_of(policy, query, tokens, 2)
    np.testing.assert_allclose(short, before[:, :2], atol=1e-6)


def test_only_the_committed_actions_are_read():
    policy, query = toy_policy(2), toy_query(1, prefix=1)
    context = context_of(policy, query)
    later = query._replace(committed=query.committed.at[:, 1:].add(1.0))
    np.testing.assert_array_equal(context, context_of(policy, later))
    first = query._replace(committed=query.committed.at[:, :1].add(1.0))
    assert float(jnp.abs(context - context_of(policy, first)).max()) > 1e-3
    more = query._replace(prefix=query.prefix + 1)
    assert float(jnp.abs(context - context_of(policy, more)).max()) > 1e-3


def test_policy_config_is_checked():
    with pytest.raises(ValueError, match="blocks"):
        TokenModelConfig(blocks=())
    with pytest.raises(ValueError, match="num_heads=3 must divide dim=64"):
        TokenModelConfig(num_heads=3)
    with pytest.raises(ValueError, match="hold 9 layers, the tokenizer has 8"):
        TokenPolicy(obs_dim=3, tokens=TokenizerConfig(), config=TokenModelConfig(blocks=(9,)), rngs=nnx.Rngs(0))


# --- decoding -----------------------------------------------------------------------------------------------


@functools.partial(jax.jit, static_argnames="batch")
def speculative(key, main, draft, rule, max_passes, batch):
    return engine.speculative(jax.random.split(key, batch), main, draft, toy_query(batch), rule, max_passes)


@functools.partial(jax.jit, static_argnames="batch")
def autoregressive(key, main, rule, batch):
    return engine.autoregressive(jax.random.split(key, batch), main, toy_query(batch), rule)


@jax.jit
def decode(key, main, draft, query, rule, max_passes=10):
    return engine.speculative(key, main, draft, query, rule, max_passes)


@jax.jit
def decode_plainly(key, main, query, rule):
    return engine.autoregressive(key, main, query, rule)


@jax.jit
def proposals_of(key, main, draft, query, rule):
    progress = engine.start(main, draft, len(query.obs))
    return engine.propose(key, draft, draft.context(*query), progress, rule)[0].decoded.tokens[:, :2]


def total_variation(tokens, law):
    index = np.asarray(tokens)[:, :, 0] @ np.array([27, 9, 3, 1])
    return 0.5 * np.abs(np.bincount(index, minlength=81) / len(index) - law).sum()


def sampling_error(law):
    """Total variation that a sample of this size has by chance: its mean, with room for five standard deviations."""
    deviation = np.sqrt(law * (1 - law) / SAMPLES)
    return 0.5 * deviation.sum() * np.sqrt(2 / np.pi) + 5 * 0.5 * np.sqrt((deviation**2).sum())


@pytest.mark.parametrize("sharpness", [0.3, 1.0, 30.0], ids=["soft draft", "draft", "adversarial draft"])
def test_speculative_samples_have_the_main_models_law(sharpness):
    main, draft = toy_policy(2), toy_policy(10, blocks=(1, 1), sharpness=sharpness)
    law = exact_law(main)
    decoded = speculative(jax.random.key(3), main, draft, Exact(), 10, SAMPLES)
    assert total_variation(decoded.tokens, law) < sampling_error(law)
    # The test can fail: the draft's own law is far from it.
    plain = autoregressive(jax.random.key(4), main, Exact(), SAMPLES)
    assert total_variation(plain.tokens, law) < sampling_error(law)
    proposals = proposals_of(keys(SAMPLES), main, draft, toy_query(SAMPLES), Exact())
    coarse = np.bincount(np.asarray(proposals)[:, :, 0] @ np.array([3, 1]), minlength=9) / SAMPLES
    assert 0.5 * np.abs(coarse - law.reshape(9, 9).sum(1)).sum() > 3 * sampling_error(law)


def test_passes_are_all_blocks_less_those_that_were_accepted():
    main, draft = toy_policy(2), toy_policy(10, blocks=(1, 1))
    decoded = speculative(jax.random.key(3), main, draft, Exact(), 10, SAMPLES)
    # Whatever is proposed is counted until it is accepted or corrected: once per block.
    assert np.asarray(decoded.proposed).max() == 1
    accepted = np.asarray(decoded.accepted).sum((1, 2))
    np.testing.assert_array_equal(decoded.passes, 3 - accepted)
    assert set(np.unique(decoded.passes)) == {1, 2, 3}
    np.testing.assert_array_equal(decoded.depth, 4)


def test_acceptance_is_one_less_the_distance_of_the_laws():
    main, draft = toy_policy(2), toy_policy(10, blocks=(1, 1))
    decoded = speculative(jax.random.key(3), main, draft, Exact(), 10, SAMPLES)
    query, tokens = toy_query(1), jnp.zeros((1, 4, 1), jnp.int32)
    p, q = (softmax(np.asarray(logits_of(model, query, tokens))[0, 0, 0]) for model in (main, draft))
    expected = np.minimum(p, q).sum()
    assert np.asarray(decoded.accepted)[:, 0, 0].mean() == pytest.approx(expected, abs=0.01)


def twin(main):
    """The main model itself, as a draft of its leading blocks."""
    config = dataclasses.replace(main.config, blocks=main.config.blocks[:-1])
    draft = nnx.clone(main)
    draft.config = config
    return draft


def test_the_main_model_as_its_own_draft_is_accepted_in_one_pass():
    main = toy_policy(2)
    for rule, batch in ((Exact(), SAMPLES), (Greedy(), ROWS)):
        decoded = speculative(jax.random.key(3), main, twin(main), rule, 10, batch)
        np.testing.assert_array_equal(decoded.passes, 1)
        np.testing.assert_array_equal(decoded.drafts, 2)


def opposite(main):
    """A draft whose favourite is always the token that the main model likes least."""
    draft = nnx.clone(twin(main))
    draft.head.kernel[...] = -50 * draft.head.kernel[...]
    return draft


def test_an_adversarial_draft_costs_the_most_passes_and_changes_nothing():
    main = toy_policy(2, sharpness=20.0)
    decoded = speculative(jax.random.key(3), main, opposite(main), Greedy(), 10, ROWS)
    np.testing.assert_array_equal(decoded.passes, 3)
    np.testing.assert_array_equal(decoded.tokens, autoregressive(jax.random.key(0), main, Greedy(), ROWS).tokens)
    law = exact_law(main)
    sampled = speculative(jax.random.key(3), main, opposite(main), Exact(), 10, SAMPLES)
    assert float(np.asarray(sampled.passes).mean()) > 2.9
    assert total_variation(sampled.tokens, law) < sampling_error(law)


def many_queries(batch=ROWS):
    rng = np.random.default_rng(5)
    obs = jnp.asarray(2 * rng.standard_normal((batch, 3)), jnp.float32)
    committed = jnp.asarray(rng.uniform(-1, 1, (batch, 3, 2)), jnp.float32)
    return Prompt(obs, committed, jnp.asarray(rng.integers(0, 2, batch), jnp.int32))


def test_greedy_speculation_is_greedy_autoregression_token_for_token():
    main, draft, query = toy_policy(2), toy_policy(10, blocks=(1, 1)), many_queries()
    decoded = decode(keys(ROWS), main, draft, query, Greedy())
    plain = decode_plainly(keys(ROWS, 9), main, query, Greedy())
    np.testing.assert_array_equal(decoded.tokens, plain.tokens)
    assert len(np.unique(np.asarray(plain.tokens)[:, :, 0], axis=0)) > 5
    assert set(np.unique(decoded.passes)) == {1, 2, 3}


def test_a_row_does_not_depend_on_the_others():
    main, draft, query = toy_policy(2), toy_policy(10, blocks=(1, 1)), many_queries()
    together = decode(keys(ROWS), main, draft, query, Exact())
    fast = np.flatnonzero(np.asarray(together.passes) == 1)
    slow = np.flatnonzero(np.asarray(together.passes) == 3)
    assert len(fast) > 5
    assert len(slow) > 5
    for rows in (fast, slow):  # each among its like only: fewer rounds for all, or no row that waits
        again = np.resize(rows, ROWS)
        alone = decode(keys(ROWS)[again], main, draft, jax.tree.map(lambda x, a=again: x[a], query), Exact())
        for field in ("tokens", "passes", "drafts", "accepted"):
            np.testing.assert_array_equal(getattr(together, field)[again], getattr(alone, field))


def test_a_deadline_commits_what_is_final():
    main, draft, query = toy_policy(2), toy_policy(10, blocks=(1, 1)), many_queries()
    full = decode(keys(ROWS), main, draft, query, Greedy())
    cut = decode(keys(ROWS), main, draft, query, Greedy(), max_passes=1)
    assert set(np.unique(cut.depth)) == {1, 2, 4}
    np.testing.assert_array_equal(cut.passes, 1)
    for row, depth in enumerate(np.asarray(cut.depth)):
        np.testing.assert_array_equal(cut.tokens[row, :depth], full.tokens[row, :depth])
    late = np.asarray(full.passes) > 1
    assert (np.asarray(cut.depth)[late] < 4).all()


@functools.cache
def tokenizer():
    return Tokenizer(TOY, nnx.Rngs(0))


def middling_tolerance(model):
    """Some of the first layer's tokens decode to actions closer than this, some do not."""
    chunks = model.decode(jnp.zeros((3, 4, 1), jnp.int32).at[:, 0, 0].set(jnp.arange(3)), 1)
    apart = [float(jnp.abs(chunks[i] - chunks[j]).max()) for i, j in [(0, 1), (1, 2), (0, 2)]]
    return (sorted(apart)[1] + sorted(apart)[2]) / 2


def test_relaxed_rules_between_greedy_and_draft():
    main, draft, query = toy_policy(2), toy_policy(10, blocks=(1, 1)), many_queries()
    model = tokenizer()
    tolerance = middling_tolerance(model)
    greedy = decode(keys(ROWS), main, draft, query, Greedy())
    proposals = proposals_of(keys(ROWS), main, draft, query, Greedy())
    makers = [lambda r: IndexDistance(jnp.int32(r), TOY), lambda r: ActionDistance(jnp.float32(r * tolerance), model)]
    for make, widest in zip(makers, (2, 1e6), strict=True):
        strict = decode(keys(ROWS), main, draft, query, make(0))
        np.testing.assert_array_equal(strict.tokens, greedy.tokens)
        loose = decode(keys(ROWS), main, draft, query, make(widest))
        np.testing.assert_array_equal(loose.tokens[:, :2], proposals)
        np.testing.assert_array_equal(loose.passes, 1)
        middle = decode(keys(ROWS), main, draft, query, make(1))
        assert 1 < float(middle.passes.mean()) < float(greedy.passes.mean())


def test_a_relaxed_action_stays_within_its_tolerance():
    main, draft, query, model = toy_policy(2), toy_policy(10, blocks=(1, 1)), many_queries(), tokenizer()
    tolerance = middling_tolerance(model)
    rule = ActionDistance(jnp.float32(tolerance), model)
    first = decode(keys(ROWS), main, draft, query, rule, max_passes=1)
    best = logits_of(main, query, first.tokens)[:, :1].argmax(-1)
    padded = jnp.pad(best, ((0, 0), (0, 3), (0, 0)))
    apart = jnp.abs(model.decode(first.tokens, 1) - model.decode(padded, 1)).max((1, 2))
    assert float(apart.max()) <= tolerance
    assert (np.asarray(first.tokens[:, :1]) != np.asarray(best)).any()


def test_a_deadline_does_not_change_the_law_of_what_is_final():
    main, draft = toy_policy(2), toy_policy(10, blocks=(1, 1))
    cut = speculative(jax.random.key(3), main, draft, Exact(), 1, SAMPLES)
    law = exact_law(main).reshape(3, -1).sum(1)
    found = np.bincount(np.asarray(cut.tokens)[:, 0, 0], minlength=3) / SAMPLES
    # Five standard deviations of a share.
    np.testing.assert_allclose(found, law, atol=2.5 / np.sqrt(SAMPLES))


# Two tokens per layer, and a drafted block of two layers: blocks are accepted in part.
PAIRS = dataclasses.replace(TOY, latent_dim=2, num_layers=3, tokens_per_layer=2)


def pair_policy(seed, blocks):
    config = TokenModelConfig(blocks=blocks, dim=8, depth=1, num_heads=2, obs_hidden_dim=8, simulated_delay=2)
    return with_random_weights(PAIRS, config, seed, 1.0)


def test_blocks_of_several_tokens_are_verified_token_by_token():
    main, draft = pair_policy(1, (2, 1)), pair_policy(2, (2,))
    every = np.array(list(itertools.product(range(3), repeat=6))).reshape(-1, 3, 2)
    law = sequence_law(logits_of(main, toy_query(len(every)), every), every)
    assert law.sum() == pytest.approx(1, abs=1e-4)
    decoded = speculative(jax.random.key(3), main, draft, Exact(), 10, SAMPLES)
    index = np.asarray(decoded.tokens).reshape(SAMPLES, 6) @ 3 ** np.arange(5, -1, -1)
    distance = 0.5 * np.abs(np.bincount(index, minlength=729) / SAMPLES - law).sum()
    assert distance < sampling_error(law)
    partly = np.asarray(decoded.accepted).sum((1, 2))
    assert set(np.unique(partly)) == {0, 1, 2, 3, 4}
    np.testing.assert_array_equal(decoded.passes, np.where(partly == 4, 1, 2))


def test_a_draft_that_does_not_fit_is_refused():
    # The second undrafted block could not come from the pass that gives the first.
    with pytest.raises(ValueError, match=r"train one with blocks=\(1, 1\)"):
        engine.speculative(keys(2), toy_policy(2), toy_policy(10, blocks=(1,)), toy_query(2), Exact())
    with pytest.raises(ValueError, match=r"train one with blocks=\(1, 1\)"):
        engine.speculative(keys(2), toy_policy(2), toy_policy(10, blocks=(2, 1)), toy_query(2), Exact())
    with pytest.raises(ValueError, match="cannot serve"):
        engine.speculative(keys(2), toy_policy(2), toy_policy(2), toy_query(2), Exact())
