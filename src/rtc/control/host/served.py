"""Policies that are served over a network, by the protocol of openpi (github.com/Physical-Intelligence/openpi).

A server sends a map of metadata when a client connects. A query is one binary message, an observation, and so is its
answer, a map that holds the chunk under `actions`; a text is an error. Needs the extra `served`.
"""

import contextlib
import functools
import importlib.util
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Self

import numpy as np

from rtc.control.host.framing import pack, unpack
from rtc.control.host.policies import PolicySpec, Reply, Request
from rtc.shared.entry import how_to_install
from rtc.shared.validation import require_positive

ACTIONS = "actions"
# An answer with more bytes is none.
MAX_BYTES = 2**26
# Of a server's error text.
SHOWN_CHARACTERS = 2000
INSTALL = "the package {name} is missing, which served policies need: {fix}"


class ServerError(ConnectionError):
    """A server cannot be reached, is too slow, closes the connection, reports an error or answers with rubbish."""


def observation(request: Request) -> Mapping[str, Any]:
    """What is sent by default: the environment's observation. Raises ValueError if it is no dictionary."""
    if not isinstance(request.obs, Mapping):
        raise ValueError(
            f"obs is a {type(request.obs).__name__}, and servers read dictionaries: give ServedPolicy a message, a "
            "function from a Request to a dictionary"
        )
    return request.obs


class ServedPolicy:
    """A policy behind a websocket (`rtc.control.host.policies.ExternalPolicy`).

    The connection is made when an episode starts, without a proxy, and kept; one that broke is made anew at the next
    start. Close the policy in the end, or use it as a context manager.
    """

    def __init__(
        self,
        uri: str,
        spec: PolicySpec,
        *,
        message: Callable[[Request], Mapping[str, Any]] = observation,
        timeout_s: float = 10.0,
        api_key: str | None = None,
    ):
        """Nothing is sent yet.

        Args:
            uri: of the server, such as "ws://localhost:8000".
            spec: what the policy is; the protocol does not say it.
            message: what a query sends. What the spec's `conditioning` names is in the request; the server decides
                under which keys it reads it.
            timeout_s: seconds to connect, and per query, after which there is an error.
            api_key: sent as openpi's client does.

        Raises:
            ValueError: an argument is out of range, or the extra `served` is not installed.
        """
        if not uri.startswith(("ws://", "wss://")):
            raise ValueError(f"uri={uri!r} must start with ws:// or wss://")
        require_positive("timeout_s", timeout_s, "seconds to wait")
        _websockets()
        self.uri, self.spec, self.metadata = uri, spec, {}
        self._message, self._timeout_s = message, timeout_s
        self._headers = {"Authorization": f"Api-Key {api_key}"} if api_key else None
        self._connection: Any = None
        self._open = contextlib.ExitStack()

    def reset(self, seed: int) -> None:
        """See `ExternalPolicy`. The protocol has no reset: a served policy remembers nothing from query to query."""
        if self._connection is None:
            self._connect()

    def infer(self, request: Request) -> Reply:
        """See `ExternalPolicy`.

        Raises:
            ServerError: there is no answer in time, or none that is a chunk.
        """
        if self._connection is None:
            self._connect()
        content = pack(dict(self._message(request)))
        with self._reported("query"):
            with self._cut_off():
                self._connection.send(content)
            answer = self._connection.recv(timeout=self._timeout_s)
        if isinstance(answer, str):
            self.close()
            raise ServerError(f"server {self.uri} reports an error:\n{answer[-SHOWN_CHARACTERS:]}")
        return Reply(self._chunk(self._unpacked(answer)))

    def close(self) -> None:
        """Ends the connection, without waiting for the server."""
        connection, self._connection = self._connection, None
        if connection is not None:
            _shut(connection.socket)
        with contextlib.suppress(OSError, *_websockets().errors):  # it has ended already
            self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _connect(self) -> None:
        with self._reported("connection"):
            connecting = _websockets().connect(
                self.uri,
                additional_headers=self._headers,
                compression=None,
                max_size=MAX_BYTES,
                open_timeout=self._timeout_s,
                close_timeout=self._timeout_s,
                ping_interval=None,  # every query has its own limit
                proxy=None,
            )
            self._connection = self._open.enter_context(connecting)
            metadata = self._connection.recv(timeout=self._timeout_s)
        found = self._unpacked(metadata) if isinstance(metadata, bytes) else None
        if not isinstance(found, dict):
            self.close()
            raise ServerError(f"server {self.uri} sent no metadata first: it is no policy server of openpi's protocol")
        self.metadata = found

    @contextlib.contextmanager
    def _reported(self, what: str) -> Iterator[None]:
        """Errors of the network as ServerError; the connection is gone after one."""
        try:
            yield
        except TimeoutError as error:
            self.close()
            raise ServerError(f"server {self.uri}: no answer to the {what} in {self._timeout_s:g} s") from error
        except (OSError, *_websockets().errors) as error:
            self.close()
            raise ServerError(f"server {self.uri}: the {what} failed: {error}") from error

    @contextlib.contextmanager
    def _cut_off(self) -> Iterator[None]:
        """Ends the connection if a server does not even read in time: sending has no limit of its own."""
        late = threading.Event()

        def cut(connection: socket.socket) -> None:
            late.set()
            _shut(connection)

        timer = threading.Timer(self._timeout_s, cut, [self._connection.socket])
        timer.daemon = True
        timer.start()
        try:
            yield
        except (OSError, *_websockets().errors) as error:
            if late.is_set():
                raise TimeoutError from error
            raise
        finally:
            timer.cancel()

    def _unpacked(self, content: bytes) -> Any:
        try:
            return unpack(content)
        except ValueError as error:
            self.close()
            raise ServerError(f"server {self.uri} sent {len(content)} bytes that cannot be read: {error}") from error

    def _chunk(self, answer: Any) -> np.ndarray:
        if not isinstance(answer, dict) or not isinstance(answer.get(ACTIONS), np.ndarray):
            self.close()
            raise ServerError(f"server {self.uri} sent an answer without an array {ACTIONS!r}")
        return answer[ACTIONS]


class _Websockets(NamedTuple):
    """What is used of the package: how to connect, and its errors."""

    connect: Callable[..., Any]
    errors: tuple[type[Exception], ...]


@functools.cache
def _websockets() -> _Websockets:
    """Raises ValueError where the extra is not installed."""
    for name in ("msgpack", "websockets"):
        if importlib.util.find_spec(name) is None:
            raise ValueError(INSTALL.format(name=name, fix=how_to_install("exp-delta[served]")))
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect

    return _Websockets(connect, (WebSocketException, EOFError))


def _shut(connection: socket.socket) -> None:
    """Ends a connection at once: whoever waits for it is woken."""
    with contextlib.suppress(OSError):  # it has ended already
        connection.shutdown(socket.SHUT_RDWR)
