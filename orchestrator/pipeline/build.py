"""One net in, artifacts out: each written, held to the net, measured, put into the catalog."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from orchestrator import __version__
from orchestrator.errors import ModelError
from orchestrator.models.catalog import NewArtifact
from orchestrator.models.formats import release_name
from orchestrator.pipeline import accuracy, formats, gate, positions, runners
from orchestrator.pipeline.formats.base import Work
from orchestrator.pipeline.golden import write_golden
from orchestrator.pipeline.katago import reader
from orchestrator.pipeline.machine import cores, processor
from orchestrator.pipeline.recipes import INT8
from orchestrator.sizes import human_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orchestrator.models.catalog import Catalog
    from orchestrator.models.manifest import Artifact, ModelVersion
    from orchestrator.pipeline.accuracy import Answers
    from orchestrator.pipeline.formats.base import Made, OnStep, Recipe
    from orchestrator.pipeline.katago.net import Net
    from orchestrator.pipeline.positions import Positions
    from orchestrator.pipeline.runners import Runner


@dataclass(frozen=True, slots=True)
class Built:
    """What became of one recipe: `new`, `unchanged` (it was there already) or `failed`."""

    recipe: Recipe
    outcome: str
    artifact: Artifact | None = None
    error: ModelError | None = None


class Builder:
    """Makes the artifacts of one version; used as a context manager it cleans up after itself.

    `calibration` and `check` are the positions for INT8 and for the report. Where the first is None
    one half of the standard positions calibrates and, unless `check` is given, the other half
    checks. Speed is measured for `seconds`. Raises ModelError for a version that has no KataGo net,
    or one that is damaged.
    """

    def __init__(
        self,
        catalog: Catalog,
        ref: str,
        *,
        check: Positions | None = None,
        progress: OnStep = lambda _what, _done, _total: None,
        again: bool = False,
        seconds: float = 2.0,
    ) -> None:
        self.catalog, self.ref, self.again, self.progress = catalog, ref, again, progress
        self.seconds = seconds
        self.source = source_of(catalog.get(ref))
        self.calibration: Positions | None = None
        self.check = check
        self._folder = tempfile.TemporaryDirectory(dir=catalog.store.incoming, prefix="build-")
        self.folder = Path(self._folder.name)
        self._reference: dict[tuple[float, str], tuple[Answers, ...]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    @cached_property
    def path(self) -> Path:
        """The net's file, under its own name: names tell KataGo's kinds of files apart."""
        path = self.folder / self.source.filename
        path.symlink_to(self.catalog.store.check(self.source.sha256, self.source.size).resolve())
        return path

    @cached_property
    def net(self) -> Net:
        """The net of the version."""
        self.progress(f"reading {self.source.filename}", 0, 1)
        net = reader.read(self.path)
        self.progress(f"reading {self.source.filename}", 1, 1)
        return net

    def work(self, recipe: Recipe) -> Work:
        """What the format has at hand: no position that INT8 is calibrated with also judges it."""
        standard = self._standard
        calibration, check = positions.halves(standard)
        if self.calibration is not None or recipe.precision != INT8:
            calibration, check = self.calibration or calibration, standard
        check = self.check or check
        if recipe.precision == INT8:
            calibration = positions.without(calibration, check)
        if self.net.has_meta:
            calibration, check = map(positions.with_profiles, (calibration, check))
        return Work(self.folder, calibration, check, self.progress)

    @cached_property
    def _standard(self) -> Positions:
        return positions.standard()

    def build(self, wanted: Sequence[Recipe]) -> Iterator[Built]:
        """What became of each recipe, as soon as it is known; a failure does not end the others.

        Raises ModelError, before anything is made, for a net that is missing, damaged or not one,
        and where no position is left to calibrate with.
        """
        for recipe in wanted:
            self._origin(recipe)
        for recipe in wanted:
            there = self._there(recipe)
            if there is not None and not self.again:
                yield Built(recipe, "unchanged", there)
                continue
            net = self.net  # outside: one that cannot be read is the end of every recipe
            try:
                self._refuse(recipe)
                yield self._make(net, recipe)
            except ModelError as error:
                yield Built(recipe, "failed", error=error)
            except OSError as error:
                yield Built(recipe, "failed", error=_unwritten(error, self.folder))

    def _there(self, recipe: Recipe) -> Artifact | None:
        """The artifact of an earlier build that this recipe would make again."""
        for artifact in self.catalog.get(self.ref).artifacts:
            if _kind(artifact) != _kind(recipe) or not self._same(recipe, artifact):
                continue
            if artifact.requires:  # what is built for one machine is built anew by newer tools
                tools = _tools(formats.get(recipe.format).libraries)
                if artifact.provenance.get("tools") != tools:
                    continue
            if self._whole(artifact):
                return artifact
        return None

    def _whole(self, artifact: Artifact) -> bool:
        """Whether its files are in the store, and right."""
        try:
            for file in (artifact, artifact.golden):
                if file is not None:
                    self.catalog.store.check(file.sha256, file.size)
        except ModelError:
            return False
        return True

    def _same(self, recipe: Recipe, there: Artifact) -> bool:
        """Whether the artifact was made so, and checked with the positions that are asked for."""
        origin = self._origin(recipe)
        checked = there.accuracy.get("positions_sha256")
        if self.check is not None and checked not in {None, self.work(recipe).check.sha256}:
            return False
        return {key: there.provenance.get(key) for key in origin} == origin

    def _refuse(self, recipe: Recipe) -> None:
        """Raise ModelError for what would be refused once it is made, which may take an hour."""
        release_name(_filename(self.ref, recipe, formats.get(recipe.format).suffix))
        shape, check = recipe.shape, self.work(recipe).check
        if not check.fitting(shape).count:
            up_to = "up to " if shape.masked else ""
            raise ModelError(
                f"no position to check it with fits a board {up_to}{shape.width}x{shape.height}: "
                + (", ".join(check.boards) or "there are none"),
                hint="Give some with --check, an .npz file.",
            )
        for artifact in self.catalog.get(self.ref).artifacts:
            if _kind(artifact) == _kind(recipe) and not artifact.requires:
                self._refuse_another(recipe, artifact)

    def _refuse_another(self, recipe: Recipe, there: Artifact) -> None:
        """Raise ModelError where what is there may not be replaced, or nobody asked for it."""
        has = f"{self.ref} has an {there.kind} that was"
        if not there.provenance:
            raise ModelError(
                f"{has} added, not built: {there.filename}",
                hint="--variant NAME puts what is built beside it.",
            )
        if not self.again and not self._same(recipe, there):
            raise ModelError(
                f"{has} built or checked otherwise: {there.filename}",
                hint="--again replaces it; --variant NAME puts the new one beside it.",
            )

    def _origin(self, recipe: Recipe) -> dict[str, Any]:
        """What decides how the artifact comes out."""
        origin = {"source_sha256": self.source.sha256, "options": recipe.options}
        if recipe.precision == INT8:
            used = self.work(recipe).calibration
            origin["calibration"] = {
                "rows": used.count,
                "boards": used.boards,
                "sha256": used.sha256,
            }
        return origin

    def _make(self, net: Net, recipe: Recipe) -> Built:
        kind = formats.get(recipe.format)
        formats.load(recipe.format)
        path = self.folder / _filename(self.ref, recipe, kind.suffix)
        self.progress(f"{recipe.name}: writing", 0, 1)
        work = self.work(recipe)
        made = kind.write(net, path, recipe, work)
        self.progress(f"{recipe.name}: writing", 1, 1)
        report = self._accuracy(recipe, path, made, work.check)
        measured = self._measured(recipe, path)
        golden = self.folder / f"{path.name}.golden.npz"
        write_golden(net, recipe.shape, work.check, golden)
        added = self.catalog.add(
            self.ref,
            NewArtifact(
                source=str(path),
                format=recipe.format,
                precision=recipe.precision,
                golden=str(golden),
                memory_mb=_memory(measured),
                variant=recipe.variant,
                requires=made.requires,
                accuracy=report,
                measured=measured,
                provenance={
                    **made.chosen,
                    **self._origin(recipe),
                    "tools": _tools(kind.libraries),
                },
            ),
            again=self.again,
        )
        return Built(recipe, "new" if added.new else "unchanged", added.artifact)

    def _accuracy(self, recipe: Recipe, path: Path, made: Made, check: Positions) -> dict[str, Any]:
        """The report of the file, or of what stands in for it; empty where nothing runs here."""
        runner = formats.get(recipe.format).runner(path, recipe.shape)
        stands_in = runner is None and made.stand_in is not None
        if runner is None and made.stand_in is not None:
            runner = runners.OnnxRuntime(made.stand_in, recipe.shape)
        if runner is None:
            return {}
        reference = self._answers(recipe.shape.optimism, check)
        what = f"{recipe.name}: comparing with the reference"
        counted = self._counted(runner, what, check.fitting(recipe.shape).count)
        found = accuracy.compare(reference, counted, check, self.net)
        document = gate.document(
            found,
            gate.judge(found),
            positions_sha256=check.sha256,
            reference=f"{self.source.filename} in FP32 by NumPy",
        )
        if stands_in:
            document["reason"] += " (of its ONNX graph; the file itself does not run here)"
        return document

    def _answers(self, optimism: float, check: Positions) -> tuple[Answers, ...]:
        """What the net itself answers, asked once."""
        key = (optimism, check.sha256)
        if key not in self._reference:
            what = f"asking the reference about {check.count} positions"
            runner = runners.reference(self.net, optimism=optimism)
            counted = self._counted(runner, what, check.count)
            self._reference[key] = accuracy.evaluate(counted, check, self.net)
        return self._reference[key]

    def _counted(self, runner: Runner, what: str, count: int) -> Runner:
        """The runner, which tells the progress how many of the positions it has answered."""
        self.progress(what, 0, count)
        return runners.Counted(runner, lambda done: self.progress(what, done, count))

    def _measured(self, recipe: Recipe, path: Path) -> dict[str, Any]:
        self.progress(f"{recipe.name}: measuring speed", 0, 1)
        found = runners.measure(recipe.format, path, recipe.shape, seconds=self.seconds)
        self.progress(f"{recipe.name}: measuring speed", 1, 1)
        if not found:
            return {}
        told = {"batch_size": 1, "threads": cores(), "runtime": _runtime(recipe.format)}
        return {**found, **told, "cpu": processor()}


def source_of(version: ModelVersion) -> Artifact:
    """The KataGo net of the version; raises ModelError where it has none, or is yanked."""
    if version.yanked is not None:
        raise ModelError(
            f"{version.ref} is yanked: {version.yanked}",
            hint=f"Build from another version, or: orchestrate models unyank {version.ref}",
        )
    nets = [artifact for artifact in version.artifacts if artifact.format == "katago"]
    if nets:
        return nets[0]
    has = ", ".join(artifact.kind for artifact in version.artifacts) or "nothing"
    raise ModelError(
        f"{version.ref} has no KataGo net to build from: it has {has}",
        hint=f"orchestrate models add {version.ref} NET.bin.gz",
    )


def _unwritten(error: OSError, folder: Path) -> ModelError:
    free = shutil.disk_usage(folder).free
    return ModelError(
        f"the files could not be written: {error.strerror or error}",
        hint=f"{human_size(free)} are free in {folder.parent}.",
    )


def _kind(made: Artifact | Recipe) -> tuple[str, str, str]:
    return made.format, made.precision, made.variant


def _filename(ref: str, recipe: Recipe, suffix: str) -> str:
    gpu = f"sm{recipe.compute_capability.replace('.', '')}" if recipe.compute_capability else ""
    words = (ref.partition("@")[0], recipe.precision, recipe.variant, gpu)
    return "-".join(word for word in words if word) + suffix


def _memory(measured: Mapping[str, Any]) -> int | None:
    peak = measured.get("peak_rss_mb")
    return None if peak is None else max(1, round(peak))


def _runtime(name: str) -> str:
    """What ran the file here: `onnxruntime 1.22.0`; the last of a format's libraries does."""
    versions = _tools(formats.get(name).libraries[-1:])
    return next((f"{tool} {v}" for tool, v in versions.items() if tool != "orchestrate"), "")


def _tools(libraries: Sequence[str]) -> dict[str, str]:
    """Versions of what made the file."""
    versions = {"orchestrate": __version__}
    owners = metadata.packages_distributions()
    for library in libraries:
        for distribution in owners.get(library.partition(".")[0], [])[:1]:
            versions[distribution] = metadata.version(distribution)
    return versions
