"""Where a host's Docker Engine answers, and with which certificates. Connects to nothing."""

from __future__ import annotations

import hashlib
import json
import os
import ssl
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from orchestrator.errors import InventoryError
from orchestrator.fleet.urls import without_password
from orchestrator.listing import names

if TYPE_CHECKING:
    from orchestrator.targets.connection import ConnectionSpec

GUIDE = "docs/docker-certificates.md"
_WAYS = "unix:///PATH, ssh://user@host, tcp://host:2376, or the name of a docker context"
_SOCKET = "unix:///var/run/docker.sock"
_TLS_PORT = 2376
_PLAIN_PORT = 2375


@dataclass(frozen=True, slots=True)
class Certificates:
    """The files by which both ends of a TLS connection are sure of each other."""

    ca: Path
    cert: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A Docker Engine: `address` is a socket's path, an https URL, or the machine behind SSH.

    `ssh` is how that machine is reached, `socket` the one to take there, empty for its own choice.
    `shown` is for people.
    """

    kind: Literal["unix", "tls", "ssh"]
    address: str
    shown: str
    certificates: Certificates | None = None
    ssh: ConnectionSpec | None = None
    socket: str = ""


def endpoint(spec: ConnectionSpec) -> Endpoint:
    """The Docker Engine that a host's `orchestrate_docker_host` means.

    Raises InventoryError for what leads to none, for one without TLS, and for certificates that
    are missing or cannot be used.
    """
    url = spec.docker_host
    if "://" in url:
        return _at(spec, url, without_password(url), None)
    url, folder = _context(spec, url)
    return _at(spec, url, f"{without_password(url)} of docker context '{spec.docker_host}'", folder)


def _at(spec: ConnectionSpec, url: str, shown: str, certificates: Path | None) -> Endpoint:
    scheme, _, rest = url.partition("://")
    match scheme:
        case "unix":
            if not rest.startswith("/"):
                raise _bad(spec, shown, "the path of a socket starts with /")
            return Endpoint("unix", rest, shown)
        case "ssh":
            return _through_ssh(spec, url, shown)
        case "tcp" | "https":
            return _with_tls(spec, url, shown, certificates)
        case "http":
            raise _plain(spec, shown)
    raise _bad(spec, shown, f"'{scheme}' is no way to a Docker Engine here")


def _through_ssh(spec: ConnectionSpec, url: str, shown: str) -> Endpoint:
    host, port, path = _split(spec, url, shown)
    user = urlsplit(url).username
    ssh = replace(
        spec, kind="ssh", address=host, port=port or spec.port, user=user or spec.user or None
    )
    return Endpoint("ssh", host, shown, ssh=ssh, socket=path)


def _with_tls(spec: ConnectionSpec, url: str, shown: str, folder: Path | None) -> Endpoint:
    host, port, path = _split(spec, url, shown)
    if path or urlsplit(url).username:
        raise _bad(spec, shown, "only a host and a port belong there")
    if port == _PLAIN_PORT:
        raise _plain(spec, shown)
    host = f"[{host}]" if ":" in host else host
    return Endpoint(
        "tls", f"https://{host}:{port or _TLS_PORT}", shown, _certificates(spec, shown, folder)
    )


def _split(spec: ConnectionSpec, url: str, shown: str) -> tuple[str, int | None, str]:
    """Host, port and path of the URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as exc:
        raise _bad(spec, shown, str(exc)) from exc
    if parts.password is not None:
        raise InventoryError(
            f"{spec.name}: orchestrate_docker_host leads to a URL with a password in it",
            hint="Take it out; keys and certificates are what opens a Docker Engine.",
        )
    if not parts.hostname or port == 0:
        raise _bad(spec, shown, "it names no host")
    return parts.hostname, port, parts.path.rstrip("/")


