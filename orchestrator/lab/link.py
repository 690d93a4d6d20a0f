"""The network between the operator and a lab host: slow, far away, or cut in the middle."""

from __future__ import annotations

import asyncio
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter

SLICE = 16 * 1024
IN_FLIGHT = 64  # slices under way in one direction


@dataclass(frozen=True, slots=True)
class Link:
    """How a connection behaves; the default leaves it alone.

    `latency` in seconds is added to each round trip, `rate` is in bytes per second and direction
    (0: unlimited), `cut_after` is the number of bytes (as on the wire, encrypted) from the
    operator after which the connection is reset.
    """

    latency: float = 0.0
    rate: int = 0
    cut_after: int | None = None

    @property
    def plain(self) -> bool:
        """Whether it does nothing to a connection."""
        return self == Link()


async def bridge(link: Link, outside: socket.socket, inside: socket.socket) -> None:
    """Carry bytes between two connected sockets as `link` says until one side closes.

    Closes both; `outside` with a reset when `link` cuts it.
    """
    out_reader, out_writer = await asyncio.open_connection(sock=outside)
    in_reader, in_writer = await asyncio.open_connection(sock=inside)
    cut = asyncio.Event()
    tasks = [
        asyncio.ensure_future(_carry(link, out_reader, in_writer, link.cut_after, cut)),
        asyncio.ensure_future(_carry(link, in_reader, out_writer, None, cut)),
    ]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if cut.is_set():
            linger = struct.pack("ii", 1, 0)
            out_writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, linger
            )
            out_writer.transport.abort()
        out_writer.close()
        in_writer.close()


async def _carry(
    link: Link, reader: StreamReader, writer: StreamWriter, limit: int | None, cut: asyncio.Event
) -> None:
    """Carry one direction until it ends, breaks or reaches `limit`."""
    flight: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(IN_FLIGHT)
    landing = asyncio.ensure_future(_land(flight, writer))
    clock = asyncio.get_running_loop().time
    free_at = clock()
    left = SLICE if limit is None else limit
    try:
        while left and (data := await reader.read(min(SLICE, left))):
            if limit is not None:
                left -= len(data)
            if link.rate:
                free_at = max(free_at, clock()) + len(data) / link.rate
                await asyncio.sleep(free_at - clock())
            await flight.put((clock() + link.latency / 2, data))
        if not left:
            cut.set()
        await flight.put((clock() + link.latency / 2, b""))
        await landing
    except ConnectionError:
        return
    finally:
        landing.cancel()


async def _land(flight: asyncio.Queue[tuple[float, bytes]], writer: StreamWriter) -> None:
    """Deliver each slice when it is due, until an empty one or a broken connection."""
    clock = asyncio.get_running_loop().time
    while True:
        due, data = await flight.get()
        if due > clock():
            await asyncio.sleep(due - clock())
        if not data:
            return
        try:
            writer.write(data)
            await writer.drain()
        except ConnectionError:
            return
