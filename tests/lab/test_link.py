"""What a Link does to real sockets."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from orchestrator.lab.link import Link, bridge


def tcp_pair():
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        other, _ = server.accept()
    return one, other


async def echo_through(link, data):
    """What comes back of `data` sent through `link` to an echo, and the seconds it took."""
    client, outside = tcp_pair()
    inside, host = socket.socketpair()
    bridging = asyncio.create_task(bridge(link, outside, inside))
    host_reader, host_writer = await asyncio.open_connection(sock=host)
    reader, writer = await asyncio.open_connection(sock=client)

    async def echo():
        while received := await host_reader.read(65536):
            host_writer.write(received)
            await host_writer.drain()
        host_writer.close()

    echoing = asyncio.create_task(echo())
    started = time.monotonic()
    writer.write(data)
    try:
        back = await reader.readexactly(len(data))
        took = time.monotonic() - started
    finally:
        writer.close()
        await bridging
        await echoing
    return back, took


def test_bytes_arrive_in_order():
    data = bytes(range(256)) * 4096
    back, _ = asyncio.run(echo_through(Link(latency=0.01, rate=50_000_000), data))
    assert back == data


@pytest.mark.parametrize(
    ("link", "size", "seconds"), [(Link(latency=0.2), 10, 0.2), (Link(rate=100_000), 30_000, 0.3)]
)
def test_a_slow_link_takes_at_least_its_time(link, size, seconds):
    _, took = asyncio.run(echo_through(link, bytes(size)))
    assert took >= seconds * 0.99


def test_a_cut_resets_the_connection_after_exactly_so_many_bytes():
    async def received_by_host():
        client, outside = tcp_pair()
        inside, host = socket.socketpair()
        bridging = asyncio.create_task(bridge(Link(cut_after=100_000), outside, inside))
        reader, host_writer = await asyncio.open_connection(sock=host)
        client_reader, client_writer = await asyncio.open_connection(sock=client)
        client_writer.write(bytes(150_000))
        data = await reader.read(-1)
        with pytest.raises(ConnectionResetError):
            await client_reader.readexactly(1)
        await bridging
        for writer in (host_writer, client_writer):
            writer.transport.abort()
        return len(data)

    assert asyncio.run(received_by_host()) == 100_000
