"""The same release for pyinfra: a file, a config made from a template, a link, and a checksum."""

from __future__ import annotations

from pathlib import Path

from pyinfra.context import host
from pyinfra.operations import files, server

root = host.data.root
files.put(name="Send the net", src=host.data.net, dest=f"{root}/releases/v1/model.bin")
files.template(
    name="Render its config",
    src=str(Path(__file__).with_name("net.cfg.j2")),
    dest=f"{root}/releases/v1/net.cfg",
    label=host.data.label,
)
files.link(name="Switch to it", path=f"{root}/current", target="releases/v1")
server.shell(
    name="Hash what arrived",
    commands=[f"sha256sum {root}/current/model.bin | grep -q {host.data.digest}"],
)
