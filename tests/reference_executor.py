"""A second executor in plain Python, one episode at a time, written from the definition and sharing no code."""

from collections import deque
from dataclasses import dataclass, field

HASH_MODULUS = 10_007


@dataclass
class Rules:
    size: int  # H
    execute_horizon: int
    adaptive: bool
    hold: bool
    estimator: str  # "oracle", "fixed", "window_max"
    estimator_delay: int = 0
    window: int = 1
    initial: int = 0
    guided: bool = True


@dataclass
class Episode:
    actions: list = field(default_factory=list)
    age: list = field(default_factory=list)
    queries: dict = field(default_factory=dict)  # launch tick -> (delay, planned, s)
    returned: float = 0.0
    solved: bool = False


def run_episode(rules: Rules, delays: list[int], end_every: int, max_timesteps: int) -> Episode:
    """Plays one episode of HashEnv with EchoPolicy under the given delays of queries 0, 1, 2, …"""
    episode = Episode()
    seen = deque([rules.initial], maxlen=rules.window)
    # (launch tick, {tick: action}, tick from which the chunk may be used)
    chunks = [(0, {j: [0, j, -1, -1, -1, -1] for j in range(rules.size)}, 0)]
    code, tick, query, next_launch, last_length = 1, 0, 0, 0, 0
    last_action = [0] * 6
    while True:
        if tick == next_launch:
            delay = delays[query]
            planned = {"oracle": delay, "fixed": rules.estimator_delay, "window_max": max(seen)}[rules.estimator]
            s = rules.execute_horizon
            if rules.adaptive:
                s = min(max(planned, s), rules.size)
            launched, old, _ = chunks[-1]
            leftover = [old.get(tick + j) for j in range(rules.size)]
            told = [-1] * 4
            if rules.guided:
                overlap_end = max(rules.size - max(s, last_length), 0)
                checksum = sum((j + 1) * a[0] for j, a in enumerate(leftover) if a is not None)
                first = leftover[0][1] if leftover[0] is not None else 0
                told = [planned, overlap_end, first, checksum]
            chunks.append((tick, {tick + j: [tick, j, *told] for j in range(rules.size)}, tick + delay))
            episode.queries[tick] = (delay, planned, s)
            last_length = max(s, delay)
            next_launch = tick + last_length
            seen.append(delay)
            query += 1
        # The newest chunk that has arrived is the only one in charge.
        launched, entries, _ = [chunk for chunk in chunks if chunk[2] <= tick][-1]
        if tick in entries:
            action, age = entries[tick], tick - launched
        else:
            action, age = (last_action if rules.hold else [0] * 6), -1
        episode.actions.append(action)
        episode.age.append(age)
        last_action = action
        code = (code * 31 + action[0] * 7 + action[1] * 3 + action[4]) % HASH_MODULUS
        tick += 1
        episode.returned += code % 5
        if (end_every and code % end_every == 0) or tick >= max_timesteps:
            episode.solved = code % 2 == 0
            return episode
