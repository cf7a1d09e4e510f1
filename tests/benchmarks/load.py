"""A load generator that takes little of the machine: kept connections, one request in flight on each."""

from __future__ import annotations

import itertools
import multiprocessing
import selectors
import socket
import statistics
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from urllib.parse import urlencode

import click

PROCESSES, CONNECTIONS = 2, 16
_PATIENCE_S = 60
_BLOCK = 1 << 18


@dataclass(frozen=True, slots=True)
class Request:
    """A request, of a kind that can be told apart in the results: a POST if it has a body."""

    path: str
    token: str = ""
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    kind: str = ""
    body: str = ""

    @property
    def address(self) -> str:
        """Return the path with the query."""
        return f"{self.path}?{urlencode(self.query)}" if self.query else self.path

    def encode(self) -> bytes:
        """Return the request as it is sent."""
        method = "POST" if self.body else "GET"
        headers = f"Authorization: Bearer {self.token}\r\n" if self.token else ""
        if self.body:
            headers += f"Content-Type: application/json\r\nContent-Length: {len(self.body.encode())}\r\n"
        return f"{method} {self.address} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}\r\n{self.body}".encode()


@dataclass(frozen=True, slots=True)
class Load:
    """What a burst of requests came to."""

    per_second: float
    latencies_ms: Mapping[str, Sequence[float]]  # by kind of request

    def quantile_ms(self, percent: int) -> float:
        """Return the latency that so many in a hundred requests kept within."""
        return quantile(list(itertools.chain.from_iterable(self.latencies_ms.values())), percent)


def quantile(values: Sequence[float], percent: int) -> float:
    """Return the value that so many in a hundred are not above."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1] if len(values) > 1 else values[0]


def burst(port: int, requests: Sequence[Request], seconds: float | None, connections: int = CONNECTIONS) -> Load:
    """Send requests over and over, each connection from another place in them on; fail on any refusal.

    Without a time each request is sent once.
    """
    processes = min(PROCESSES, connections)
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        share = connections // processes
        starts = [number * share for number in range(processes)]
        arguments = zip(*[(port, requests, seconds, share, start) for start in starts], strict=True)
        parts = list(pool.map(_drive, *arguments))
    latencies: dict[str, list[float]] = defaultdict(list)
    for taken, _ in parts:
        for kind, values in taken.items():
            latencies[kind] += values
    per_second = sum(sum(map(len, taken.values())) / took for taken, took in parts)
    return Load(per_second, latencies)


class _Connection:
    """A connection with its request in flight, and what came of the answer so far."""

    def __init__(self, port: int, accepted: Sequence[bytes] = (b"20",)) -> None:
        self._accepted = tuple(b"http/1.1 " + status for status in accepted)
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answer = bytearray()
        self._length = -1
        self.kind, self.begin = "", 0.0

    def send(self, kind: str, request: bytes) -> None:
        """Send the next request."""
        self.kind, self.begin = kind, time.perf_counter()
        self._answer.clear()
        self._length = -1
        self.socket.sendall(request)

    def receive(self) -> bool:
        """Take what is there; tell whether the answer is complete."""
        block = self.socket.recv(_BLOCK)
        if not block:
            raise click.ClickException("the server closed a connection under load")
        self._answer += block
        if self._length < 0:
            self._read_head()
        return len(self._answer) == self._length

    def _read_head(self) -> None:
        end = self._answer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = bytes(self._answer[:end]).lower()
        if not head.startswith(self._accepted):
            raise click.ClickException(f"{self.kind or 'a request'} was answered {bytes(self._answer[:2000])!r}")
        self._length = end + 4 + int(head.partition(b"content-length:")[2].partition(b"\r")[0])


def paced(port: int, requests: Sequence[Request], per_second: float, is_over: Callable[[], bool]) -> Load:
    """Send requests so many a second, whether or not answers keep up, over and over until it is over.

    A conflict is an answer too. Times count from when a request was due, so that none is left out that had to wait.
    """
    queue = itertools.cycle([(each.kind, each.encode()) for each in requests])
    latencies: dict[str, list[float]] = defaultdict(list)
    with selectors.DefaultSelector() as selector:
        # The one that waited longest goes first: the server closes those that are silent for seconds.
        idle = deque(_Connection(port, (b"20", b"409")) for _ in range(CONNECTIONS))
        for each in idle:
            selector.register(each.socket, selectors.EVENT_READ, each)
        begin = due = time.perf_counter()
        while not is_over():
            while idle and due <= time.perf_counter():
                connection = idle.popleft()
                connection.send(*next(queue))
                connection.begin = due
                due += 1 / per_second
            for key, _ in selector.select(min(max(due - time.perf_counter(), 0), 0.01) if idle else 0.01):
                if key.data.receive():
                    latencies[key.data.kind].append(1000 * (time.perf_counter() - key.data.begin))
                    idle.append(key.data)
        took = time.perf_counter() - begin
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    return Load(sum(map(len, latencies.values())) / took, latencies)


def _drive(
    port: int, requests: Sequence[Request], seconds: float | None, connections: int, start: int
) -> tuple[Mapping[str, list[float]], float]:
    encoded = [(each.kind, each.encode()) for each in requests]
    stride = len(encoded) // CONNECTIONS
    places = [(start + number) * stride for number in range(connections)]
    queues = [
        iter(encoded[place : place + stride]) if seconds is None else itertools.cycle(_rotated(encoded, place))
        for place in places
    ]
    latencies: dict[str, list[float]] = defaultdict(list)
    with selectors.DefaultSelector() as selector:
        begin = time.perf_counter()
        for queue in queues:
            connection = _Connection(port)
            selector.register(connection.socket, selectors.EVENT_READ, (connection, queue))
            connection.send(*next(queue))
        while selector.get_map() and (seconds is None or time.perf_counter() < begin + seconds):
            for key, _ in selector.select(_PATIENCE_S):
                connection, queue = key.data
                if connection.receive():
                    latencies[connection.kind].append(1000 * (time.perf_counter() - connection.begin))
                    if (following := next(queue, None)) is not None:
                        connection.send(*following)
                    else:
                        selector.unregister(connection.socket).data[0].socket.close()
        took = time.perf_counter() - begin
        for key in list(selector.get_map().values()):
            key.data[0].socket.close()
    return latencies, took


def _rotated(values: Sequence[tuple[str, bytes]], by: int) -> Sequence[tuple[str, bytes]]:
    return [*values[by:], *values[:by]]
