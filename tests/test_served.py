"""Policies behind a websocket: openpi's protocol, and servers that do not keep to it."""

import base64
import contextlib
import hashlib
import pickle
import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest

import rtc
from host_world import DIM, HashWorld
from rtc.control.host import Measured, PolicySpec, Request
from rtc.control.host import served as module
from rtc.control.host.framing import pack, unpack
from rtc.control.host.served import ServedPolicy, ServerError

msgpack = pytest.importorskip("msgpack", reason="the extra served is not installed: pip install 'exp-delta[served]'")
pytest.importorskip("websockets", reason="the extra served is not installed: pip install 'exp-delta[served]'")
from websockets.sync.server import serve  # noqa: E402

SPEC = PolicySpec(4, DIM, identity="served")
OBS = {"state": np.arange(3, dtype=np.float32), "image": np.full((2, 2, 3), 7, np.uint8), "prompt": "go"}
REQUEST = Request(OBS, seed=1, tick=0, execute_horizon=1, num_steps=1)
CHUNK = np.arange(4 * DIM, dtype=np.float32).reshape(4, DIM)
# Long enough for what comes at all, on a busy machine, and what is waited for what never comes.
PATIENT_S, SHORT_S = 30.0, 1.0


@contextlib.contextmanager
def server(handler, metadata=b"\x80") -> Iterator[str]:
    """A server on a free port that sends metadata and then lets `handler` answer; gives its address."""

    def handle(connection):
        if metadata is not None:
            connection.send(metadata)
        with contextlib.suppress(Exception):  # the client goes away
            handler(connection)

    with serve(handle, "127.0.0.1", 0, compression=None, max_size=None) as serving:
        thread = threading.Thread(target=serving.serve_forever, daemon=True)
        thread.start()
        yield "ws://{}:{}".format(*serving.socket.getsockname())
        serving.shutdown()
        thread.join()


def answering(answer):
    """Answers every query; what was received is kept."""

    def handler(connection):
        for message in connection:
            handler.received.append(message)
            connection.send(answer(unpack(message)) if callable(answer) else answer)

    handler.received = []
    return handler


def stalling(connection):
    connection.recv()
    connection.recv()  # of a client that has gone away by then


def closing(connection):
    connection.recv()
    connection.close()


def ask(uri, timeout_s=PATIENT_S, **options):
    with ServedPolicy(uri, SPEC, timeout_s=timeout_s, **options) as policy:
        policy.reset(0)
        return policy.infer(REQUEST)


def test_a_query_and_its_answer_have_openpis_framing():
    """The keys of arrays are bytes, as openpi-client writes and reads them."""
    sent = msgpack.unpackb(pack({"x": np.float32([1, 2]), "n": np.int64(3), "text": "go"}))
    assert sent["x"] == {b"__ndarray__": True, b"data": np.float32([1, 2]).tobytes(), b"dtype": "<f4", b"shape": [2]}
    assert sent["n"] == {b"__npgeneric__": True, b"data": 3, b"dtype": "<i8"}
    handler = answering(pack({"actions": CHUNK, "server_timing": {"infer_ms": np.float64(3.5)}}))
    with server(handler, pack({"robot": "arm"})) as uri, ServedPolicy(uri, SPEC, api_key="secret") as policy:
        policy.reset(0)
        assert policy.metadata == {"robot": "arm"}
        np.testing.assert_array_equal(policy.infer(REQUEST).chunk, CHUNK)
        np.testing.assert_array_equal(policy.infer(REQUEST).chunk, CHUNK)
    received = unpack(handler.received[1])
    assert received["prompt"] == "go"
    for name in ("state", "image"):
        np.testing.assert_array_equal(received[name], OBS[name])
        assert received[name].dtype == OBS[name].dtype


def test_a_served_policy_is_evaluated():
    def answer(message):
        return pack({"actions": np.full((4, DIM), message["told"] + message["state"][0])})

    def message(request):
        return {"state": request.obs, "told": -1 if request.planned_delay is None else request.planned_delay}

    spec = PolicySpec(4, DIM, conditioning=("planned_delay",), identity="served")
    with server(answering(answer)) as uri, ServedPolicy(uri, spec, message=message) as policy:
        result = rtc.evaluate(
            env=HashWorld(0), policy=policy, method="conditioned", delay=Measured(control_hz=1e-3), episodes=1
        )
    # A tick of 1,000 s: every query takes one.
    assert set(result.queries["delay"]) == {1}
    assert (result.queries["latency_ms"] > 0).all()
    # The bootstrap chunk, asked without conditions at tick 0; then chunks that were told 1 tick.
    assert result.records.actions[0, :4, 0].tolist() == [-1, 1, 2, 3]


