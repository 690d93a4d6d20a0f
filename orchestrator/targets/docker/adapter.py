"""HTTP to a Docker Engine over sockets that are not opened by host and port.

docker-py's own adapter for Unix sockets keeps idle connections for each URL apart. Here all
requests share a few, for each may be a channel of an SSH connection, which has only so many.
"""

from __future__ import annotations

from http.client import HTTPException
from typing import TYPE_CHECKING, Any, NamedTuple

import requests.adapters
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from orchestrator.errors import UnreachableError

_IDLE = 3  # connections kept open


class Line(NamedTuple):
    """A connection to the engine; `complaint` is what its other end said when it failed."""

    sock: socket.socket
    complaint: Callable[[], UnreachableError | None] = lambda: None


class Adapter(requests.adapters.HTTPAdapter):
    """Sends every request over connections that `dial(seconds)` opens."""

    def __init__(self, dial: Callable[[float | None], Line]) -> None:
        self._pool = _Pool(dial)
        super().__init__()

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,  # noqa: ARG002
        verify: bool | str | None,  # noqa: ARG002
        proxies: Mapping[str, str] | None = None,  # noqa: ARG002
        cert: tuple[str, str] | str | None = None,  # noqa: ARG002
    ) -> HTTPConnectionPool:
        """As requests wants it."""
        return self._pool

    def request_url(
        self,
        request: requests.PreparedRequest,
        proxies: Mapping[str, str] | None,  # noqa: ARG002
    ) -> str:
        """As requests wants it: there are no proxies on the way."""
        return request.path_url

    def close(self) -> None:
        """Close what is idle."""
        super().close()
        self._pool.close()


class _Pool(HTTPConnectionPool):
    def __init__(self, dial: Callable[[float | None], Line]) -> None:
        super().__init__("localhost", maxsize=_IDLE)
        self._dial = dial

    def _new_conn(self) -> _Connection:
        self.num_connections += 1
        return _Connection(self._dial)


class _Connection(HTTPConnection):
    def __init__(self, dial: Callable[[float | None], Line]) -> None:
        super().__init__("localhost")
        self._dial = dial
        self._line: Line | None = None

    def connect(self) -> None:
        seconds = self.timeout if isinstance(self.timeout, (int, float)) else None
        self._line = self._dial(seconds)
        self.sock = self._line.sock

    def getresponse(self) -> Any:
        try:
            return super().getresponse()
        except (HTTPException, OSError) as exc:
            if self._line and (complaint := self._line.complaint()):
                raise complaint from exc
            raise
