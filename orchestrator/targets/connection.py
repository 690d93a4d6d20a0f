"""How to reach a host, read from its inventory variables. Pure: opens nothing."""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jinja2 import StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

from orchestrator.errors import InventoryError
from orchestrator.fleet.image import DOCKER_ROOT, ImageSource, image_source
from orchestrator.fleet.image import HINT as IMAGE_HINT
from orchestrator.fleet.urls import without_password

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.fleet.host import Host

DOCKER_CONTAINER = "orchestrate"
_CONTAINER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,39}")

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_YES = {"true", "yes", "on", "1", "y", "t"}
_NO = {"", "false", "no", "off", "0", "n", "f"}
_ENVIRONMENT = SandboxedEnvironment(undefined=StrictUndefined)


@dataclass(frozen=True, slots=True)
class ConnectionSpec:
    """Where a host is and how to get in.

    Empty strings and None leave the choice to ~/.ssh/config and its defaults. `known_hosts` empty
    means the user's and the system's files. `jump` is `[user@]host[:port]`, comma separated.
    Times are in seconds. Of a Docker host `docker_host` is `unix://…`, `ssh://…`, `tcp://…`, or the
    name of a docker context; `docker_tls` is the folder of its certificates; with `ssh://` address,
    port and user are those of the machine that is gone through.
    """

    name: str
    kind: str = "ssh"
    address: str = ""
    port: int | None = None
    user: str | None = None
    key_file: str = ""
    password: str = ""
    known_hosts: tuple[str, ...] = ()
    jump: str = ""
    proxy_command: str = ""
    ssh_config: str = ""
    compress: bool = False
    become: bool = False
    become_user: str = "root"
    become_password: str = ""
    connect_timeout: float = 10.0
    keepalive: float = 15.0
    root: str = ""
    python: str = ""
    docker_host: str = ""
    docker_tls: str = ""
    container: str = ""
    image: ImageSource | None = None

    def __repr__(self) -> str:
        """Without secrets: it may end up in a log."""
        return f"ConnectionSpec({self.name}, {self.kind}, {self.address}:{self.port})"


def connection_spec(
    host: Host,
    *,
    connect_timeout: float = 10.0,
    keepalive: float = 15.0,
    folder: Path | None = None,
) -> ConnectionSpec:
    """The connection that a host's `ansible_*` and `orchestrate_*` variables ask for.

    `folder` is the fleet project's. Raises InventoryError for values that cannot be understood.
    """
    given = {k: _templated(host, k, v) for k, v in host.vars.items() if _is_ours(k)}

    def text(*names: str) -> str:
        return next(filter(None, (_text(host.name, n, given.get(n)) for n in names)), "")

    kind = {"paramiko": "ssh", "smart": "ssh"}.get(text("ansible_connection"), "") or (
        text("ansible_connection") or "ssh"
    )
    if kind not in {"ssh", "local", "docker"}:
        raise InventoryError(
            f"{host.name}: ansible_connection is '{kind}'",
            hint="Supported are ssh, local and docker.",
        )
    options = _ssh_arguments(
        host.name, text("ansible_ssh_common_args"), text("ansible_ssh_extra_args")
    )
    spec = ConnectionSpec(
        name=host.name,
        kind=kind,
        address=text("ansible_host", "ansible_ssh_host") or host.name,
        port=_port(host.name, text("ansible_port", "ansible_ssh_port") or options.get("port", "")),
        user=text("ansible_user", "ansible_ssh_user", "ansible_remote_user")
        or options.get("user")
        or None,
        key_file=text("ansible_ssh_private_key_file", "ansible_private_key_file")
        or options.get("identityfile", ""),
        password=text("ansible_password", "ansible_ssh_pass", "ansible_ssh_password"),
        known_hosts=tuple(options.get("userknownhostsfile", "").split()),
        jump=options.get("proxyjump", ""),
        proxy_command=options.get("proxycommand", ""),
        ssh_config=options.get("config", ""),
        compress=options.get("compression", "no") == "yes",
        become=_truth(host.name, "ansible_become", given.get("ansible_become")),
        become_user=text("ansible_become_user") or "root",
        become_password=text("ansible_become_password", "ansible_become_pass"),
        connect_timeout=_seconds(host.name, options.get("connecttimeout", connect_timeout)),
        keepalive=keepalive,
        root=_root(host.name, text("orchestrate_root")),
        python=text("orchestrate_python"),
    )
    return spec if kind != "docker" else _docker(spec, text, folder or Path())


def _docker(spec: ConnectionSpec, text: Callable[..., str], folder: Path) -> ConnectionSpec:
    """The spec of a Docker host, with what only such hosts have."""
    engine = text("orchestrate_docker_host")
    if not engine:
        raise InventoryError(
            f"{spec.name}: orchestrate_docker_host is missing",
            hint="Write unix:///var/run/docker.sock, ssh://user@host, tcp://host:2376, or the name "
            "of a docker context.",
        )
    image = text("orchestrate_image")
    if not image:
        raise InventoryError(f"{spec.name}: orchestrate_image is missing", hint=IMAGE_HINT)
    container = text("orchestrate_container") or DOCKER_CONTAINER
    if not _CONTAINER.fullmatch(container):
        raise InventoryError(
            f"{spec.name}: orchestrate_container is '{container}'",
            hint="Letters, digits, and _ . - inside, at most 40.",
        )
    spec = replace(
        spec,
        docker_host=engine,
        docker_tls=_folder(folder, text("orchestrate_docker_tls")),
        container=container,
        image=image_source(spec.name, image, folder),
        root=DOCKER_ROOT,
    )
    scheme, _, rest = engine.partition("://")
    return _through_ssh(spec, engine) if scheme == "ssh" and rest else spec


