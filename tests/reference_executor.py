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
    told: str = "naive"  # what the chunks repeat of the query: see `told_of`
    waits: bool = False
    deadline: float = float("inf")


@dataclass
class Chunk:
    launched: int
    arrives: float  # tick from which it may be used
    actions: dict  # by tick


@dataclass
class Episode:
    actions: list = field(default_factory=list)
    age: list = field(default_factory=list)
    queries: dict = field(default_factory=dict)  # launch tick -> (delay, planned, s, L, flow steps)
    returned: float = 0.0
    solved: bool = False
    abandoned: int = 0


def told_of(rules: Rules, tick: int, chunks: list[Chunk], planned: int, s: int, flow_steps: int) -> list:
    """What the chunk of a query at `tick` says about the query, per entry."""
    old = chunks[-1].actions
    leftover = [None if rules.waits else old.get(tick + j) for j in range(rules.size)]
    if rules.told == "realtime":
        used = rules.size if rules.waits else tick - chunks[-1].launched
        overlap_end = max(rules.size - max(s, used), 0)
        checksum = sum((j + 1) * a[0] for j, a in enumerate(leftover) if a is not None)
        first = leftover[0][1] if leftover[0] is not None else 0
        return [[planned, overlap_end, first, checksum]] * rules.size
    if rules.told == "counts":
        predictions = [sum(tick + j in chunk.actions for chunk in chunks[1:]) for j in range(rules.size)]
        return [[flow_steps, count, -1, -1] for count in predictions]
    return [[-1] * 4] * rules.size


def run_episode(rules: Rules, draws: list[tuple[int, int]], end_every: int, max_timesteps: int) -> Episode:
    """Plays one episode of HashEnv with chunks that say what they are; `draws` are delay and flow steps by query."""
    episode = Episode()
    seen = deque([rules.initial], maxlen=rules.window)
    chunks = [Chunk(0, 0, {j: [0, j, -1, -1, -1, -1] for j in range(rules.size)})]
    in_flight = None
    code, tick, query, next_launch = 1, 0, 0, 0
    last_action = [0] * 6
    while True:
        if tick == next_launch:
            if in_flight is not None:
                chunks.append(in_flight)
            delay, flow_steps = draws[query]
            planned = {"oracle": delay, "fixed": rules.estimator_delay, "window_max": max(seen)}[rules.estimator]
            s = rules.execute_horizon
            if rules.adaptive:
                s = min(max(planned, s), rules.size)
            told = told_of(rules, tick, chunks, planned, s, flow_steps)
            first = tick + delay if rules.waits else tick
            actions = {first + j: [tick, j, *told[j]] for j in range(rules.size)}
            in_flight = Chunk(tick, tick + delay, actions)
            interval = delay + s if rules.waits else max(s, delay)
            if delay > rules.deadline:
                in_flight, interval = None, rules.deadline
                episode.abandoned += 1
            observed = min(delay, rules.deadline)
            episode.queries[tick] = (observed, planned, s, interval, flow_steps)
            next_launch = tick + interval
            seen.append(observed)
            query += 1
        # The newest chunk that has arrived is the only one in charge.
        if in_flight is not None and in_flight.arrives <= tick:
            chunk = in_flight
        elif rules.waits:
            chunk = Chunk(0, 0, {})
        else:
            chunk = chunks[-1]
        if tick in chunk.actions:
            action, age = chunk.actions[tick], tick - chunk.launched
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
