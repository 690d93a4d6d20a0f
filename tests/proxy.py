"""A link to a host that can be cut, go silent, be slow or far away."""

from __future__ import annotations

import contextlib
import queue
import random
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from typing import Self

    from tests.sshd import Sshd

SLICE = 32768  # bytes read at once
IN_FLIGHT = 32  # slices that are under way at once
Way = Literal["there", "back"]


class Cut:
    """A TCP proxy to a host.

    `after` counts bytes towards the host, `after_back` bytes from it, over all connections; when
    they have passed, `then` happens once and later connections pass whole. `bytes_per_second`
    limits each connection's way there; `latency` is in seconds, each way.

    At any moment: `cut` breaks what is open, `down` refuses newcomers too until `up`, and `stall`
    passes nothing while it keeps everything open, and accepts newcomers, until `heal`.
    """

    def __init__(
        self,
        host: Sshd,
        *,
        after: int | None = None,
        after_back: int | None = None,
        then: Literal["cut", "stall"] = "cut",
        bytes_per_second: float | None = None,
        latency: float = 0.0,
    ) -> None:
        self.host = host
        self.then = then
        self.bytes_per_second = bytes_per_second
        self.latency = latency
        self.happened = threading.Event()
        self._passed: dict[Way, int] = {"there": 0, "back": 0}
        self._after: dict[Way, int | None] = {"there": after, "back": after_back}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._passing = threading.Event()
        self._passing.set()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._listener = socket.create_server((random_loopback_address(), 0), backlog=64)
        self.address, self.port = self._listener.getsockname()
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    @property
    def after(self) -> int | None:
        """How many bytes towards the host may pass; None once it happened, or for no limit."""
        return self._after["there"]

    @after.setter
    def after(self, size: int | None) -> None:
        self._after["there"] = size

    @property
    def passed(self) -> int:
        """Bytes that went towards the host so far."""
        return self._passed["there"]

    @property
    def passed_back(self) -> int:
        """Bytes that came from the host so far."""
        return self._passed["back"]

    @property
    def connections(self) -> int:
        """How many connections were made and not cut since."""
        return len(self._pairs)

    def inventory_vars(self) -> dict[str, Any]:
        """The host's variables, by way of this proxy."""
        known_hosts = self.host.folder / f"known_hosts-{self.port}"
        known_hosts.write_text(self.host.known_hosts_line(self.address, self.port))
        return {
            **self.host.inventory_vars(),
            "ansible_host": self.address,
            "ansible_port": self.port,
            "ansible_ssh_common_args": known_hosts_option(known_hosts),
        }

    def cut(self) -> None:
        """Break every open connection."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            reset(*pair)

    def down(self) -> None:
        """Break every open connection and refuse new ones."""
        shut(self._listener)
        self.cut()

    def up(self) -> None:
        """Take new connections again."""
        self._listener = socket.create_server((self.address, self.port), backlog=64)
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def stall(self) -> None:
        """Pass nothing any more; everything stays open and newcomers are accepted."""
        self._passing.clear()

    def heal(self) -> None:
        """Pass what was held up by `stall`, and all that comes."""
        self._passing.set()

    def close(self) -> None:
        """Stop listening and break what is open."""
        self._closed.set()
        self._passing.set()
        shut(self._listener)
        with self._lock:
            for pair in self._pairs:
                for end in pair:
                    shut(end)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _accept(self, listener: socket.socket) -> None:
        while not self._closed.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection((self.host.address, self.host.port))
            except OSError:
                shut(client)
                continue
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._pairs.append((client, server))
            self._pump("there", client, server)
            self._pump("back", server, client)

    def _pump(self, way: Way, source: socket.socket, sink: socket.socket) -> None:
        held: queue.Queue[tuple[float, bytes]] = queue.Queue(IN_FLIGHT)
        threading.Thread(target=self._read, args=(way, source, held), daemon=True).start()
        threading.Thread(target=self._write, args=(way, held, source, sink), daemon=True).start()

    def _read(
        self, way: Way, source: socket.socket, held: queue.Queue[tuple[float, bytes]]
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(SLICE):
                held.put((time.monotonic() + self.latency, data))
                if self.bytes_per_second and way == "there":
                    time.sleep(len(data) / self.bytes_per_second)
        held.put((time.monotonic() + self.latency, b""))

    def _write(
        self,
        way: Way,
        held: queue.Queue[tuple[float, bytes]],
        source: socket.socket,
        sink: socket.socket,
    ) -> None:
        with contextlib.suppress(OSError):
            while True:
                due, data = held.get()
                time.sleep(max(0.0, due - time.monotonic()))
                self._passing.wait()
                if not data:
                    break
                allowed = self._allow(way, len(data))
                sink.sendall(data[:allowed])
                if allowed < len(data):
                    self._break(source, sink)
                    return
        shut(sink)
        if way == "back":
            shut(source)

    def _allow(self, way: Way, size: int) -> int:
        """How many of the next `size` bytes pass."""
        with self._lock:
            limit = self._after[way]
            if limit is not None and self._passed[way] + size > limit:
                size = limit - self._passed[way]
                self._after[way] = None
            self._passed[way] += size
            return size

    def _break(self, source: socket.socket, sink: socket.socket) -> None:
        self.happened.set()
        if self.then == "stall":
            self._closed.wait()
            return
        reset(source, sink)


def reset(*ends: socket.socket) -> None:
    """Close with a reset, as from a dead link, not with an orderly end."""
    for end in ends:
        with contextlib.suppress(OSError):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        shut(end)


def shut(end: socket.socket) -> None:
    """Close a socket even while another thread waits in it."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


def known_hosts_option(known_hosts: object) -> str:
    """The arguments by which OpenSSH's client trusts exactly this file."""
    return f"-o UserKnownHostsFile={known_hosts} -o StrictHostKeyChecking=yes"


def random_loopback_address() -> str:
    """An address of 127.0.0.0/8 that hardly anybody else uses."""
    chosen = random.SystemRandom()
    return f"127.{chosen.randrange(16, 250)}.{chosen.randrange(256)}.{chosen.randrange(1, 255)}"