PICKLED = msgpack.packb({"actions": {b"__ndarray__": True, b"data": pickle.dumps([1]), b"dtype": "|O", b"shape": [1]}})
SHORT = msgpack.packb({"actions": {b"__ndarray__": True, b"data": b"abc", b"dtype": "<f4", b"shape": [4, DIM]}})
HUGE = msgpack.packb({"actions": {b"__ndarray__": True, b"data": b"", b"dtype": "<f4", b"shape": [-1, 2**40]}})
ENDLESS = b"\x91" * 5000
FIELDS = msgpack.packb({"actions": {b"__ndarray__": True, b"data": b"12345678", b"dtype": "f4,f4", b"shape": [1]}})


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"\xc1 rubbish", "cannot be read: no MessagePack"),
        (b"", "cannot be read"),
        (ENDLESS, "cannot be read"),
        (PICKLED, "cannot be read: .*an array of type object is no plain data"),
        (FIELDS, "cannot be read: .*no plain data"),
        (SHORT, "cannot be read: .*3 bytes are no array"),
        (HUGE, "cannot be read: .*are no array"),
        (pack({"action": CHUNK}), "without an array 'actions'"),
        (pack({"actions": [[1.0]]}), "without an array 'actions'"),
        (pack([1]), "without an array 'actions'"),
        ("Traceback: out of memory", "reports an error:\nTraceback: out of memory"),
    ],
)
def test_answers_that_are_none_are_named(answer, message):
    with server(answering(answer)) as uri, pytest.raises(ServerError, match=message):
        ask(uri)


def test_an_answer_beyond_all_measure_is_refused(monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 1000)
    with server(answering(pack({"actions": np.zeros(5000)}))) as uri, pytest.raises(ServerError, match="query failed"):
        ask(uri)


def test_a_chunk_of_another_shape_is_refused_by_the_executor():
    with (
        server(answering(pack({"actions": CHUNK[:2]}))) as uri,
        ServedPolicy(uri, SPEC, message=lambda request: {"state": request.obs}) as policy,
        pytest.raises(ValueError, match=r"chunk has shape \(2, 6\)"),
    ):
        rtc.evaluate(env=HashWorld(0), policy=policy, episodes=1)


def test_servers_that_stall_or_close_end_in_an_error():
    with server(stalling) as uri, pytest.raises(ServerError, match=r"no answer to the query in 1 s"):
        ask(uri, SHORT_S)
    with server(closing) as uri, pytest.raises(ServerError, match="the query failed"):
        ask(uri)
    with server(stalling, metadata=None) as uri, pytest.raises(ServerError, match="no answer to the connection"):
        ask(uri, SHORT_S)
    for metadata in ("hello", pack([1])):
        with server(stalling, metadata) as uri, pytest.raises(ServerError, match="sent no metadata first"):
            ask(uri)
    with server(stalling, b"\xc1") as uri, pytest.raises(ServerError, match="cannot be read"):
        ask(uri)


def test_a_server_that_is_not_there():
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = "ws://{}:{}".format(*free.getsockname())
    with pytest.raises(ServerError, match=r"the connection failed: .*refused"):
        ask(address)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ServerError, match="no answer to the conn"):
        ask("ws://{}:{}".format(*silent.getsockname()), SHORT_S)


def test_a_server_that_does_not_read_is_cut_off():
    """It shakes hands and sends its metadata; the observation is larger than all buffers between the two."""
    over = threading.Event()

    def accept(listening):
        connection, _ = listening.accept()
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(4096)
        headers = dict(line.split(": ", 1) for line in request.decode().split("\r\n")[1:] if line)
        guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
        accepted = base64.b64encode(hashlib.sha1((headers["Sec-WebSocket-Key"] + guid).encode()).digest()).decode()
        lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        answer = "\r\n".join([*lines, f"Sec-WebSocket-Accept: {accepted}", "", ""]).encode()
        connection.sendall(answer + b"\x82\x01\x80")
        over.wait()
        connection.close()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=accept, args=[listening], daemon=True)
        thread.start()
        large = {"image": np.zeros(2**25, np.uint8)}
        with pytest.raises(ServerError, match="no answer to the query"):
            ask("ws://{}:{}".format(*listening.getsockname()), SHORT_S, message=lambda request: large)
        over.set()
        thread.join()


def test_a_broken_connection_is_made_anew_at_the_next_episode():
    answers = iter([b"\xc1", pack({"actions": CHUNK})])
    with (
        server(answering(lambda message: next(answers))) as uri,
        ServedPolicy(uri, SPEC, timeout_s=PATIENT_S) as policy,
    ):
        with pytest.raises(ServerError):
            policy.infer(REQUEST)
        policy.reset(1)
        np.testing.assert_array_equal(policy.infer(REQUEST).chunk, CHUNK)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"uri": "localhost:8000"}, "must start with ws://"),
        ({"timeout_s": 0.0}, "timeout_s=0.0"),
    ],
)
def test_what_cannot_be_a_server_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ServedPolicy(**{"uri": "ws://localhost:1", "spec": SPEC} | changes)


@pytest.mark.parametrize(
    ("obs", "message"),
    [
        (np.zeros(3), "obs is a ndarray, and servers read dictionaries"),
        ({"x": object()}, "a object is neither an array"),
        ({"x": np.array([None])}, "an array of type object"),
    ],
)
def test_observations_that_cannot_be_sent(obs, message):
    request = Request(obs, seed=1, tick=0, execute_horizon=1, num_steps=1)
    with (
        server(answering(pack({"actions": CHUNK}))) as uri,
        ServedPolicy(uri, SPEC) as policy,
        pytest.raises(ValueError, match=message),
    ):
        policy.infer(request)


def test_the_missing_extra_is_named(monkeypatch):
    module._websockets.cache_clear()
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"the package msgpack is missing.*exp-delta\[served\]"):
        ServedPolicy("ws://localhost:1", SPEC)
    module._websockets.cache_clear()
