"""What goes wrong with a Docker Engine, as errors that say why and what to do."""

from __future__ import annotations

import contextlib
import errno
import http.client
import json
import socket
import ssl
from typing import TYPE_CHECKING

import docker.errors
import requests
import urllib3.exceptions

from orchestrator.errors import AuthError, CommandError, OrchestrateError, UnreachableError
from orchestrator.targets.docker.endpoint import GUIDE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.targets.connection import ConnectionSpec

_MOST = 600  # characters of the engine's words in a message
_NO_ROUTE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN}
_LATE = (TimeoutError, requests.Timeout, urllib3.exceptions.TimeoutError)
_EXPIRED, _NOT_YET, _UNKNOWN = {10}, {9}, {2, 18, 19, 20, 21}  # OpenSSL's X509_V_ERR_…
_OTHER_NAME = {62, 64}


@contextlib.contextmanager
def explained(spec: ConnectionSpec, doing: str = "") -> Iterator[None]:
    """Turn what goes wrong between us and the engine into an error of ours.

    `doing` says what was tried, as in `creating the container`. Errors of local files pass
    unchanged.
    """
    try:
        yield
    except OrchestrateError:
        raise
    except docker.errors.APIError as exc:
        raise CommandError(f"{_what(spec, doing)}: {_said(exc)}", code="docker_refused") from exc
    except (
        docker.errors.DockerException,
        urllib3.exceptions.HTTPError,
        http.client.HTTPException,
        json.JSONDecodeError,
        OSError,
    ) as exc:
        if isinstance(exc, OSError) and exc.filename is not None:
            raise
        raise explain(exc, spec, doing) from exc


def explain(exc: BaseException, spec: ConnectionSpec, doing: str = "") -> OrchestrateError:
    """The error for an exception of docker-py, requests, urllib3 or a socket."""
    chain = list(_chain(exc))
    for each in chain:
        if isinstance(each, ssl.SSLCertVerificationError):
            return _bad_certificate(each, spec)
    for each in chain:
        if isinstance(each, ssl.SSLError) and not isinstance(each, ssl.SSLEOFError):
            return _tls(each, spec)
    if isinstance(exc, (json.JSONDecodeError, requests.exceptions.InvalidJSONError)):
        return UnreachableError(
            f"{_where(spec)}: what answers there is no Docker Engine",
            hint="Check orchestrate_docker_host.",
            code="docker_unreachable",
        )
    if reason := _not_reached(chain, spec):
        return reason
    return _cut_off(exc, chain, spec, doing)


def _not_reached(chain: list[BaseException], spec: ConnectionSpec) -> UnreachableError | None:
    """The error for a connection that did not come about."""
    unix = spec.docker_host.startswith("unix://")
    for each in chain:
        match each:
            case FileNotFoundError():
                why = "there is no such socket"
                hint = "Is Docker installed and running? Try: sudo systemctl start docker"
            case PermissionError():
                return AuthError(
                    f"{_where(spec)}: permission denied",
                    hint="Add yourself to the group docker (sudo usermod -aG docker $USER, then "
                    "log in anew), which makes you as mighty as root there; or use a rootless "
                    "Docker Engine.",
                    code="docker_permission",
                )
            case ConnectionRefusedError():
                why = "connection refused"
                hint = "Is the Docker Engine running there? Try: sudo systemctl start docker"
                if not unix:
                    hint += f". It must listen there, with TLS: {GUIDE}."
            case socket.gaierror():
                why = f"the name cannot be resolved ({each.strerror})"
                hint = "Check orchestrate_docker_host."
            case OSError(errno=number) if number in _NO_ROUTE:
                why = each.strerror or "no route"
                hint = "Is the machine on, and in this network?"
            case _:
                continue
        return UnreachableError(f"{_where(spec)}: {why}", hint=hint, code="docker_unreachable")
    # Last: urllib3 counts other failures to connect as kinds of it.
    if any(isinstance(each, urllib3.exceptions.ConnectTimeoutError) for each in chain):
        return UnreachableError(
            f"{_where(spec)}: no answer in time",
            hint="Is the machine on, and is the port open in its firewall?",
            code="docker_unreachable",
        )
    return None


