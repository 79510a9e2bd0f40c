"""Decoding token policies: autoregressively, and speculatively with a draft.

A round of speculative decoding: the draft proposes the coarse blocks that are not verified yet, one small pass each;
one pass of the main model gives its distribution of every block; blocks are verified in order up to the first that had
to be corrected, which is final too. If none was corrected, the fine block, which has no draft, is chosen from the same
pass. A decoding of M blocks takes M passes less one for every drafted block that was accepted whole.
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from rtc.policies.tokens.policy import TokenPolicy
from rtc.policies.tokens.rules import Logits, Rule


class Prompt(NamedTuple):
    """What a chunk is decoded for.

    Attributes:
        obs: observation.
        committed: actions for the same ticks that will be executed whatever is decoded, in the first `prefix` entries.
        prefix: number of these, in ticks.
    """

    obs: Float[Array, "b o"]
    committed: Float[Array, "b h a"]
    prefix: Int[Array, " b"]


class Decoded(NamedTuple):
    """Tokens and what they cost.

    Attributes:
        tokens: a chunk's tokens.
        depth: leading layers that are decided; the others' tokens mean nothing.
        passes: passes through the main model.
        drafts: passes through the draft.
        proposed, accepted: per drafted token, how often it was proposed and accepted.
    """

    tokens: Int[Array, "b l j"]
    depth: Int[Array, " b"]
    passes: Int[Array, " b"]
    drafts: Int[Array, " b"]
    proposed: Int[Array, "b k j"]
    accepted: Int[Array, "b k j"]


class Progress(NamedTuple):
    """State between two rounds: what is decoded, and how many blocks of it are final."""

    decoded: Decoded
    blocks: Int[Array, " b"]


def check_pair(main: TokenPolicy, draft: TokenPolicy) -> None:
    """Raises ValueError unless the draft's blocks are all of the main model's but the last.

    Two blocks without a draft could not come from the same pass: the second depends on the tokens of the first.
    """
    ours, theirs = main.config.blocks, draft.config.blocks
    if ours[:-1] != theirs:
        raise ValueError(
            f"a draft with blocks={theirs} cannot serve a main model with blocks={ours}: "
            f"train one with blocks={ours[:-1]}"
        )


def fold(key: Key[Array, " b"], data: int | Int[Array, ""]) -> Key[Array, " b"]:
    return jax.vmap(jax.random.fold_in, (0, None))(key, data)


def round_keys(key: Key[Array, " b"], number: int | Int[Array, ""]) -> tuple[Key[Array, " b"], Key[Array, " b"]]:
    """Randomness of a round: of its proposals, and of their verification."""
    own = fold(key, number)
    return fold(own, 0), fold(own, 1)


def autoregressive(key: Key[Array, " b"], policy: TokenPolicy, query: Prompt, rule: Rule) -> Decoded:
    """Block after block, one pass each; a policy with a single block decodes in one pass.

    Args:
        key: randomness, one key per row.
        policy: any token policy.
        query: what to decode for.
        rule: chooses tokens; nothing is verified.
    """
    starts, context = policy.config.starts, policy.context(*query)
    tokens = jnp.zeros((len(query.obs), starts[-1], policy.tokens.tokens_per_layer), jnp.int32)
    for block, (first, end) in enumerate(itertools.pairwise(starts)):
        logits = policy.logits(context, tokens, block + 1)[:, first:]
        tokens = tokens.at[:, first:end].set(rule.choose(fold(key, block), logits))
    count = jnp.full(len(query.obs), len(policy.config.blocks), jnp.int32)
    none = jnp.zeros((len(query.obs), 0, tokens.shape[2]), jnp.int32)
    return Decoded(tokens, jnp.full_like(count, starts[-1]), count, jnp.zeros_like(count), none, none)


def start(main: TokenPolicy, draft: TokenPolicy, batch: int) -> Progress:
    """Nothing decoded yet."""
    zero, size = jnp.zeros(batch, jnp.int32), main.tokens.tokens_per_layer
    tokens = jnp.zeros((batch, main.config.num_layers, size), jnp.int32)
    counts = jnp.zeros((batch, draft.config.num_layers, size), jnp.int32)
    return Progress(Decoded(tokens, zero, zero, zero, counts, counts), zero)


def propose(
    key: Key[Array, " b"], draft: TokenPolicy, context: Array, progress: Progress, rule: Rule, first_block: int = 0
) -> tuple[Progress, Logits]:
    """Fills the drafted blocks that are not final with proposals; returns the draft's logits for all of them.

    Args:
        key: randomness of this round.
        draft: the draft.
        context: from `draft.context`.
        progress: what is final.
        rule: chooses the proposals.
        first_block: blocks before it are known to be final in every row and take no pass; their logits are zeros.
    """
    starts, tokens, logits = draft.config.starts, progress.decoded.tokens, []
    for block, (first, end) in enumerate(itertools.pairwise(starts)):
        if block < first_block:
            sizes = (len(tokens), end - first, draft.tokens.tokens_per_layer, draft.tokens.vocabulary)
            logits.append(jnp.zeros(sizes))
            continue
        of_block = draft.logits(context, tokens, block + 1)[:, first:]
        open_ = (block >= progress.blocks)[:, None, None]
        proposals = jnp.where(open_, rule.choose(fold(key, block), of_block), tokens[:, first:end])
        tokens = tokens.at[:, first:end].set(proposals)
        logits.append(of_block)
    drafts = progress.decoded.drafts + jnp.maximum(len(starts) - 1 - progress.blocks, 0)
    return progress._replace(decoded=progress.decoded._replace(tokens=tokens, drafts=drafts)), jnp.concatenate(
        logits, 1
    )


def verify(
    key: Key[Array, " b"], main: TokenPolicy, context: Array, progress: Progress, draft_logits: Logits, rule: Rule
) -> Progress:
    """One pass of the main model over the proposals: final tokens up to the first block that had to be corrected."""
    starts, decoded, blocks = main.config.starts, progress.decoded, progress.blocks
    logits = main.logits(context, decoded.tokens)
    tokens, proposed, accepted = decoded.tokens, decoded.proposed, decoded.accepted
    corrected = jnp.zeros(blocks.shape, bool)
    for block, (first, end) in enumerate(itertools.pairwise(starts)):
        here, now = slice(first, end), (blocks == block) & ~corrected
        drafted = end <= draft_logits.shape[1]
        if drafted:
            final, good = rule.verify(fold(key, block), logits[:, here], draft_logits[:, here], tokens, first)
            checked = jnp.broadcast_to(now[:, None, None], good.shape)
            proposed = proposed.at[:, here].add(checked)
            accepted = accepted.at[:, here].add(checked & good)
            corrected |= now & ~good.all((1, 2))
        else:
            final = rule.choose(fold(key, block), logits[:, here])
        tokens = tokens.at[:, here].set(jnp.where(now[:, None, None], final, tokens[:, here]))
        blocks = blocks + now
    decoded = decoded._replace(
        tokens=tokens,
        depth=jnp.asarray(starts)[blocks],
        passes=decoded.passes + 1,
        proposed=proposed,
        accepted=accepted,
    )
    return Progress(decoded, blocks)


def speculative(
    key: Key[Array, " b"],
    main: TokenPolicy,
    draft: TokenPolicy,
    query: Prompt,
    rule: Rule,
    max_passes: int | Int[Array, ""] | None = None,
) -> Decoded:
    """Decodes a batch; rows that are done wait for the others and do not change.

    Args:
        key: randomness, one key per row.
        main: the policy whose law counts.
        draft: proposes its leading blocks.
        query: what to decode for.
        rule: what becomes of proposals.
        max_passes: deadline in passes of the main model, at least 1: what is final by then is committed. None: no
            deadline.

    Raises:
        ValueError: the draft does not fit the main model.
    """
    check_pair(main, draft)
    total = len(main.config.blocks)
    limit = total if max_passes is None else jnp.minimum(max_passes, total)
    contexts = main.context(*query), draft.context(*query)

    def unfinished(state: tuple[Progress, Array]) -> Array:
        return ((state[0].blocks < total) & (state[1] < limit)).any()

    def advance(state: tuple[Progress, Array]) -> tuple[Progress, Array]:
        progress, number = state
        draft_key, verify_key = round_keys(key, number)
        drafted, logits = propose(draft_key, draft, contexts[1], progress, rule)
        after = verify(verify_key, main, contexts[0], drafted, logits, rule)
        running = progress.blocks < total
        keep = jax.vmap(lambda go, new, old: jax.tree.map(lambda a, b: jnp.where(go, a, b), new, old))
        return keep(running, after, progress), number + 1

    first = start(main, draft, len(query.obs)), jnp.zeros((), jnp.int32)
    return jax.lax.while_loop(unfinished, advance, first)[0].decoded
