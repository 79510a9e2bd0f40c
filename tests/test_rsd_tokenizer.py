"""RSD's tokenizer: residual quantisation is exact, and what is trained is what is decoded."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from rtc.policies.tokens.rfsq import Tokenizer, TokenizerConfig, codes_of, codes_of_tokens, latent_of, tokens_of

FULL = TokenizerConfig()


def residual_codes(latent, config):
    """Residual quantisation as its definition says: each layer quantises what the layers before it left over."""
    residual, codes = np.asarray(latent, np.float64), []
    for layer in range(config.num_layers):
        scale = float(config.cells) ** -layer
        code = np.clip(np.floor((residual / scale + 1) / 2 * config.cells), 0, config.cells - 1)
        residual = residual - scale * (2 * code + 1 - config.cells) / config.cells
        codes.append(code.astype(int))
    return np.stack(codes, axis=-2)


@settings(deadline=None)
@given(st.lists(st.integers(0, 3**8 - 1), min_size=16, max_size=16))
def test_codes_are_those_of_residual_quantisation(cells):
    # A little off the centres, so that float32 and float64 cannot disagree about the cell.
    latent = (np.array(cells) + 0.6) / 3**8 * 2 - 1
    codes = np.asarray(codes_of(jnp.asarray(latent, jnp.float32), FULL))
    np.testing.assert_array_equal(codes, residual_codes(latent, FULL))


def test_scalars_outside_the_range_fall_into_the_outermost_cell():
    codes = np.asarray(codes_of(jnp.array([-7.0, -1.0, 1.0, 7.0]), FULL))
    np.testing.assert_array_equal(codes, np.repeat([[0, 0, 2, 2]], 8, axis=0))


def test_latent_of_codes_is_the_centre_of_the_cell_at_every_depth():
    latent = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (50, 16)), jnp.float32)
    codes = codes_of(latent, FULL)
    for depth in range(1, 9):
        centre = latent_of(codes, FULL, depth)
        assert float(jnp.abs(centre - latent).max()) <= 3.0**-depth + 1e-6
        # Of a centre, these layers have the same codes: the way from codes to the latent and back loses nothing.
        np.testing.assert_array_equal(codes_of(centre, FULL)[:, :depth], codes[:, :depth])


def test_tokens_and_codes_are_one_to_one():
    codes = jnp.asarray(np.random.default_rng(0).integers(0, 3, (5, 8, 16)))
    tokens = tokens_of(codes, FULL)
    assert tokens.shape == (5, 8, 4)
    assert FULL.vocabulary == 81
    np.testing.assert_array_equal(codes_of_tokens(tokens, FULL), codes)
    everything = codes_of_tokens(jnp.arange(81)[:, None, None] * jnp.ones((1, 8, 4), int), FULL)
    assert len({tuple(row) for row in np.asarray(everything[:, 0, :4])}) == 81


@functools.cache
def tokenizer(config=FULL):
    return Tokenizer(config, nnx.Rngs(0))


def test_decoding_the_tokens_equals_the_forward_pass():
    model = tokenizer()
    chunk = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (20, 8, 6)), jnp.float32)
    for depth in (1, 3, 8):
        centre = latent_of(codes_of_tokens(model.encode(chunk), FULL), FULL, depth)
        np.testing.assert_array_equal(model.quantised(chunk, depth), centre)
        np.testing.assert_array_equal(
            model.decode(model.encode(chunk), depth), model.decode_latent(model.quantised(chunk, depth), depth)
        )


def test_depth_may_differ_per_chunk():
    model = tokenizer()
    tokens = jnp.asarray(np.random.default_rng(1).integers(0, 81, (4, 8, 4)))
    depths = jnp.array([1, 8, 3, 2])
    together = model.decode(tokens, depths)
    alone = [model.decode(tokens[i : i + 1], int(depths[i]))[0] for i in range(4)]
    np.testing.assert_allclose(together, jnp.stack(alone), atol=1e-6)


def test_gradients_reach_the_encoder():
    chunk = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (20, 8, 6)), jnp.float32)
    grads = nnx.grad(lambda model: model.loss(jax.random.key(0), chunk))(tokenizer())
    norms = [float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(grads["encoder"])]
    assert min(norms) > 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cells": 4}, "cells=4 must be odd"),
        ({"num_layers": 16}, "num_layers=16 is too many"),
        ({"tokens_per_layer": 5}, "tokens_per_layer=5 must divide latent_dim=16"),
        ({"hidden_dim": 0}, "hidden_dim"),
    ],
)
def test_tokenizer_config_is_checked(fields, message):
    with pytest.raises(ValueError, match=message):
        TokenizerConfig(**fields)
