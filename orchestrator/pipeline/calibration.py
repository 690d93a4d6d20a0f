"""Positions that quantization learns the ranges of activations from: training rows, or games.

SGF games become inputs by KataGo itself (`evalsgf -dump-npz-input-to`): its rules, its ladders.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from orchestrator.errors import ModelError
from orchestrator.pipeline import positions
from orchestrator.pipeline.npz import HINT
from orchestrator.pipeline.position_files import read_rows, read_training

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from orchestrator.pipeline.position_files import Rows
    from orchestrator.pipeline.positions import Positions

    Source = Path | Sequence[Path]

# More files than that are sampled: training data is shuffled over its files.
MOST_FILES = 32
LARGEST_SGF = 1 << 20
ENGINE_SECONDS = 600
LONGEST_WORDS = 300
SETTINGS = {
    "logAllGTPCommunication": "false",
    "logSearchInfo": "false",
    "logToStderr": "false",
    "maxVisits": "1",
    "nnForcedSymmetry": "0",
    "nnMaxBatchSize": "1",
    "nnRandomize": "false",
    "numSearchThreads": "1",
}


def load(
    sources: Sequence[Path],
    *,
    count: int,
    seed: int,
    engine: Path | None,
    model: Path,
    progress: Callable[[str, int, int], None],
) -> Positions:
    """`count` rows of the training data (.npz) or the games (.sgf) in `sources`, files or folders.

    Games are encoded by `engine`, with `model`. Raises ModelError where the sources are of both
    kinds, of none, or games without an engine.
    """
    games = [path for source in sources for path in _inside(source, ".sgf")]
    training = [path for source in sources for path in _inside(source, ".npz")]
    if games and training:
        raise ModelError(
            "calibration is by training rows or by games, not by both",
            hint=f"Leave out {games[0]} and other .sgf files, or the .npz files.",
        )
    if not games:
        return rows(sources, count=count, seed=seed)
    if engine is None:
        raise ModelError(
            f"{games[0]} is a game: a KataGo has to turn it into a net's inputs",
            hint="Name one that runs here with --katago.",
        )
    return from_sgf(
        engine,
        model,
        games,
        per_game=-(-count // len(games)),
        seed=seed,
        advance=lambda done, of: progress("encoding games", done, of),
    )


def rows(source: Source, *, count: int, seed: int) -> Positions:
    """`count` training rows of .npz files, each board size with its share and at least one row.

    `source` is files or folders of them; of more than 32 files 32 are read. The same source, count
    and seed give the same rows; `Positions.sha256` tells which they were. Raises ModelError where
    files cannot be read, or hold fewer rows.
    """
    rng = np.random.default_rng(seed)
    found = _files(source, ".npz", HINT)
    if len(found) > MOST_FILES:
        found = [found[i] for i in sorted(rng.choice(len(found), MOST_FILES, replace=False))]
    boards = [read_training(path).boards for path in found]
    there = sum(map(len, boards))
    if there < count:
        raise ModelError(f"{_named(found)} has {there} rows, {count} are needed")
    chosen, parts, start = _stratified(np.concatenate(boards), count, rng), [], 0
    for path, own in zip(found, boards, strict=True):
        here = chosen[(chosen >= start) & (chosen < start + len(own))] - start
        parts += read_training(path).of(here) if len(here) else []
        start += len(own)
    return positions.of_rows(parts)


def from_sgf(
    engine: Path,
    model: Path,
    sgfs: Source,
    *,
    per_game: int,
    seed: int,
    settings: Mapping[str, str] | None = None,
    advance: Callable[[int, int], None] = lambda _done, _of: None,
) -> Positions:
    """`per_game` positions of each game, spread over it, as the engine gives them to a net.

    `engine` is a KataGo with libzip; `model` any net that it loads, a small one is as good. `sgfs`
    are files or folders. `settings` are added to the engine's config; `advance` is told how many
    positions of how many are done. Raises ModelError for a game or an engine that does not do.
    """
    rng = np.random.default_rng(seed)
    wanted = [
        (path, move)
        for path in _files(sgfs, ".sgf", "give SGF files, or a folder of them")
        for move in spread(main_line_moves(path), per_game, rng)
    ]
    with tempfile.TemporaryDirectory(prefix="orchestrate-") as folder:
        encoder = _Encoder(engine, model, Path(folder), {**SETTINGS, **(settings or {})})
        encoder.write_config()
        parts: list[Rows] = []
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            futures = [pool.submit(encoder.encode, path, move) for path, move in wanted]
            try:
                for future in futures:
                    parts += future.result()
                    advance(len(parts), len(wanted))
            finally:
                pool.shutdown(cancel_futures=True)
    return positions.of_rows(parts)


@dataclass(frozen=True, slots=True)
class _Encoder:
    """KataGo as what turns a position of a game into inputs."""

    engine: Path
    model: Path
    folder: Path
    settings: Mapping[str, str]

    def write_config(self) -> None:
        lines = [f"{key} = {value}\n" for key, value in self.settings.items()]
        (self.folder / "encode.cfg").write_text("".join(lines))

    def encode(self, sgf: Path, move: int) -> list[Rows]:
        """The inputs after `move` moves of the game."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            out = Path(folder) / "inputs.npz"
            command: list[str | Path] = [
                *(self.engine, "evalsgf", "-config", self.folder / "encode.cfg"),
                *("-model", self.model.absolute(), "-m", str(move), "-v", "1"),
                *("-dump-npz-input-to", out, sgf.absolute()),
            ]
            said = self._run(command)
            if not out.exists():
                raise ModelError(
                    f"{self.engine} made no inputs of {sgf.name}, move {move}: {said}",
                    hint="the game must be one that KataGo reads, and KataGo one with libzip, as "
                    "its releases are",
                )
            return read_rows(out, 1)

    def _run(self, command: Sequence[str | Path]) -> str:
        """The last thing that the engine said."""
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=ENGINE_SECONDS,
                check=False,
            )
        except OSError as exc:
            raise ModelError(f"cannot run {self.engine}: {exc.strerror or exc}") from exc
        except subprocess.TimeoutExpired as exc:
            raise ModelError(f"{self.engine} took more than {ENGINE_SECONDS} s") from exc
        return _last_line(done.stderr) or _last_line(done.stdout) or f"status {done.returncode}"