def _cut_off(
    exc: BaseException, chain: list[BaseException], spec: ConnectionSpec, doing: str
) -> OrchestrateError:
    """The error for a connection that was there."""
    during = f" while {doing}" if doing else ""
    if any(isinstance(each, _LATE) for each in chain):
        return UnreachableError(
            f"{_where(spec)}: no answer in time{during}",
            hint="Is the machine overloaded? Try there: docker info",
            code="timeout",
        )
    if isinstance(exc, docker.errors.DockerException):
        return CommandError(f"{_what(spec, doing)}: {_one_line(str(exc))}", code="docker_refused")
    why = next(
        (each.strerror for each in reversed(chain) if isinstance(each, OSError) and each.strerror),
        "",
    )
    hint = f"Look what is there now: orchestrate status --limit {spec.name}"
    if spec.docker_host.startswith("tcp://"):
        hint += f". An engine that refuses our certificate may hang up like this too: {GUIDE}."
    return UnreachableError(
        f"{_where(spec)}: the connection broke{during}" + (f" ({why})" if why else ""),
        hint=hint,
        code="connection_lost",
    )


def _bad_certificate(exc: ssl.SSLCertVerificationError, spec: ConnectionSpec) -> AuthError:
    """The error for an engine whose certificate we do not accept."""
    code = exc.verify_code
    if code in _EXPIRED:
        why = "its certificate has expired"
        hint = f"Make it a new one ({GUIDE}, Renewal), or set this machine's clock."
    elif code in _NOT_YET:
        why = "its certificate is not valid yet"
        hint = "One of the two clocks is wrong."
    elif code in _UNKNOWN:
        why = "its certificate is not from the authority in our ca.pem"
        hint = (
            f"Somebody may be in between. If not, ca.pem is of another authority: {GUIDE}; "
            "see orchestrate_docker_tls."
        )
    elif code in _OTHER_NAME:
        why = f"its certificate is for another name: {exc.verify_message}"
        hint = (
            "Write a name in orchestrate_docker_host that the certificate has, or make one with "
            f"this name as subjectAltName: {GUIDE}."
        )
    else:
        why = f"its certificate is not accepted: {exc.verify_message}"
        hint = f"Make it as in {GUIDE}."
    return AuthError(f"{_where(spec)}: {why}", hint=hint, code="docker_server_certificate")


def _tls(exc: ssl.SSLError, spec: ConnectionSpec) -> UnreachableError:
    """The error for TLS that failed otherwise."""
    reason = exc.reason or ""
    if "ALERT" in reason and "VERSION" not in reason and "INTERNAL" not in reason:
        alert = reason.partition("ALERT_")[2].replace("_", " ").lower()
        return AuthError(
            f"{_where(spec)}: it refused our certificate ({alert})",
            hint="cert.pem must be unexpired, for clients (extendedKeyUsage clientAuth), and from "
            f"the authority in the engine's tlscacert: {GUIDE}.",
            code="docker_client_certificate",
        )
    if reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"}:
        return UnreachableError(
            f"{_where(spec)}: no TLS is spoken there",
            hint="If that is a Docker Engine without TLS, whoever gets there is root on that "
            f"machine: give it certificates at once, {GUIDE}.",
            code="docker_without_tls",
        )
    return UnreachableError(
        f"{_where(spec)}: TLS failed: {_one_line(str(exc))}",
        hint=f"See {GUIDE}.",
        code="docker_unreachable",
    )


def _where(spec: ConnectionSpec) -> str:
    return f"{spec.name}: the Docker Engine {spec.docker_host}"


def _what(spec: ConnectionSpec, doing: str) -> str:
    return f"{spec.name}: {doing}" if doing else f"{spec.name}: the Docker Engine refused"


def _said(exc: docker.errors.APIError) -> str:
    status = exc.response.status_code if exc.response is not None else ""
    return _one_line(str(exc.explanation or "")) or f"status {status} without a word"


def _one_line(text: str) -> str:
    told = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return told if len(told) <= _MOST else f"{told[:_MOST]}…"


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """The exception and those that it was made of, the outermost first.

    What was merely being handled meanwhile (`__context__`) is left out.
    """
    waiting, seen = [exc], set()
    while waiting:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        inside = [each.__cause__, getattr(each, "reason", None), *each.args]
        waiting += [one for one in inside if isinstance(one, BaseException)]