def _folder(project: Path, text: str) -> str:
    return str((project / Path(text).expanduser()).absolute()) if text else ""


def _through_ssh(spec: ConnectionSpec, engine: str) -> ConnectionSpec:
    url = urlsplit(engine)
    try:
        port = url.port
    except ValueError:
        port = 0
    if not url.hostname or port == 0 or url.path.strip("/") or url.password:
        raise InventoryError(
            f"{spec.name}: orchestrate_docker_host is '{without_password(engine)}'",
            hint="Write ssh://user@host or ssh://user@host:port.",
        )
    return replace(
        spec, address=url.hostname, port=port or spec.port, user=url.username or spec.user
    )


def _is_ours(name: str) -> bool:
    return name.startswith(("ansible_", "orchestrate_"))


def _templated(host: Host, name: str, value: Any) -> Any:
    """The value with its Jinja expressions filled in; what a secret is stays out of errors."""
    if not isinstance(value, str) or "{{" not in value:
        return value
    try:
        return _ENVIRONMENT.from_string(value).render(
            {**host.vars, "inventory_hostname": host.name, "group_names": list(host.groups)}
        )
    except Exception as exc:
        if _is_secret(name):
            raise InventoryError(
                f"{host.name}: {name} has '{{{{' in it and cannot be filled in as a template",
                hint="Where the braces are part of the password, write: "
                "'{% raw %}' + the password + '{% endraw %}', in one quoted text.",
            ) from None
        raise InventoryError(
            f"{host.name}: {name}: {exc}", hint=f"The value is {value!r}."
        ) from exc


def _is_secret(name: str) -> bool:
    return "pass" in name


def _text(host: str, name: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        kind = {list: "a list", dict: "a mapping", bool: "true/false"}.get(type(value), "no text")
        raise InventoryError(f"{host}: {name} is {kind}", hint="Write it as one text, in quotes.")
    if _CONTROL.search(str(value)):
        raise InventoryError(
            f"{host}: {name} has a control character in it",
            hint="Write it on one line, without tabs and escapes.",
        )
    return str(value)


def _truth(host: str, name: str, value: Any) -> bool:
    text = str("" if value is None else value).strip().lower()
    if text not in _YES | _NO:
        raise InventoryError(f"{host}: {name} is '{text}'", hint="It is true or false.")
    return text in _YES


def _root(host: str, text: str) -> str:
    """The folder without slashes at its end; `~` is the login user's home, which the host knows."""
    if not text.startswith(("/", "~/")) and text not in {"", "~"}:
        hint = "Write it from the root, as in /opt/orchestrate, or from the home, as in ~/nets."
        if text.startswith("~"):
            hint = f"Only the login user's own home has a short name. {hint}"
        raise InventoryError(f"{host}: orchestrate_root is '{text}'", hint=hint)
    return text.rstrip("/") or text[:1]


def _port(host: str, text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or not 0 < int(text) < 65536:  # noqa: PLR2004
        raise InventoryError(
            f"{host}: ansible_port is '{text}'", hint="A port is a number from 1 to 65535."
        )
    return int(text)


def _seconds(host: str, value: str | float) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InventoryError(
            f"{host}: ConnectTimeout is '{value}'", hint="It is a number of seconds above 0."
        )
    return seconds


_OPTION = re.compile(r"^\s*(\w*)\s*=?\s*")
_FLAGS = {
    "-J": "proxyjump",
    "-p": "port",
    "-l": "user",
    "-i": "identityfile",
    "-F": "config",
}
_OPTIONS = {
    "proxyjump",
    "proxycommand",
    "port",
    "user",
    "identityfile",
    "userknownhostsfile",
    "connecttimeout",
    "compression",
}
# Host keys are always checked, connections are never shared between processes, and nobody is
# asked anything: these change nothing here.
_WITHOUT_EFFECT = {
    "stricthostkeychecking",
    "controlmaster",
    "controlpath",
    "controlpersist",
    "batchmode",
    "serveraliveinterval",
    "serveralivecountmax",
    "identitiesonly",
    "preferredauthentications",
    "loglevel",
}


def _ssh_arguments(host: str, *texts: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        try:
            words = shlex.split(text)
        except ValueError as exc:
            raise InventoryError(
                f"{host}: ansible_ssh_common_args: {exc}", hint=f"The value is {text!r}."
            ) from exc
        while words:
            word = words.pop(0)
            flag, rest = word[:2], word[2:]
            if flag == "-C":
                found["compression"] = "yes"
                continue
            value = rest or (words.pop(0) if words else "")
            if flag in _FLAGS:
                found.setdefault(_FLAGS[flag], value)
            elif flag == "-o":
                key = _OPTION.match(value)
                assert key is not None  # noqa: S101 - it matches the empty word too
                _option(host, found, key[1].lower(), value[key.end() :].strip())
            else:
                raise _not_understood(host, word)
    if "userknownhostsfile" in found:
        found["userknownhostsfile"] = " ".join(
            str(Path(p).expanduser()) for p in found["userknownhostsfile"].split()
        )
    return found


def _option(host: str, found: dict[str, str], key: str, value: str) -> None:
    if key in _OPTIONS:
        found.setdefault(key, value)
    elif key not in _WITHOUT_EFFECT:
        raise _not_understood(host, f"-o {key}")


def _not_understood(host: str, word: str) -> InventoryError:
    return InventoryError(
        f"{host}: ansible_ssh_common_args: '{word}' is not understood here",
        hint="Put it into ~/.ssh/config under this host, or use -J, -p, -l, -i, -F, "
        "-o ProxyJump, ProxyCommand, UserKnownHostsFile, IdentityFile, ConnectTimeout.",
    )
