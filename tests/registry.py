"""A registry of container images on 127.0.0.1, where Docker Engines ask for no TLS: read-only.

It misbehaves as it is told.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import re
import tarfile
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from tests.waiting import LONG

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
GZIP = b"\x1f\x8b"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


@dataclass
class Registry:
    """What is served. `blobs` are by digest, `manifests` by (repository, tag or digest).

    `status` answers every request instead. With `login`, `user:password` in base64, others are
    turned away. Blobs in `cut` end after half of their bytes; with `half`, layers stop there until
    it is set. `asked` are the requests so far.
    """

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = field(default_factory=dict)
    status: int = 0
    login: str = ""
    cut: set[str] = field(default_factory=set)
    half: threading.Event | None = None
    asked: list[str] = field(default_factory=list)
    address: str = ""

    def add(
        self, name: str, tag: str, tree: Mapping[str, bytes], *, arch: str = "amd64"
    ) -> tuple[str, str]:
        """Serve an image of these files as `name:tag`; its digest and its id."""
        layers = [layer({path: content}) for path, content in sorted(tree.items())]
        diffs = [digest_of(each) for each in layers]
        config = json.dumps(
            {
                "architecture": arch,
                "os": "linux",
                "config": {"Cmd": ["/bin/true"]},
                "rootfs": {"type": "layers", "diff_ids": diffs},
                "history": [{"created": "2026-01-01T00:00:00Z"} for _ in diffs],
            }
        ).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": self._blob(CONFIG, config),
            "layers": [self._blob(LAYER, gzip.compress(each, mtime=0)) for each in layers],
        }
        return self._manifest(name, tag, MANIFEST, manifest), digest_of(config)

    def add_list(self, name: str, tag: str, digests: Mapping[str, str]) -> str:
        """Serve a list of images that are there, by architecture, as `name:tag`; its digest."""
        entries = [
            {
                "mediaType": MANIFEST,
                "digest": digest,
                "size": len(self.manifests[name, digest][1]),
                "platform": {"architecture": arch, "os": "linux"},
            }
            for arch, digest in digests.items()
        ]
        listed = {"schemaVersion": 2, "mediaType": MANIFEST_LIST, "manifests": entries}
        return self._manifest(name, tag, MANIFEST_LIST, listed)

    def _blob(self, kind: str, content: bytes) -> dict[str, object]:
        digest = digest_of(content)
        self.blobs[digest] = content
        return {"mediaType": kind, "digest": digest, "size": len(content)}

    def _manifest(self, name: str, tag: str, kind: str, manifest: object) -> str:
        content = json.dumps(manifest).encode()
        digest = digest_of(content)
        self.manifests[name, tag] = self.manifests[name, digest] = kind, content
        return digest


def layer(tree: Mapping[str, bytes]) -> bytes:
    """A tar file of a layer with these files, executable, owned by root."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for path, content in tree.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry: Registry

    def do_GET(self) -> None:
        registry = self.registry
        registry.asked.append(f"{self.command} {self.path}")
        if registry.status:
            self.refuse(registry.status, "DENIED" if registry.status == 403 else "UNKNOWN")
        elif registry.login and self.headers.get("Authorization") != f"Basic {registry.login}":
            self.refuse(401, "UNAUTHORIZED")
        elif self.path == "/v2/":
            self.answer(200, "application/json", b"{}")
        elif found := re.fullmatch(r"/v2/(.+)/manifests/([^/]+)", self.path):
            self.manifest(found[1], found[2])
        elif (found := re.fullmatch(r"/v2/.+/blobs/([^/]+)", self.path)) and (
            found[1] in registry.blobs
        ):
            content = registry.blobs[found[1]]
            self.answer(200, "application/octet-stream", content, cut=found[1] in registry.cut)
        else:
            self.refuse(404, "BLOB_UNKNOWN")

    def do_HEAD(self) -> None:
        self.do_GET()

    def manifest(self, name: str, reference: str) -> None:
        if (name, reference) not in self.registry.manifests:
            self.refuse(404, "MANIFEST_UNKNOWN")
            return
        kind, content = self.registry.manifests[name, reference]
        self.answer(200, kind, content)

    def refuse(self, status: int, code: str) -> None:
        message = code.lower().replace("_", " ")
        content = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        self.answer(status, "application/json", content)

    def answer(self, status: int, kind: str, content: bytes, *, cut: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        if status == 200 and "/manifests/" in self.path:
            self.send_header("Docker-Content-Digest", digest_of(content))
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="registry"')
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        middle = len(content) // 2
        self.wfile.write(content[:middle])
        if self.registry.half and content.startswith(GZIP):
            self.wfile.flush()
            self.registry.half.wait(LONG)
        if not cut:
            with contextlib.suppress(ConnectionError):
                self.wfile.write(content[middle:])

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def serve(registry: Registry) -> Iterator[Registry]:
    """The registry, up for as long as the block runs."""
    handler = type("RegistryHandler", (Handler,), {"registry": registry})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        registry.address = f"127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield registry
        finally:
            server.shutdown()
            thread.join()
