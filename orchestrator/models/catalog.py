"""The project's models: what there is, and how it gets in, is withdrawn and is cleared away."""

from __future__ import annotations

import contextlib
import functools
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ModelError
from orchestrator.files import locked
from orchestrator.models import formats, golden, manifest, sanity, sources
from orchestrator.models.manifest import Artifact, Golden, ModelVersion
from orchestrator.models.refs import NAME, RESERVED, parse_ref, version_key
from orchestrator.models.requirements import check_requires
from orchestrator.models.store import Store
from orchestrator.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from contextlib import AbstractContextManager

    from orchestrator.models.sources.base import Fetched

OnFileProgress = Callable[[str, int, int | None], None]
"""Told what arrives, the bytes that are here, and how many there will be if that is known."""

_LEFTOVER_AFTER = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class NewArtifact:
    """What is said of an artifact to be added; None is told from its file's name.

    `golden` is a source like the artifact's own. What was built rather than found says how: see
    `Artifact`; its file and that of its golden answers are then no sources to fetch it from again.
    """

    source: str
    format: str | None = None
    precision: str | None = None
    filename: str | None = None
    sha256: str | None = None
    golden: str | None = None
    memory_mb: int | None = None
    variant: str = ""
    requires: Mapping[str, str] = field(default_factory=dict)
    accuracy: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Added:
    """The artifact that is now in the version; `new` is False when it already was."""

    version: ModelVersion
    artifact: Artifact
    new: bool


@dataclass(frozen=True, slots=True)
class FileState:
    """A file of a version in the store; `problem` is empty when it is there and right."""

    ref: str
    file: Artifact | Golden
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Garbage:
    """A blob that nothing needs: `size` in bytes, `refs` of the versions it belonged to."""

    sha256: str
    size: int
    refs: tuple[str, ...]


