"""Every mistake in an inventory that can be found without a host, with file, line and fix."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from orchestrator.errors import InventoryError
from orchestrator.fleet.inventory import docker_hosts, documents, names, reading, values
from orchestrator.fleet.inventory.lint import Lint
from orchestrator.fleet.inventory.problems import FileError, Problem
from orchestrator.fleet.inventory.sources import YAML_EXTENSIONS, files, kind_of, read_source
from orchestrator.fleet.inventory.variables import base_dir, files_below

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from orchestrator.fleet.host import Inventory


def check(
    path: Path,
    *,
    known_models: Collection[str] | None = None,
    known_profiles: Collection[str] | None = None,
) -> list[Problem]:
    """The inventory's problems by file and line; an empty list when all is well.

    `known_models` are the catalog's `name@version`; None leaves models, and likewise profiles,
    unchecked. Raises InventoryError when there is no inventory at `path`.
    """
    known = values.Known(known_models, known_profiles)
    lint, texts = _lint(path, known)
    problems = lint.problems
    groups, hosts = {"all", "ungrouped", *lint.groups}, set(lint.hosts)
    try:
        inventory = reading.read(path)
    except InventoryError as exc:
        problem = _problem(exc, path)
        if (problem.file, problem.line) not in {(known.file, known.line) for known in problems}:
            problems.append(problem)
    else:
        groups, hosts = set(inventory.groups), set(inventory.hosts)
        problems += _in_texts(inventory, path, texts, known, problems)
        problems += _of_docker_hosts(inventory, path, lint)
    problems += _names_of_both(lint, path, groups & hosts)
    problems += _stray_files(base_dir(path) / "group_vars", "group", groups)
    problems += _stray_files(base_dir(path) / "host_vars", "host", hosts)
    return sorted(set(problems), key=lambda found: (str(found.file), found.line, found.message))


def misspelt_variables(path: Path, inventory: Inventory) -> list[Problem]:
    """The places of all mistyped variables in an inventory that was read.

    With them no fleet command may run; the other mistakes that `check` finds stop nothing.
    """
    known = values.Known()
    lint, texts = _lint(path, known)
    found = [*lint.problems, *_in_texts(inventory, path, texts, known, lint.problems)]
    return [problem for problem in found if problem.stops]


def _lint(path: Path, known: values.Known) -> tuple[Lint, list[Path]]:
    """What the YAML files have wrong, and the files that are not YAML."""
    lint, texts = Lint(known), []
    base = base_dir(path)
    for file in files(path):
        try:
            if read_source(file).data is None:
                texts.append(file)
            else:
                lint.inventory_file(file)
        except InventoryError as exc:
            lint.problems.append(_problem(exc, file))
    for folder in (base / "group_vars", base / "host_vars"):
        for file in files_below(folder):
            try:
                if not documents.read_text(file).startswith(documents.VAULT_HEADER):
                    lint.variables_file(file)
            except InventoryError as exc:
                lint.problems.append(_problem(exc, file))
    return lint, texts


def _problem(exc: InventoryError, path: Path) -> Problem:
    if isinstance(exc, FileError):
        return exc.problem
    return Problem(path, 1, exc.message, exc.hint)


def _in_texts(
    inventory: Inventory,
    path: Path,
    texts: list[Path],
    known: values.Known,
    already: list[Problem],
) -> Iterator[Problem]:
    """Problems of variables that YAML's nodes did not show: from INI files, scripts, plugins."""
    said = {problem.message for problem in already}
    for host in inventory.hosts.values():
        for name, value in _single(host.vars):
            verdict = values.judge(name, kind_of(value), str(value), known)
            if not verdict or verdict.message in said:
                continue
            place = _search(name, texts)
            if place or verdict.stops:
                said.add(verdict.message)
                file, line = place or (path, 1)
                yield Problem(
                    file, line, verdict.message, verdict.hint, verdict.level, verdict.stops
                )


def _of_docker_hosts(inventory: Inventory, path: Path, lint: Lint) -> Iterator[Problem]:
    base = base_dir(path)
    folders = (base / "group_vars", base / "host_vars")
    everywhere = [*files(path), *(file for folder in folders for file in files_below(folder))]
    for host, variable, value, message, hint in docker_hosts.mistakes(inventory):
        place = variable and (_search(variable, everywhere, value) or _search(variable, everywhere))
        file, line = place or lint.hosts.get(host) or (path, 1)
        yield Problem(file, line, message, hint)


def _single(variables: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names and values, those of a list one by one where the variable takes several."""
    for name, value in variables.items():
        listed = isinstance(value, list) and str(name) in values.LISTED
        for each in (listed and value) or [value]:
            yield str(name), each


def _search(name: str, texts: list[Path], value: str = "") -> tuple[Path, int] | None:
    """The first line that gives the variable a value, or this one."""
    pattern = re.compile(
        rf"""^[^#]*(?<![\w]){re.escape(name)}["']?\s*[=:]\s*["']?{re.escape(value)}"""
    )
    for file in texts:
        try:
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for number, line in enumerate(lines, start=1):
            if pattern.search(line):
                return file, number
    return None


def _names_of_both(lint: Lint, path: Path, both: set[str]) -> Iterator[Problem]:
    for name in both:
        file, line = lint.hosts.get(name) or lint.groups.get(name) or (path, 1)
        message = f"'{name}' is the name of a host and of a group"
        yield Problem(file, line, message, "Rename one: patterns cannot tell them apart.")


def _stray_files(folder: Path, what: str, known: set[str]) -> Iterator[Problem]:
    """Entries of `group_vars/` or `host_vars/` that belong to nothing, or that are not read."""
    if not folder.is_dir():
        return
    owners: dict[str, Path] = {}
    for ending in ("", *YAML_EXTENSIONS):
        for entry in sorted(folder.iterdir()):
            name = entry.name.removesuffix(ending)
            if entry.name.endswith(ending) and name in known:
                if name in owners:
                    message = f"this file is not read, {owners[name].name} is read for '{name}'"
                    yield Problem(entry, 1, message, "Move its variables there and delete it.")
                owners.setdefault(name, entry)
    for entry in sorted(folder.iterdir()):
        name = entry.name
        if name.startswith(".") or name.endswith("~") or entry in owners.values():
            continue
        stem = next((name.removesuffix(e) for e in YAML_EXTENSIONS if name.endswith(e)), name)
        if stem not in known and name not in known:
            hint = f"{names.suggestion(stem, known)} Rename the file or delete it."
            yield Problem(entry, 1, f"there is no {what} '{stem}' for these variables", hint)
