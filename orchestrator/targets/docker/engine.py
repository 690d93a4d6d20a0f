"""An open way to the API of a host's Docker Engine."""

from __future__ import annotations

import re
import socket
import ssl
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import docker
import requests
import requests.adapters
from docker.tls import TLSConfig

from orchestrator.errors import HostError, UnreachableError
from orchestrator.targets.docker.adapter import Adapter, Line
from orchestrator.targets.docker.endpoint import Endpoint, endpoint
from orchestrator.targets.docker.trouble import explained
from orchestrator.targets.docker.tunnel import Tunnel
from orchestrator.targets.link import UNANSWERED

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from orchestrator.targets.connection import ConnectionSpec
    from orchestrator.targets.docker.endpoint import Certificates

__all__ = ["OLDEST_API", "Engine", "explained", "open_engine"]

OLDEST_API = "1.40"
_NEWEST_API = "1.51"  # what is asked for at most: later ones leave out what we read
_SECONDS = 60.0  # for an answer, where the caller gives no other time
_LISTENED = 3.0  # seconds in which a refusal must come
_VERSION = re.compile(r"\d+\.\d+")


class Engine:
    """A Docker Engine; make one with `open_engine`. `url` is for people."""

    def __init__(self, api: docker.APIClient, url: str, cleaning: ExitStack) -> None:
        self.api = api
        self.url = url
        self._cleaning = cleaning

    def close(self) -> None:
        """Close every connection to it; safe to call twice."""
        self._cleaning.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def open_engine(spec: ConnectionSpec, *, timeout: float = _SECONDS) -> Engine:
    """The host's Docker Engine, after it answered which API it has.

    `timeout` is how many seconds an answer may take. Raises InventoryError when the inventory's
    words lead to no engine, UnreachableError or one of its kinds, and HostError for an engine that
    is too old.
    """
    found = endpoint(spec)
    with ExitStack() as stack:
        with explained(spec):
            try:
                api = _Client(spec, found, _adapter(spec, found, stack), timeout, stack)
            except requests.ConnectionError as exc:
                if found.certificates and (refusal := _refusal(spec, found, found.certificates)):
                    raise refusal from exc
                raise
        return Engine(api, found.shown, stack.pop_all())


def _adapter(
    spec: ConnectionSpec, found: Endpoint, stack: ExitStack
) -> requests.adapters.HTTPAdapter:
    if found.kind == "tls":
        return _TLSAdapter(spec.keepalive)
    if found.ssh is not None:
        tunnel = Tunnel(found.ssh, found.socket)
        stack.callback(tunnel.close)
        return Adapter(tunnel.dial)
    return Adapter(_dialler(found.address))


def _dialler(path: str) -> Callable[[float | None], Line]:
    def dial(seconds: float | None) -> Line:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(seconds)
            sock.connect(path)
        except BaseException:
            sock.close()
            raise
        return Line(sock)

    return dial


def _refusal(spec: ConnectionSpec, found: Endpoint, files: Certificates) -> ssl.SSLError | None:
    """The alert by which the engine refuses our certificate, if it does.

    In TLS 1.3 that comes after the handshake, and who is already sending a request mostly sees
    nothing but a connection that breaks. So we connect once more, and only listen.
    """
    url = urlsplit(found.address)
    context = ssl.create_default_context(cafile=files.ca)
    context.load_cert_chain(files.cert, files.key)
    try:
        with (
            socket.create_connection(
                (url.hostname, url.port or 0), timeout=spec.connect_timeout
            ) as plain,
            context.wrap_socket(plain, server_hostname=url.hostname) as sock,
        ):
            sock.settimeout(min(spec.connect_timeout, _LISTENED))
            sock.recv(1)
    except ssl.SSLError as exc:
        return exc
    except OSError:
        return None
    return None


class _Client(docker.APIClient):
    """docker-py's client over our connections, with one time for connecting and one for answers."""

    def __init__(
        self,
        spec: ConnectionSpec,
        found: Endpoint,
        adapter: requests.adapters.HTTPAdapter,
        timeout: float,
        stack: ExitStack,
    ) -> None:
        self._spec = spec
        self._over = adapter
        stack.callback(self.close)
        tls: bool | TLSConfig = False
        if files := found.certificates:
            tls = TLSConfig((str(files.cert), str(files.key)), str(files.ca), verify=True)
        super().__init__(
            found.address if tls else "unix:///engine",
            version="auto",
            timeout=cast("int", timeout),
            tls=tls,
        )

    def _retrieve_server_version(self) -> str:
        # Else REQUESTS_CA_BUNDLE would be trusted instead of ca.pem, and HTTPS_PROXY asked.
        self.trust_env = False
        for prefix in list(self.adapters):
            self.adapters.pop(prefix).close()
        self.mount(self.base_url, self._over)
        with self.get(f"{self.base_url}/version", timeout=self._spec.connect_timeout) as answer:
            return _negotiated(self._spec, answer.json() if answer.ok else None)

    def _set_request_timeout(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        seconds = kwargs.get("timeout", self.timeout)
        return {**kwargs, "timeout": (self._spec.connect_timeout, seconds)}


class _TLSAdapter(requests.adapters.HTTPAdapter):
    """Notices a machine that is gone while nothing is said, as in a long pull."""

    def __init__(self, keepalive: float) -> None:
        self._keepalive = max(1, round(keepalive))
        super().__init__()

    def init_poolmanager(self, *args: Any, **keywords: Any) -> None:
        """As requests wants it."""
        options = [
            (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
            (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        ]
        times = {
            "TCP_KEEPIDLE": self._keepalive,
            "TCP_KEEPINTVL": self._keepalive,
            "TCP_KEEPCNT": UNANSWERED,
        }
        options += [
            (socket.IPPROTO_TCP, getattr(socket, name), value)
            for name, value in times.items()
            if hasattr(socket, name)  # not on every system
        ]
        super().init_poolmanager(*args, **keywords, socket_options=options)


def _negotiated(spec: ConnectionSpec, answer: Any) -> str:
    """The newest API version that both sides have."""
    said = answer if isinstance(answer, dict) else {}
    newest, oldest = str(said.get("ApiVersion", "")), str(said.get("MinAPIVersion") or "0.0")
    if not _VERSION.fullmatch(newest) or not _VERSION.fullmatch(oldest):
        raise UnreachableError(
            f"{spec.name}: what answers at {spec.docker_host} is no Docker Engine",
            hint="Check orchestrate_docker_host.",
            code="docker_unreachable",
        )
    if _number(newest) < _number(OLDEST_API):
        raise HostError(
            f"{spec.name}: the Docker Engine {spec.docker_host} has API {newest}, {OLDEST_API} or "
            "newer (Docker 19.03) is needed",
            hint="Update Docker there: https://docs.docker.com/engine/install/",
            code="docker_too_old",
        )
    return max(min(newest, _NEWEST_API, key=_number), oldest, key=_number)


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