def _certificates(spec: ConnectionSpec, shown: str, folder: Path | None) -> Certificates:
    """The files of TLS, after a look whether they can be used at all."""
    if spec.docker_tls:
        folder = Path(spec.docker_tls).expanduser()
    folder = folder or Path(os.environ.get("DOCKER_CERT_PATH") or _configuration())
    found = Certificates(folder / "ca.pem", folder / "cert.pem", folder / "key.pem")
    missing = [path.name for path in (found.ca, found.cert, found.key) if not path.is_file()]
    if missing:
        raise InventoryError(
            f"{spec.name}: {names(missing)} not found in {folder}, and {shown} is not talked to "
            "without TLS",
            hint=f"Set orchestrate_docker_tls to the folder that has them; {GUIDE} tells how to "
            "make them.",
        )
    file = found.ca
    try:
        context = ssl.create_default_context(cafile=found.ca)
        file = found.cert
        context.load_cert_chain(found.cert, found.key, password=_no_password)
    except (OSError, _EncryptedError) as exc:
        raise _unusable(spec, file, found, exc) from exc
    return found


class _EncryptedError(Exception):
    pass


def _no_password() -> str:
    raise _EncryptedError


def _unusable(
    spec: ConnectionSpec, file: Path, found: Certificates, exc: Exception
) -> InventoryError:
    if isinstance(exc, _EncryptedError):
        why = f"{found.key} is encrypted, and nobody is asked for its password"
    elif isinstance(exc, PermissionError):
        why = f"{file} or {found.key.name} beside it may not be read"
    elif isinstance(exc, ssl.SSLError) and exc.reason == "KEY_VALUES_MISMATCH":
        why = f"{found.key} is not the key of {found.cert}"
    elif file == found.cert:
        why = f"{found.cert} or {found.key.name} is not a PEM file as it should be"
    else:
        why = f"{file} holds no certificate"
    return InventoryError(f"{spec.name}: {why}", hint=f"Make it anew as in {GUIDE}.")


def _configuration() -> Path:
    """The folder of Docker's command line."""
    return Path(os.environ.get("DOCKER_CONFIG") or "~/.docker").expanduser()


def _context(spec: ConnectionSpec, name: str) -> tuple[str, Path | None]:
    """The URL of a docker context, and the folder of its certificates if it has any.

    Read here and not by docker-py, which looks into the working directory where there is no
    ~/.docker/config.json.
    """
    if name == "default":
        url = os.environ.get("DOCKER_HOST") or _SOCKET
        return url, None
    contexts = _configuration() / "contexts"
    digest = hashlib.sha256(name.encode()).hexdigest()
    try:
        found = _metadata(contexts / "meta" / digest / "meta.json")["Endpoints"]["docker"]
        url, unchecked = str(found["Host"]), bool(found.get("SkipTLSVerify"))
    except FileNotFoundError as exc:
        known = ", ".join(sorted(_known(contexts)))
        raise InventoryError(
            f"{spec.name}: '{name}' is the name of no docker context",
            hint=f"There are: {known}. Or write {_WAYS}.",
        ) from exc
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
        raise InventoryError(
            f"{spec.name}: docker context '{name}' cannot be read, or has no Docker endpoint",
            hint=f"Look at it: docker context inspect {name}",
        ) from exc
    if unchecked and url.startswith(("tcp://", "https://")):
        raise InventoryError(
            f"{spec.name}: docker context '{name}' does not check the certificate of its Docker "
            "Engine",
            hint=f"Make it anew without skip-tls-verify, with ca, cert and key; see {GUIDE}.",
        )
    folder = contexts / "tls" / digest / "docker"
    return url, folder if folder.is_dir() else None


def _known(contexts: Path) -> set[str]:
    """The names of all contexts that can be read."""
    found = {"default"}
    for file in contexts.glob("meta/*/meta.json"):
        try:
            found.add(str(_metadata(file)["Name"]))
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return found


def _metadata(file: Path) -> Any:
    return json.loads(file.read_text(encoding="utf-8"))


def _bad(spec: ConnectionSpec, shown: str, why: str) -> InventoryError:
    return InventoryError(
        f"{spec.name}: orchestrate_docker_host is '{shown}': {why}", hint=f"Write {_WAYS}."
    )


def _plain(spec: ConnectionSpec, shown: str) -> InventoryError:
    return InventoryError(
        f"{spec.name}: {shown} is plain TCP: whoever gets there is root on that machine",
        hint=f"Give the Docker Engine certificates ({GUIDE}) and its TLS port, {_TLS_PORT}; or "
        "write ssh://user@host.",
    )