class Catalog:
    """The models of a project: manifests in `artifacts`, the files themselves in its `store`.

    Whatever changes it holds a lock, so that commands may run at the same time. Every method
    raises ModelError for a manifest that is not valid.
    """

    def __init__(self, artifacts: Path) -> None:
        self.artifacts = artifacts
        self.store = Store(artifacts / "store")

    def models(self) -> list[str]:
        """The names of the models that have versions, in alphabetical order."""
        found = {path.parent.parent.name for path in self.artifacts.glob("*/*/manifest.json")}
        return sorted(name for name in found if NAME.fullmatch(name) and name not in RESERVED)

    def versions(self, model: str) -> list[ModelVersion]:
        """The versions of a model, oldest first as their names tell; empty for an unknown one."""
        names = [path.parent.name for path in (self.artifacts / model).glob("*/manifest.json")]
        valid = sorted((n for n in names if NAME.fullmatch(n)), key=version_key)
        return [self._read(model, name) for name in valid]

    def all_versions(self) -> list[ModelVersion]:
        """Every version of every model."""
        return [version for model in self.models() for version in self.versions(model)]

    def known_versions(self, model: str) -> list[ModelVersion]:
        """The versions of a model; raises ModelError, with the nearest name, when it has none."""
        models = self.models()
        if model in models:
            return self.versions(model)
        known = f"The models are {', '.join(models)}" if models else "There are none yet"
        add = f"{known}; orchestrate models add {model}@VERSION SOURCE adds one."
        raise ModelError(f"no model is named {model}", hint=did_you_mean(model, models) or add)

    def get(self, ref: str) -> ModelVersion:
        """The version `name@version`; raises ModelError, with the nearest name, when unknown."""
        model, version = parse_ref(ref)
        if self._manifest(model, version).is_file():
            return self._read(model, version)
        known = [v.version for v in self.known_versions(model)]
        listed = f"Its versions are {', '.join(known[-10:])}."
        raise ModelError(
            f"{model} has no version {version}", hint=did_you_mean(version, known) or listed
        )

    def add(
        self,
        ref: str,
        new: NewArtifact,
        progress: OnFileProgress = lambda _what, _done, _total: None,
        *,
        again: bool = False,
    ) -> Added:
        """Fetch a file, look whether it is what it should be, and put it into a version.

        Adding the same again changes nothing. `again` puts it into the place of what was built
        before. Raises ModelError, and leaves the catalog as it was, when the file cannot be had or
        is not whole, and when the version is yanked or has another artifact of that format and
        precision: versions do not change.
        """
        model, version = parse_ref(ref)
        self._open(model, version)
        expected = new.filename or sources.name_of(new.source)
        if expected:
            formats.format_of(expected, new.format)
        arrived: list[Fetched] = []
        try:
            fetched = self._fetch(new.source, new.sha256, progress)
            arrived.append(fetched)
            artifact = self._artifact(fetched, new)
            if new.golden:
                answers = self._fetch(new.golden, None, progress)
                arrived.append(answers)
                golden.check(answers.path, answers.filename, artifact.format)
                artifact = replace(artifact, golden=_golden(answers))
            if new.provenance:
                artifact = _without_sources(artifact)
            with self._locked():
                return self._insert(model, version, artifact, new, arrived, again=again)
        finally:
            for file in arrived:
                file.path.unlink(missing_ok=True)

    def fetch(
        self,
        ref: str | None = None,
        progress: OnFileProgress = lambda _what, _done, _total: None,
    ) -> list[FileState]:
        """The files that were missing or damaged and are right now; got from their sources.

        Without `ref`, of every version that is not yanked. Raises ModelError for the first that
        cannot be had; what was built, which has no source, keeps nothing else from being fetched.
        """
        chosen = [self.get(ref)] if ref else [v for v in self.all_versions() if v.yanked is None]
        missing = [
            FileState(version.ref, file)
            for version in chosen
            for file in version.files
            if self._problem(file)
        ]
        repaired: dict[str, FileState] = {}
        for state in sorted(missing, key=lambda state: not state.file.source):
            if state.file.sha256 not in repaired:
                self._repair(state.ref, state.file, progress)
                repaired[state.file.sha256] = state
        return list(repaired.values())

    def verify(self, ref: str | None = None) -> list[FileState]:
        """The state of every file of a version, or of all versions, hashed anew."""
        chosen = [self.get(ref)] if ref else self.all_versions()
        return [FileState(v.ref, file, self._problem(file)) for v in chosen for file in v.files]

    def yank(self, ref: str, reason: str) -> ModelVersion:
        """The version, withdrawn: it stays where it is and is not deployed any more."""
        if not reason.strip():
            raise ModelError("a version is yanked for a reason", hint="Give --reason TEXT.")
        return self._change(ref, reason.strip())

    def unyank(self, ref: str) -> ModelVersion:
        """The version, no longer withdrawn."""
        return self._change(ref, None)

    def gc(self, keep: int, in_use: Collection[str], *, dry_run: bool = False) -> list[Garbage]:
        """The blobs that were removed, or would be.

        What stays: the blobs in `in_use` (the digests that hosts have), and those of the last
        `keep` versions of each model, yanked ones not counted but kept where they fall among
        them. Manifests stay too: `fetch` brings a removed file back from its source.
        """
        if keep < 0:
            raise ModelError(f"cannot keep {keep} versions", hint="0 keeps only what hosts use.")
        with self._locked():
            owners: dict[str, list[str]] = {}
            needed = set(in_use)
            for model in self.models():
                versions = self.versions(model)
                for version in versions:
                    for file in version.files:
                        owners.setdefault(file.sha256, []).append(version.ref)
                needed |= {file.sha256 for v in _last(versions, keep) for file in v.files}
            garbage = [
                Garbage(blob.sha256, blob.size, tuple(owners.get(blob.sha256, ())))
                for blob in self.store
                if blob.sha256 not in needed
            ]
            if not dry_run:
                for blob in garbage:
                    self.store.remove(blob.sha256)
                self._clear_leftovers()
            return garbage

    def _manifest(self, model: str, version: str) -> Path:
        return self.artifacts / model / version / manifest.MANIFEST

    def _read(self, model: str, version: str) -> ModelVersion:
        path = self._manifest(model, version)
        source = path.relative_to(self.artifacts.parent).as_posix()
        found = manifest.read(path, source)
        if (found.model, found.version) != (model, version):
            raise ModelError(
                f"{source} describes {found.ref}",
                hint=f"It lies in the folder of {model}@{version}: move it, or correct it.",
            )
        return found

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self.store.incoming.parent / "lock")

    def _open(self, model: str, version: str) -> ModelVersion:
        """The version to add to, without artifacts when it is new; raises when it is yanked."""
        if not self._manifest(model, version).is_file():
            return ModelVersion(model, version, ())
        found = self._read(model, version)
        if found.yanked is not None:
            raise ModelError(
                f"{found.ref} is yanked: {found.yanked}",
                hint=f"Add the file to a new version, or: orchestrate models unyank {found.ref}",
            )
        return found

    def _fetch(self, source: str, sha256: str | None, progress: OnFileProgress) -> Fetched:
        what = sources.name_of(source) or source
        fetched = sources.fetch(
            source, self.store.incoming, sha256=sha256, progress=functools.partial(progress, what)
        )
        return replace(fetched, source=self._portable(fetched.source))

    def _portable(self, source: str) -> str:
        """A path inside the project without the project's own place, which differs by machine."""
        path = Path(source)
        root = self.artifacts.parent.resolve()
        if path.is_absolute() and path.is_relative_to(root):
            return path.relative_to(root).as_posix()
        return source

    def _artifact(self, fetched: Fetched, new: NewArtifact) -> Artifact:
        filename = formats.release_name(new.filename or fetched.filename)
        format_name = formats.format_of(filename, new.format)
        artifact = Artifact(
            format=format_name,
            precision=formats.precision_of(filename, format_name, new.precision),
            filename=filename,
            sha256=fetched.sha256,
            size=fetched.size,
            memory_mb=new.memory_mb,
            variant=new.variant,
            requires=check_requires(new.requires, format_name),
            accuracy=new.accuracy,
            measured=new.measured,
            provenance=new.provenance,
            source=fetched.source,
        )
        sanity.check(fetched.path, format_name, filename)
        return artifact

    def _insert(
        self,
        model: str,
        version: str,
        artifact: Artifact,
        new: NewArtifact,
        arrived: Sequence[Fetched],
        *,
        again: bool,
    ) -> Added:
        found = self._open(model, version)
        same_kind = next((a for a in found.artifacts if _kind(a) == _kind(artifact)), None)
        if same_kind is not None and again and same_kind.provenance:
            found = replace(found, artifacts=tuple(a for a in found.artifacts if a != same_kind))
            same_kind = None
        if same_kind is not None and not _agree(same_kind, artifact, new):
            raise ModelError(
                f"{found.ref} already has another artifact of format {artifact.format}, "
                f"precision {artifact.precision}: {same_kind.filename}, {same_kind.sha256[:12]}",
                hint="--again replaces it."
                if same_kind.provenance and new.provenance
                else "Versions do not change: add it as a new version.",
            )
        if same_kind is None:
            found = replace(found, artifacts=(*found.artifacts, artifact))
            manifest.validate(found)
        for file in arrived:
            self.store.adopt(file.path, file.sha256)
        if same_kind is None:
            manifest.write(self._manifest(model, version), found)
        return Added(found, same_kind or artifact, new=same_kind is None)

    def _problem(self, file: Artifact | Golden) -> str:
        try:
            self.store.verify(file.sha256, file.size)
        except ModelError as error:
            return error.message
        return ""

    def _repair(self, ref: str, file: Artifact | Golden, progress: OnFileProgress) -> None:
        built = (a for a in self.get(ref).artifacts if a.provenance and file in (a, a.golden))
        if not file.source and (made := next(built, None)) is not None:
            raise ModelError(
                f"{file.filename} of {ref} is not in the store, and was built, not fetched",
                hint=f"{_build_command(ref, made)} builds it again.",
            )
        if not file.source:
            raise ModelError(
                f"{file.filename} of {ref} is not in the store and its manifest names no source",
                hint=f"orchestrate models add {ref} FILE, with the same file, puts it back.",
            )
        fetched = sources.fetch(
            file.source,
            self.store.incoming,
            sha256=file.sha256,
            progress=functools.partial(progress, file.filename),
            base=self.artifacts.parent,
        )
        with self._locked():
            self.store.adopt(fetched.path, fetched.sha256)

    def _change(self, ref: str, yanked: str | None) -> ModelVersion:
        with self._locked():
            changed = replace(self.get(ref), yanked=yanked)
            manifest.write(self._manifest(changed.model, changed.version), changed)
            return changed

    def _clear_leftovers(self) -> None:
        """Remove what commands that were killed left behind; a download may still be resumed."""
        for path in self.store.incoming.iterdir():
            with contextlib.suppress(FileNotFoundError):  # what was no leftover may go meanwhile
                if time.time() - path.lstat().st_mtime > _LEFTOVER_AFTER:
                    is_folder = path.is_dir() and not path.is_symlink()
                    shutil.rmtree(path) if is_folder else path.unlink()


