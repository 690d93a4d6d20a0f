"""The background process that serves a lab's hosts: `python -m orchestrator.lab.daemon PROJECT`.

It reads the lab's plan.json, opens every host and a control port on 127.0.0.1, writes
running.json, and ends when it is told to or when the lab's folder is gone. The process that was
started ends as soon as the hosts take connections: with 0, or with 1 when they do not.
"""

from __future__ import annotations

import asyncio
import functools
import hmac
import json
import logging
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncssh

from orchestrator.errors import OrchestrateError
from orchestrator.lab.hosts import lab_hosts
from orchestrator.lab.layout import Layout, read_json, write_json
from orchestrator.lab.link import Link
from orchestrator.lab.processes import end_marked
from orchestrator.lab.server import ADDRESS, HostServer, furnish, public_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

WATCH_SECONDS = 1.0
PATIENCE = 5.0  # seconds for the processes of a host to end


def main() -> None:
    """Leave a daemon behind that serves the lab of the project named on the command line."""
    layout = Layout(Path(sys.argv[1]))
    ready, tell = os.pipe()
    if os.fork():
        os.close(tell)
        with os.fdopen(ready, "rb") as pipe:
            sys.exit(0 if pipe.read() == b"ready" else 1)
    os.close(ready)
    os.setsid()
    os.umask(0o022)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    asyncio.run(serve(layout, functools.partial(_report_ready, tell)))


def _report_ready(tell: int) -> None:
    os.write(tell, b"ready")
    os.close(tell)


async def serve(layout: Layout, report_ready: Callable[[], None]) -> None:
    """Serve the lab that plan.json describes until told to stop or its folder is gone."""
    plan = read_json(layout.plan)
    token = plan["token"]
    link = Link(latency=plan["latency"], rate=plan["rate"])
    client_key = _write_client_key(layout.client_key)
    servers: dict[str, HostServer] = {}
    for number, host in enumerate(lab_hosts(plan["hosts"])):
        folder = layout.host(host.name)
        furnish(folder, host.identity)
        port = plan["port_base"] and plan["port_base"] + number
        servers[host.name] = HostServer(
            folder, port=port, token=token, client_key=client_key, link=link
        )
        await servers[host.name].open()

    stop = asyncio.Event()
    control = await asyncio.start_server(
        functools.partial(_answer, Control(servers, link, token, stop)), ADDRESS, 0
    )
    running = {
        "pid": os.getpid(),
        "control_port": control.sockets[0].getsockname()[1],
        "hosts": {
            name: {"port": server.port, "host_key": server.public_key}
            for name, server in servers.items()
        },
    }
    write_json(layout.running, running)
    report_ready()
    while not stop.is_set() and layout.plan.exists():
        try:
            await asyncio.wait_for(stop.wait(), WATCH_SECONDS)
        except TimeoutError:
            continue
    control.close()
    for server in servers.values():
        await server.close()


def _write_client_key(path: Path) -> str:
    """Make the key by which the operator gets in, at `path`; its public half."""
    key = asyncssh.generate_private_key("ssh-ed25519", comment="orchestrate lab")
    path.touch(mode=0o600)
    key.write_private_key(path)
    return public_key(key)


class Control:
    """What the control port can do: tell how hosts are, switch, break and mend them, stop."""

    def __init__(
        self, servers: dict[str, HostServer], link: Link, token: str, stop: asyncio.Event
    ) -> None:
        self._servers = servers
        self._link = link
        self._token = token
        self._stop = stop
        self._broken: dict[str, str] = {}
        self._down: set[str] = set()

    async def carry_out(self, request: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request; `error` in it says why nothing was done."""
        if not hmac.compare_digest(str(request.get("token", "")), self._token):
            return {"error": "not the token of this lab"}
        match request.get("do"):
            case "status":
                return {"pid": os.getpid(), "broken": self._broken, "down": sorted(self._down)}
            case "stop":
                self._stop.set()
            case "down":
                await self._take_down(request["hosts"])
            case "up":
                self._down.difference_update(request["hosts"])
                for host in request["hosts"]:
                    await self._listen(host)
            case "break":
                await self._break(request["host"], request["how"])
            case "mend":
                await self._mend(request["host"])
            case other:
                return {"error": f"cannot do '{other}'"}
        return {}

    async def _take_down(self, hosts: Iterable[str]) -> None:
        """End the hosts' connections and all that runs there; what comes loose ends, too."""
        for host in hosts:
            self._down.add(host)
            await self._listen(host)
        await asyncio.gather(*(self._servers[host].close() for host in hosts))
        for host in hosts:
            await asyncio.to_thread(end_marked, self._token, host, patience=PATIENCE)

    async def _break(self, host: str, how: str) -> None:
        self._undo(host)
        self._broken[host] = how
        fault, _, number = how.partition(":")
        if fault == "new-host-key":
            self._servers[host].change_host_key(back=False)
        elif fault == "cut-after":
            self._servers[host].link = replace(self._link, cut_after=int(number))
        await self._listen(host)

    async def _mend(self, host: str) -> None:
        self._undo(host)
        await self._listen(host)

    def _undo(self, host: str) -> None:
        self._broken.pop(host, None)
        self._servers[host].link = self._link
        self._servers[host].change_host_key(back=True)

    async def _listen(self, host: str) -> None:
        """Take connections, or no new ones where the host is down or refuses them."""
        if host in self._down or self._broken.get(host) == "refuse":
            await self._servers[host].refuse()
        else:
            await self._servers[host].open()


async def _answer(
    control: Control, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Take one request, a line of JSON, and answer it with another."""
    try:
        answer = await control.carry_out(json.loads(await reader.readline()))
    except (ValueError, KeyError, OSError, OrchestrateError) as exc:
        answer = {"error": f"{type(exc).__name__}: {exc}"}
    writer.write(json.dumps(answer).encode() + b"\n")
    await writer.drain()
    writer.close()


if __name__ == "__main__":
    main()
