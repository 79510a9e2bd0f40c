"""Logs of LeRobot: the client and the server of its asynchronous inference, and its real-time chunking.

The wording is that of huggingface/lerobot: `async_inference/robot_client.py`, `async_inference/policy_server.py`,
`rollout/inference/rtc.py` and `policies/rtc/action_queue.py`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from rtc.delay.logs import text
from rtc.delay.logs.record import DUPLICATE, MALFORMED, Entry, Reading

_HUNDREDTH = 0.01
_RECEIVED = re.compile(
    r"Received action chunk for step #(?P<step>\d+) \|.*Latest action: #(?P<latest>-?\d+) \|"
    r".*Network latency \(server->client\): (?P<ms>-?\d+(?:\.\d+)?)ms\b"
)
_GENERATED = re.compile(r"Action chunk #\d+ generated \| Total time: (?P<ms>-?\d+(?:\.\d+)?)ms\b")
_OBSERVATION = re.compile(r"Observation \d+ \| (?:Prepare time: .*\| )?Total time: (?P<ms>-?\d+(?:\.\d+)?)ms\b")
_RTC = re.compile(r"RTC inference latency=(?P<s>\d+(?:\.(?P<decimals>\d+))?)s\b")
_MISMATCH = re.compile(
    r"Indexes diff is not equal to real delay\. [Ii]ndexes[_ ]diff[=:] ?(-?\d+), real[_ ]delay[=:] ?(-?\d+)"
)
_DISCARDED = re.compile(r"Discarding trained RTC chunk.*: measured delay (\d+) exceeded")
MISMATCH = "Indexes diff is not equal to real delay"


@dataclass(frozen=True)
class LerobotClient:
    """`logs/robot_client_<epoch>.log` of asynchronous inference.

    The line "Received action chunk" is there only if `RobotClient.receive_actions(verbose=True)` wrote it.
    """

    name: ClassVar[str] = "lerobot_client"
    knows_first: ClassVar[bool] = True
    markers: ClassVar[tuple[str, ...]] = ("Received action chunk for step #",)
    looked_for: ClassVar[str] = (
        "lines 'Received action chunk for step #… | Latest action: #… | … | Network latency (server->client): …ms'"
    )

    def read(self, path: Path) -> Reading:
        """One delay per received chunk; the one before which the robot had no action is a first query."""
        entries, executed, seen, number = [], [], set(), 0
        for number, line in text.lines(path):
            if self.markers[0] not in line:
                continue
            found, shown = _RECEIVED.search(line), text.message(line)
            if found is None:
                entries.append(Entry(number, shown, refused=MALFORMED))
            elif line in seen:
                entries.append(Entry(number, shown, refused=DUPLICATE))
            else:
                seen.add(line)
                first = int(found["latest"]) < 0
                entries.append(Entry(number, shown, float(found["ms"]), text.time_s(line), first=first))
                executed += [] if first else [int(found["latest"]) - int(found["step"])]
        notes = (
            "The log calls the delay a network latency; it is the whole delay, on the client's clock alone. It starts "
            "when the observation is there, so the time for capturing it is not part of it.",
            *_executed(executed),
        )
        measures = "the time from the time stamp of the observation to the receipt of the chunk made from it"
        return Reading(entries, number, measures, notes, _HUNDREDTH)


def _executed(ticks: Sequence[int]) -> tuple[str, ...]:
    if not ticks:
        return ()
    return (
        f"Between an observation and its chunk the robot executed {np.median(ticks):g} actions in the median and "
        f"{max(ticks)} at most (Latest action minus step). Where it did not starve these are the delays in ticks: "
        "compare them with those below to see whether the control rate is right.",
    )


@dataclass(frozen=True)
class LerobotServer:
    """`logs/policy_server_<epoch>.log` of asynchronous inference."""

    name: ClassVar[str] = "lerobot_server"
    knows_first: ClassVar[bool] = True
    markers: ClassVar[tuple[str, ...]] = ("Action chunk #", "Running inference for observation #")
    looked_for: ClassVar[str] = (
        "lines 'Action chunk #… generated | Total time: …ms' or 'Observation … | … | Total time: …ms'"
    )

    def read(self, path: Path) -> Reading:
        """One delay per chunk; those of chunks where there are any, else those of observations."""
        chunks, observations, number, connected, seen = [], {False: [], True: []}, 0, False, set()
        for number, line in text.lines(path):
            if "connected and ready" in line:
                connected = True
            elif "Action chunk #" in line and "generated | Inference time:" not in line:  # once more, in seconds
                chunks.append(_server_entry(number, line, _GENERATED, connected, seen))
                connected = False
            elif "Observation " in line and "Total time:" in line:
                parts = "Prepare time:" in line  # the same once more, with its parts
                observations[parts].append(_server_entry(number, line, _OBSERVATION, False, seen))
        notes = (
            "These are the server's times: the way there and back, and the wait of an observation for its turn, are "
            "missing. The client's log has the whole delay.",
            "The server delays its replies to its `inference_latency` (1/30 s unless set otherwise), and a shorter "
            "Total time does not show that.",
            "One-way latencies in this log compare two machines' clocks and were not used.",
        )
        if chunks:
            measures = "the time from the server's start on an observation to the serialised chunk"
            return Reading(chunks, number, measures, notes, _HUNDREDTH)
        entries = observations[False] or observations[True]
        measures = "the time from the server's start on an observation to its actions, without serialising them"
        return Reading(entries, number, measures, notes, _HUNDREDTH)


def _server_entry(number: int, line: str, form: re.Pattern, first: bool, seen: set[str]) -> Entry:
    found, shown = form.search(line), text.message(line)
    if found is None:
        return Entry(number, shown, refused=MALFORMED)
    if line in seen:
        return Entry(number, shown, refused=DUPLICATE)
    seen.add(line)
    return Entry(number, shown, float(found["ms"]), text.time_s(line), first=first)


@dataclass(frozen=True)
class LerobotRtc:
    """What LeRobot's real-time chunking logs at level DEBUG, which its console does not show by default.

    The same line twice may be two chunks: delays have a resolution of 10 ms and stamps of a second.
    """

    name: ClassVar[str] = "lerobot_rtc"
    knows_first: ClassVar[bool] = True
    markers: ClassVar[tuple[str, ...]] = ("RTC inference latency=",)
    looked_for: ClassVar[str] = "lines 'RTC inference latency=…s, queue=…' (level DEBUG)"

    def read(self, path: Path) -> Reading:
        """One delay per chunk. A session's first query and those that compile are first queries."""
        entries: list[Entry] = []
        differences, discarded, decimals, number = [], [], 0, 0
        session, pending = 0, False  # the session's first entry; whether the next one is a first query
        for number, line in text.lines(path):
            if "RTC inference thread started" in line:
                session, pending = len(entries), True
            elif "Compile warmup complete" in line:  # written before the latency of the last query that compiles
                entries[session:] = [entry._replace(first=True) for entry in entries[session:]]
                pending = True
            elif (found := _DISCARDED.search(line)) is not None:
                discarded.append(int(found[1]))
            elif MISMATCH in line and (found := _MISMATCH.search(line)) is not None:
                differences.append(int(found[1]) - int(found[2]))
            elif self.markers[0] in line:
                found, shown = _RTC.search(line), text.message(line)
                if found is None:
                    entries.append(Entry(number, shown, refused=MALFORMED))
                    continue
                decimals = max(decimals, len(found["decimals"] or ""))
                entries.append(Entry(number, shown, 1000 * float(found["s"]), text.time_s(line), first=pending))
                pending = False
        resolution = 1000 * 10.0**-decimals
        notes = (
            f"The log gives delays in steps of {resolution:g} ms.",
            *_mismatches(differences),
            *_discarded(discarded),
        )
        measures = (
            "the time from the launch of a query to its processed chunk (the observation may be a control tick older)"
        )
        return Reading(entries, number, measures, notes, resolution)


def _mismatches(differences: Sequence[int]) -> tuple[str, ...]:
    if not differences:
        return ()
    return (
        f"Lines '{MISMATCH}': {len(differences)}. There the queue moved by another number of actions than the delay "
        f"in ticks, by {np.median(differences):+g} in the median.",
    )


def _discarded(ticks: Sequence[int]) -> tuple[str, ...]:
    if not ticks:
        return ()
    return (
        f"Chunks that were discarded because they came too late: {len(ticks)}, after up to {max(ticks)} ticks. Of "
        "these the log has no latency, so the longest delays are missing.",
    )