def _stratified(boards: NDArray[np.intp], count: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """`count` indices of rows: shares by board size, at least one of each as far as they go."""
    _, kind, sizes = np.unique(boards, axis=0, return_inverse=True, return_counts=True)
    kind = kind.reshape(-1)
    quota = np.minimum(np.maximum(sizes * count // sizes.sum(), 1), sizes)
    while (excess := int(quota.sum()) - count) != 0:
        if excess > 0:
            quota[np.argmax(quota)] -= 1
        else:
            quota[np.argmax(sizes / np.maximum(quota, 1) * (quota < sizes))] += 1
    chosen = [
        rng.choice(np.flatnonzero(kind == index), quota[index], replace=False)
        for index in range(len(sizes))
    ]
    return np.sort(np.concatenate(chosen))


def spread(moves: int, count: int, rng: np.random.Generator) -> list[int]:
    """`count` of the positions 0 to `moves`, one of each part of the game."""
    edges = np.linspace(0, moves + 1, min(count, moves + 1) + 1)
    parts = zip(np.ceil(edges[:-1]), np.ceil(edges[1:]), strict=True)
    return [int(rng.integers(int(low), max(int(high), int(low) + 1))) for low, high in parts]


def main_line_moves(path: Path) -> int:
    """The number of moves in the main line of a game."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_SGF + 1).decode("utf-8", errors="replace")
    except OSError as exc:
        raise ModelError(f"cannot read {path}: {exc.strerror or exc}") from exc
    if len(text) > LARGEST_SGF:
        raise ModelError(f"{path} is larger than {LARGEST_SGF >> 20} MiB: no single game")
    bare = re.sub(r"\[(?:\\.|[^\]\\])*+\]", "[]", text, flags=re.DOTALL)
    if not re.match(r"\s*\(\s*;", bare.lstrip("\ufeff")):
        raise ModelError(f"{path} is no SGF game")
    nodes = bare.partition(")")[0].split(";")
    return sum(re.search(r"(?<![A-Z])[BW]\s*\[\]", node) is not None for node in nodes)


def _files(source: Source, suffix: str, hint: str) -> list[Path]:
    """The files of that suffix, in the order of their names.

    Raises ModelError where there are none.
    """
    found: list[Path] = []
    for path in [source] if isinstance(source, Path) else source:
        found += sorted(path.rglob(f"*{suffix}")) if path.is_dir() else [path]
    if not found:
        named = source if isinstance(source, Path) else ", ".join(map(str, source))
        raise ModelError(f"{named} holds no {suffix} file", hint=hint)
    return found


def _inside(source: Path, suffix: str) -> list[Path]:
    """The files of that suffix: the source itself, or those in the folder."""
    if source.is_dir():
        return sorted(source.rglob(f"*{suffix}"))
    return [source] if source.name.endswith(suffix) else []


def _named(paths: Iterable[Path]) -> str:
    first, *others = map(str, paths)
    return f"{first} with {len(others)} more" if others else first


def _last_line(text: str) -> str:
    lines = [line.strip().removeprefix("what():").strip() for line in text.splitlines()]
    return next((line[:LONGEST_WORDS] for line in reversed(lines) if line), "")
