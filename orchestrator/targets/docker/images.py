"""Bringing a host's image onto its Docker Engine: pulled, loaded from an archive, or built."""

from __future__ import annotations

import contextlib
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
import urllib3
from docker.auth import resolve_repository_name
from docker.errors import APIError, DockerException, ImageNotFound, NotFound, StreamParseError

from orchestrator.errors import InventoryError, PreflightError, TransferError
from orchestrator.targets.docker import image_files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from docker import APIClient

    from orchestrator.errors import HostError
    from orchestrator.fleet.image import ImageSource

    Progress = Callable[[int, int], None]

LOCAL = "orchestrate.local/"  # tags that nothing but this module makes
IN_USE = 409
_NO_SPACE = "no space left on device"
_LOADED = re.compile(r"^Loaded image(?: ID)?: (\S+)", re.MULTILINE)
_STEP = re.compile(r"Step \d+/\d+ : ")
_LAST_LINES = 3
_LONGEST_OUTPUT = 2000
_PATIENCE = 1800  # seconds between two signs of life of an engine that loads an image


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is on the engine.

    `reference` is what compose files name: `name@sha256:…`, `sha256:…`, or a local tag such as
    `orchestrate.local/katago:0f6a3c51b2d4`. `arch` is as Docker says it: amd64, arm64.
    """

    reference: str
    id: str
    arch: str


def find(api: APIClient, source: ImageSource, *, host: str, allow_tag: bool) -> Image | None:
    """The image, or None where it is not on the engine yet. Nothing is changed there.

    Raises InventoryError for a tag without `allow_tag`, and for a file or folder that is no image.
    """
    return _there(api, _reference(api, source, host=host, allow_tag=allow_tag))


def bring(
    api: APIClient, source: ImageSource, *, host: str, allow_tag: bool, on_progress: Progress
) -> Image:
    """The image, which is pulled, loaded or built if it is not on the engine.

    `on_progress` is told the bytes so far and in all. Raises what `find` does, TransferError where
    the image cannot be brought, and PreflightError for an id that is not there.
    """
    reference = _reference(api, source, host=host, allow_tag=allow_tag)
    if image := _there(api, reference):
        return image
    if reference.startswith("sha256:"):
        raise PreflightError(
            f"{host}: image {reference} is not on its Docker Engine",
            hint="`docker image ls --no-trunc` there lists the ids. NAME@sha256:DIGEST is pulled, "
            "archive:FILE.tar is loaded, build:FOLDER is built.",
            code="image_missing",
        )
    if source.kind == "archive" and source.path:
        _load(api, host, source.path, reference, on_progress)
    elif source.kind == "build" and source.path:
        _build(api, host, source.path, reference, on_progress)
    else:
        _pull(api, host, reference, on_progress)
    image = _there(api, reference)
    if image is None:
        raise TransferError(
            f"{host}: image {reference} is not on its Docker Engine, which said that it is",
            hint="Look into the engine's log, and try again.",
            code="image",
        )
    return image


def remove_unused(api: APIClient, image_id: str) -> bool:
    """Whether the image was removed: not if a container uses it, it has other tags, or is gone.

    Nor if it has neither name nor digest: nobody could bring it again.
    """
    try:
        found = _inspect(api, image_id)
        tags = found.get("RepoTags") or []
        if not tags and not found.get("RepoDigests"):
            return False
        used = {c["ImageID"] for c in api.containers(all=True)}
        if image_id in used or not all(tag.startswith(LOCAL) for tag in tags):
            return False
        for name in tags or [image_id]:
            api.remove_image(name, noprune=True)  # what it was built from may be nameless
    except APIError as exc:
        if isinstance(exc, NotFound) or exc.status_code == IN_USE:
            return False
        raise
    return True


# -- what a source stands for


def _reference(api: APIClient, source: ImageSource, *, host: str, allow_tag: bool) -> str:
    """What the engine calls the image that the source asks for, there or not."""
    if source.kind == "archive" and source.path:
        digest = image_files.archive(host, source.path).digest
        return image_files.local_tag(source.path, digest)
    if source.kind == "build" and source.path:
        return image_files.local_tag(source.path, image_files.context_digest(host, source.path))
    if source.kind != "tag":
        return source.reference
    if allow_tag:
        try:
            return _behind_tag(api, source.reference)
        except DockerException as exc:
            raise _pull_error(host, source.reference, _said(exc)) from exc
    raise _refused_tag(api, source.reference, host)


def _refused_tag(api: APIClient, tag: str, host: str) -> InventoryError:
    write, now = f"{_repository(tag)}@sha256:DIGEST", ""
    with contextlib.suppress(DockerException, requests.RequestException):
        write, now = _behind_tag(api, tag), ", what it is now"
    return InventoryError(
        f"{host}: orchestrate_image is the tag {tag}, which can become another image any day",
        hint=f"Write {write}{now}, or give --allow-tag.",
        code="image_by_tag",
    )


def _behind_tag(api: APIClient, tag: str) -> str:
    """The image that a tag is now, by digest; one that was only made there, by id."""
    try:
        image = _inspect(api, tag)
    except ImageNotFound:
        now = api.inspect_distribution(tag)  # type: ignore[no-untyped-call]
        return f"{_repository(tag)}@{now['Descriptor']['digest']}"
    digests = [d for d in image.get("RepoDigests") or [] if _same_repository(d, tag)]
    return str(min(digests)) if digests else str(image["Id"])


def _inspect(api: APIClient, reference: str) -> dict[str, Any]:
    found: dict[str, Any] = api.inspect_image(reference)  # type: ignore[no-untyped-call]
    return found


def _there(api: APIClient, reference: str) -> Image | None:
    try:
        found = _inspect(api, reference)
    except NotFound:
        return None
    return Image(reference, found["Id"], found.get("Architecture") or "")


def _repository(reference: str) -> str:
    """The name without tag and digest."""
    name = reference.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}"


def _same_repository(one: str, other: str) -> bool:
    """Whether both are of one repository, whether docker.io and library are written or not."""
    first, second = (resolve_repository_name(_repository(each)) for each in (one, other))
    return (first[0], first[1].removeprefix("library/")) == (
        second[0],
        second[1].removeprefix("library/"),
    )


# -- pull


def _pull(api: APIClient, host: str, reference: str, on_progress: Progress) -> None:
    layers: dict[str, tuple[int, int]] = {}
    told = (0, 0)
    for line in _lines(
        lambda: api.pull(reference, stream=True, decode=True),
        lambda said: _pull_error(host, reference, said),
    ):
        _count(layers, line)
        now = (sum(done for done, _ in layers.values()), sum(all_ for _, all_ in layers.values()))
        if now != told:
            told = now
            on_progress(*now)


def _count(layers: dict[str, tuple[int, int]], line: dict[str, Any]) -> None:
    """Keep in `layers` how much of each layer has arrived, and of how much."""
    layer, status = str(line.get("id", "")), line.get("status")
    if status == "Downloading":
        amounts = line.get("progressDetail") or {}
        total = int(amounts.get("total") or 0)
        layers[layer] = (min(int(amounts.get("current") or 0), total), total)
    elif status in {"Download complete", "Pull complete"} and layer in layers:
        layers[layer] = (layers[layer][1],) * 2


_PULL_ERRORS = (
    (
        re.compile("no matching manifest|does not match the specified platform"),
        "image_platform",
        "The image is not made for this host's kind of machine; name one that is.",
    ),
    (
        re.compile("denied|unauthorized|authentication|no basic auth|forbidden"),
        "image_denied",
        (
            "Log in on this machine (`docker login {registry}`): the engine gets its credentials. "
            "Some registries say the same of an image that is not there."
        ),
    ),
    (
        re.compile("toomanyrequests|too many requests|rate limit"),
        "image_denied",
        "Log in on this machine (`docker login {registry}`), or try again later.",
    ),
    (
        re.compile("not found|manifest unknown|name unknown|no such image"),
        "image_missing",
        (
            "Is the name right, and is the digest the one that the registry has? An id, as "
            "`docker image ls` lists them, is written sha256:ID."
        ),
    ),
    (
        re.compile(
            "connection refused|no such host|timeout|timed out|unreachable|deadline exceeded|"
            "server misbehaving|x509|http response to https|connection reset|dial tcp"
        ),
        "registry",
        (
            "The Docker Engine itself must reach {registry}. Where it cannot, write "
            "archive:FILE.tar (of `docker save`): it goes from this machine."
        ),
    ),
)


def _pull_error(host: str, reference: str, said: str) -> TransferError:
    if _NO_SPACE in said:
        return _no_space(host, reference, said)
    message = f"{host}: image {reference} cannot be pulled: {said}"
    registry, _ = resolve_repository_name(_repository(reference))
    for pattern, code, hint in _PULL_ERRORS:
        if pattern.search(said.lower()):
            return TransferError(message, code=code, hint=hint.format(registry=registry))
    return TransferError(message, code="image", hint=f"Try `docker pull {reference}` there.")


# -- load


def _load(api: APIClient, host: str, path: Path, reference: str, on_progress: Progress) -> None:
    """Load the archive and tag its image; the tags that it was saved by stay what they were."""
    tags = {tag: _id(api, tag) for tag in image_files.archive(host, path).tags}

    def failed(said: str) -> TransferError:
        if _NO_SPACE in said:
            return _no_space(host, str(path), said)
        return TransferError(
            f"{host}: {path} cannot be loaded: {said}",
            hint=f"Is the file whole? {image_files.SAVE}",
            code="image",
        )

    said = ""
    try:
        with image_files.Sent(path, on_progress) as file, _patience(api):
            load = api.load_image
            for line in _lines(lambda: load(file), failed):  # type: ignore[no-untyped-call]
                said = (said + str(line.get("stream", "")))[-_LONGEST_OUTPUT:]
        loaded = _LOADED.findall(said)
        if not loaded:
            raise failed(said.strip() or "the engine does not say that it did")
        _tag(api, loaded[-1], reference)
    finally:
        for tag, before in tags.items():
            _put_back(api, tag, before)


def _id(api: APIClient, reference: str) -> str:
    try:
        return str(_inspect(api, reference)["Id"])
    except NotFound:
        return ""


def _put_back(api: APIClient, tag: str, before: str) -> None:
    with contextlib.suppress(NotFound):
        now = _id(api, tag)
        if before and now != before:
            _tag(api, before, tag)
        elif now and not before:
            api.remove_image(tag)


def _tag(api: APIClient, image: str, tag: str) -> None:
    name, _, version = tag.rpartition(":")
    api.tag(image, name, version)


@contextlib.contextmanager
def _patience(api: APIClient) -> Iterator[None]:
    """Within it the engine may be silent for long: docker-py asks for no time where it loads."""
    before, api.timeout = api.timeout, _PATIENCE
    try:
        yield
    finally:
        api.timeout = before


# -- build


def _build(api: APIClient, host: str, folder: Path, reference: str, on_progress: Progress) -> None:
    step, output = "", ""

    def failed(said: str) -> TransferError:
        return _build_error(host, folder, said, step, output)

    with tempfile.TemporaryDirectory(prefix="orchestrate-") as scratch:
        context = Path(scratch, "context.tar")
        image_files.write_context(host, folder, context)
        with image_files.Sent(context, on_progress) as file:
            for line in _lines(
                lambda: api.build(
                    fileobj=file,
                    custom_context=True,
                    tag=reference,
                    rm=True,
                    forcerm=True,
                    decode=True,
                ),
                failed,
            ):
                text = str(line.get("stream", ""))
                if _STEP.match(text):
                    step, output = text.strip(), ""
                else:
                    output = (output + text)[-_LONGEST_OUTPUT:]


def _build_error(host: str, folder: Path, said: str, step: str, output: str) -> TransferError:
    if _NO_SPACE in said or _NO_SPACE in output:
        return _no_space(host, str(folder), said)
    where = f" at {step}" if step else ""
    lines = [line.strip() for line in output.splitlines()]
    last = [line for line in lines if line and not line.startswith("--->")][-_LAST_LINES:]
    hint = "The last that it said: " + " / ".join(last) if last else "See its Dockerfile."
    if "buildkit" in said.lower():
        hint = "Build it where BuildKit is, `docker save` it, and write archive:FILE.tar."
    return TransferError(
        f"{host}: {folder} cannot be built{where}: {said}", hint=hint, code="image_build"
    )


# -- what an engine says


def _lines(
    ask: Callable[[], Iterable[dict[str, Any]]], failed: Callable[[str], HostError]
) -> Iterator[dict[str, Any]]:
    """What the engine tells while it works; raises what `failed` makes of its refusal."""
    try:
        for line in ask():
            if "error" in line:
                raise failed(_said(line))
            yield line
    except DockerException as exc:
        raise failed(_said(exc)) from exc
    except (urllib3.exceptions.HTTPError, StreamParseError) as exc:
        # docker-py reads streams past requests, whose error this would be.
        raise requests.ConnectionError(exc) from exc


def _said(answer: dict[str, Any] | DockerException) -> str:
    """The engine's own words, in one line."""
    if isinstance(answer, dict):
        text = (answer.get("errorDetail") or {}).get("message") or answer["error"]
    else:
        text = getattr(answer, "explanation", None) or answer
    return " ".join(str(text).split())


def _no_space(host: str, what: str, said: str) -> TransferError:
    return TransferError(
        f"{host}: no room for {what} on its Docker Engine's disk: {said}",
        hint="`docker system df` there tells what takes it; `docker image prune` removes what "
        "nothing uses.",
        code="space",
    )