def _golden(fetched: Fetched) -> Golden:
    return Golden(fetched.filename, fetched.sha256, fetched.size, fetched.source)


def _without_sources(artifact: Artifact) -> Artifact:
    """The artifact without the places where its builder laid its files."""
    golden = artifact.golden and replace(artifact.golden, source="")
    return replace(artifact, source="", golden=golden)


def _kind(artifact: Artifact) -> tuple[str, tuple[tuple[str, str], ...]]:
    """What a version can have once: engines for different hardware may stand side by side."""
    requires = tuple(sorted((key, str(value)) for key, value in artifact.requires.items()))
    return artifact.kind, requires


def _agree(there: Artifact, artifact: Artifact, new: NewArtifact) -> bool:
    """Whether what is there is the same file, and is what was said of it.

    What a build measured is never twice the same, and says nothing of the file.
    """
    answers = artifact.golden and artifact.golden.sha256
    return (
        there.sha256 == artifact.sha256
        and new.filename in {None, there.filename}
        and (bool(new.provenance) or new.memory_mb in {None, there.memory_mb})
        and answers in {None, there.golden and there.golden.sha256}
    )


def _build_command(ref: str, artifact: Artifact) -> str:
    """The command that made an artifact, but for what it was calibrated and checked with."""
    asked = artifact.provenance.get("options")
    options: Mapping[str, Any] = asked if isinstance(asked, dict) else {}
    words = [f"orchestrate build {ref} --format {artifact.format} --precision {artifact.precision}"]
    words += [f"--variant {artifact.variant}"] if artifact.variant else []
    for name, usual in (("board", "19x19"), ("optimism", 0), ("mode", "auto")):
        words += [f"--{name} {options[name]}"] if options.get(name, usual) != usual else []
    words += ["--exact"] if options.get("masked") is False else []
    words += ["--without-softplus"] if options.get("softplus") is False else []
    words += ["--finetune"] if options.get("finetune") else []
    capability = options.get("compute_capability")
    words += [f"--compute-capability {capability}"] if capability else []
    return " ".join(words)


def _last(versions: Sequence[ModelVersion], keep: int) -> list[ModelVersion]:
    """The newest versions back to the one that makes `keep` of them that are not yanked."""
    kept: list[ModelVersion] = []
    for version in reversed(versions):
        if sum(v.yanked is None for v in kept) >= keep:
            break
        kept.append(version)
    return kept
