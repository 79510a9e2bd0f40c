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
    reach: int = 0  # chunks are planned for the planned delay, but no further ahead than this
    corrects: bool = False  # actions are changed at every tick: see `corrected`
    correction_delay: int = 0
    observation_lag: int = 0
    actuation_lag: int = 0


@dataclass
class Chunk:
    launched: int
    observed: int  # tick of the observation that it is made from
    takes_over: float  # tick from which it is in charge
    actions: dict  # by tick
    origin: int = 0


@dataclass
class Episode:
    actions: list = field(default_factory=list)
    age: list = field(default_factory=list)
    queries: dict = field(default_factory=dict)  # launch tick -> (delay, planned, s, L, flow steps)
    origins: dict = field(default_factory=dict)  # launch tick -> origin
    evaluations: list = field(default_factory=list)
    returned: float = 0.0
    solved: bool = False
    abandoned: int = 0
    arrivals: list = field(default_factory=list)  # of queries that were not abandoned: "early", "on time" or "late"


def in_charge(chunks: list[Chunk], tick: int) -> Chunk:
    """The newest chunk that has arrived and begun."""
    return [chunk for chunk in chunks if chunk.takes_over <= tick][-1]


def told_of(rules: Rules, tick: int, chunks: list[Chunk], planned: int, s: int, flow_steps: int) -> list:
    """What the chunk of a query at `tick` says about the query, per entry."""
    known = [chunk for chunk in chunks if chunk.takes_over != float("inf")]
    plan = [None if rules.waits else in_charge(known, tick + j).actions.get(tick + j) for j in range(rules.size)]
    if rules.told == "telling":
        used = rules.size if rules.waits else tick - known[-1].launched - known[-1].origin
        overlap_end = max(rules.size - max(s, used), 0)
        checksum = sum((j + 1) * a[0] for j, a in enumerate(plan) if a is not None)
        first = plan[0][1] if plan[0] is not None else 0
        return [[planned, overlap_end, first, checksum]] * rules.size
    if rules.told == "counts":
        predictions = [sum(tick + j in chunk.actions for chunk in known[1:]) for j in range(rules.size)]
        return [[flow_steps, count, -1, -1] for count in predictions]
    return [[-1] * 4] * rules.size


def corrected(rules: Rules, episode: Episode, action: list, entry: int, age: int, codes: list, last: list) -> tuple:
    """The action and the age that the method makes of the planned ones."""
    tick = len(codes) - 1
    seen = max(tick - rules.correction_delay - rules.observation_lag, 0)
    changed = [action[0], action[1] + 2 * last[0], len(episode.evaluations), entry, codes[seen] % 97]
    episode.evaluations.append(entry + 2)
    return [*changed, len(episode.queries)], age if age == -1 else min(age, tick - seen)


def run_episode(rules: Rules, draws: list[tuple[int, int]], end_every: int, max_timesteps: int) -> Episode:
    """Plays one episode of HashEnv with chunks that say what they are; `draws` are delay and flow steps by query."""
    episode = Episode()
    seen = deque([rules.initial], maxlen=rules.window)
    chunks = [Chunk(0, 0, 0, {j: [0, j, -1, -1, -1, -1] for j in range(rules.size)})]
    codes, tick, query, next_launch = [1], 0, 0, 0
    last_action = [0] * 6
    while True:
        if tick == next_launch:
            delay, flow_steps = draws[query]
            planned = {"oracle": delay, "fixed": rules.estimator_delay, "window_max": max(seen)}[rules.estimator]
            s = rules.execute_horizon
            if rules.adaptive:
                s = min(max(planned, s), rules.size)
            told = told_of(rules, tick, chunks, planned, s, flow_steps)
            origin = min(planned, rules.reach)
            first = tick + (delay if rules.waits else origin)
            observed_at = max(tick - rules.observation_lag, 0)
            actions = {first + j: [observed_at, j, *told[j]] for j in range(rules.size)}
            interval, takes_over = delay + s if rules.waits else max(s, delay), tick + max(delay, origin)
            if delay > rules.deadline:
                interval, takes_over = rules.deadline, float("inf")
                episode.abandoned += 1
            else:
                episode.arrivals.append("late" if delay > origin else "early" if delay < origin else "on time")
            chunks.append(Chunk(tick, observed_at, takes_over, actions, origin))
            observed = min(delay, rules.deadline)
            episode.queries[tick] = (observed, planned, s, interval, flow_steps)
            episode.origins[tick] = origin
            next_launch = tick + interval
            seen.append(observed)
            query += 1
        chunk = in_charge(chunks, tick)
        if rules.waits and chunk is not chunks[-1]:
            chunk = Chunk(0, 0, 0, {})
        if tick in chunk.actions:
            action, age = chunk.actions[tick], tick - chunk.observed
            entry = tick - min(chunk.actions)
        else:
            action, age, entry = (last_action if rules.hold else [0] * 6), -1, -1
        if rules.corrects:
            action, age = corrected(rules, episode, action, entry, age, codes, last_action)
        episode.actions.append(action)
        episode.age.append(age if age == -1 else age + rules.actuation_lag)
        last_action = action
        given = tick - rules.actuation_lag
        acting = episode.actions[given] if given >= 0 else [0] * 6
        codes.append((codes[-1] * 31 + acting[0] * 7 + acting[1] * 3 + acting[4]) % HASH_MODULUS)
        tick += 1
        episode.returned += codes[-1] % 5
        if (end_every and codes[-1] % end_every == 0) or tick >= max_timesteps:
            episode.solved = codes[-1] % 2 == 0
            return episode
