"""A web server on 127.0.0.1 that serves one file, and misbehaves as it is told."""

from __future__ import annotations

import contextlib
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass
class Site:
    """What the server does. `ranges_asked` is the Range header of each request, "" for none.

    `cuts`: bytes of body after which the next requests are cut off. `statuses`: what the next
    requests are answered with instead of the file. `claimed`: a wrong Content-Length.
    `other_start`: answers ranges with a part that starts elsewhere. `moved`: paths that redirect.
    """

    content: bytes
    etag: str = '"one"'
    ranges: bool = True
    chunked: bool = False
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    claimed: int | None = None
    other_start: bool = False
    moved: dict[str, str] = field(default_factory=dict)
    ranges_asked: list[str] = field(default_factory=list)
    authorization: list[str] = field(default_factory=list)
    sent: int = 0
    address: str = ""

    def url(self, path: str) -> str:
        return f"http://{self.address}{path}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        site = self.site
        site.ranges_asked.append(self.headers.get("Range", ""))
        site.authorization.append(self.headers.get("Authorization", ""))
        if self.path in site.moved:
            self.send_response(302)
            self.send_header("Location", site.moved[self.path])
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif site.statuses:
            self.send_response(site.statuses.pop(0))
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.send_file(site)

    def send_file(self, site: Site) -> None:
        start = self.wanted_start(site)
        if start >= len(site.content) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(site.content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if start and site.other_start:
            start -= 1
        body = site.content[start:]
        self.send_response(206 if start else 200)
        if start:
            end = len(site.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{end}/{len(site.content)}")
        if site.etag:
            self.send_header("ETag", site.etag)
        if site.chunked:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        else:
            length = len(body) if site.claimed is None else site.claimed
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if site.cuts:
            body = body[: site.cuts.pop(0)]
        site.sent += len(body)
        self.wfile.write(body)

    def wanted_start(self, site: Site) -> int:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range", site.etag)
        return int(asked[1]) if asked and site.ranges and condition == site.etag else 0

    def end_headers(self) -> None:
        self.send_header("Connection", "close")
        super().end_headers()

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serve(site: Site) -> Iterator[Site]:
    """The site, up for as long as the block runs."""
    handler = type("SiteHandler", (Handler,), {"site": site})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        site.address = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield site
        finally:
            server.shutdown()
            thread.join()
