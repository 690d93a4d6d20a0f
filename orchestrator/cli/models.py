"""`orchestrate models`: the catalog."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from orchestrator.cli import fleet
from orchestrator.cli.common import Context, Group, pass_context
from orchestrator.sizes import human_size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orchestrator.models.catalog import Catalog, FileState, OnFileProgress
    from orchestrator.models.manifest import Artifact, Golden, ModelVersion


@click.group(cls=Group)
def command() -> None:
    """The catalog of models: what can be deployed, and where its files come from.

    A version is written NAME@VERSION, such as kata-b18@v2. Its manifest belongs into git, the
    files themselves lie in artifacts/store.
    """


@command.command("list")
@click.argument("model", required=False)
@pass_context
def list_(context: Context, model: str | None) -> None:
    """Show all versions, or those of MODEL, oldest first."""
    from rich.table import Table

    catalog = fleet.catalog(context)
    versions = catalog.known_versions(model) if model else catalog.all_versions()
    context.emit({"versions": [described(catalog, version) for version in versions]})
    if context.json:
        return
    if not versions:
        context.console.print("No models yet: orchestrate models add NAME@VERSION SOURCE")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("version", "artifact", "size", "golden", ""):
        table.add_column(
            column, header_style="dim", justify="right" if column == "size" else "left"
        )
    for version in versions:
        for index, artifact in enumerate(version.artifacts):
            notes = [] if catalog.store.has(artifact.sha256) else ["not here: fetch it"]
            notes += [f"yanked: {version.yanked}"] if version.yanked else []
            table.add_row(
                "" if index else version.ref,
                kind(artifact),
                human_size(artifact.size),
                "yes" if artifact.golden else "no",
                plain("; ".join(notes), "yellow"),
            )
    context.console.print(table)


@command.command()
@click.argument("ref", metavar="NAME@VERSION")
@pass_context
def show(context: Context, ref: str) -> None:
    """Show everything that is known of a version."""
    catalog = fleet.catalog(context)
    version = catalog.get(ref)
    context.emit(described(catalog, version))
    if context.json:
        return
    say(context, version.ref, "bold")
    if version.yanked:
        say(context, f"yanked: {version.yanked}", "yellow")
    for artifact in version.artifacts:
        say(context, f"\n{kind(artifact)}  {artifact.filename}", "bold")
        rows: dict[str, Any] = {
            "size": human_size(artifact.size),
            "sha256": artifact.sha256,
            "source": artifact.source,
            "golden": artifact.golden.filename if artifact.golden else "",
            "memory": f"{artifact.memory_mb} MiB" if artifact.memory_mb else "",
            "requires": pairs(artifact.requires),
            "accuracy": gate(artifact.accuracy),
            "measured": pairs(artifact.measured),
            "in store": "yes" if catalog.store.has(artifact.sha256) else "no",
        }
        for name, value in rows.items():
            if value:
                say(context, f"  {name:9} {value}")


@command.command()
@click.argument("ref", metavar="NAME@VERSION")
@click.argument("source")
@click.option("--format", "format_name", metavar="FORMAT", help="Default: told from the name.")
@click.option("--precision", metavar="PRECISION", help="fp32, fp16 or int8.")
@click.option("--golden", metavar="SOURCE", help="Golden answers: .npz, or .json for katago.")
@click.option("--sha256", metavar="DIGEST", help="What the file must have; a URL needs it.")
@click.option(
    "--memory-mb", type=click.IntRange(1), metavar="MIB", help="What the engine needs to run it."
)
@click.option("--filename", metavar="NAME", help="Its name in a release; default: its own.")
@click.option(
    "--requires",
    multiple=True,
    metavar="FACT=VALUE",
    help="For an engine built for one machine: compute_capability=8.7, tensorrt=10.3.",
)
@click.option("--variant", default="", metavar="NAME", help="Another use of the same, as 9x9.")
@pass_context
def add(
    context: Context,
    ref: str,
    source: str,
    format_name: str | None,
    precision: str | None,
    golden: str | None,
    sha256: str | None,
    memory_mb: int | None,
    filename: str | None,
    requires: tuple[str, ...],
    variant: str,
) -> None:
    """Add the file SOURCE to a version, which is made if it is new.

    SOURCE is a path, an http(s) URL with --sha256, or 'wheel:PACKAGE==VERSION!member/path'. A
    version does not change afterwards: another file of the same format and precision is another
    version.
    """
    from orchestrator.models.catalog import NewArtifact

    new = NewArtifact(
        source=source,
        format=format_name,
        precision=precision,
        filename=filename,
        sha256=sha256,
        golden=golden,
        memory_mb=memory_mb,
        requires=split_pairs("--requires", requires),
        variant=variant,
    )
    catalog = fleet.catalog(context)
    with progress_bars() as progress:
        added = catalog.add(ref, new, progress)
    context.emit({**described(catalog, added.version), "added": added.new})
    artifact = added.artifact
    if added.new:
        size, digest = human_size(artifact.size), artifact.sha256[:12]
        say(context, f"Added {kind(artifact)} to {ref}: {artifact.filename}", "green")
        say(context, f"{size}, sha256 {digest}…")
    else:
        say(context, f"{ref} has this {kind(artifact)} already.")
    if artifact.golden is None:
        say(context, "It has no golden answers: nobody can prove on a host that it answers right.")
    say(context, f"Next: orchestrate plan --model {ref}")


@command.command()
@click.argument("net", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--katago",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="A KataGo on this machine that you trust.",
)
@click.option(
    "--set", "settings", metavar="KEY=VALUE", multiple=True, help="A config key for it; repeatable."
)
@pass_context
def golden(context: Context, net: Path, out: Path, katago: Path, settings: tuple[str, ...]) -> None:
    """Record what a trusted KataGo answers with NET, as golden answers in OUT (.json).

    A dozen positions on three board sizes under several rules. Give OUT to `models add --golden`:
    every host is then held to these answers.
    """
    from orchestrator.engines.katago.golden import record

    keys = split_pairs("--set", settings)
    document = record(katago, net, settings=keys)
    out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    context.emit({"golden": str(out), "positions": len(document["positions"])})
    if not context.json:
        say(context, f"{out}: what {net.name} answers on {len(document['positions'])} positions")
        say(context, f"Next: orchestrate models add NAME@VERSION {net} --golden {out}", "dim")


@command.command()
@click.argument("ref", metavar="[NAME@VERSION]", required=False)
@pass_context
def fetch(context: Context, ref: str | None) -> None:
    """Get the files that are missing or damaged here, of one version or all, from their sources."""
    with progress_bars() as progress:
        repaired = fleet.catalog(context).fetch(ref, progress)
    context.emit({"fetched": [state_row(state) for state in repaired]})
    for state in repaired:
        say(context, f"Fetched {state.file.filename} of {state.ref}.", "green")
    if not repaired:
        say(context, "Everything is here.")


@command.command()
@click.argument("ref", metavar="[NAME@VERSION]", required=False)
@pass_context
def verify(context: Context, ref: str | None) -> int:
    """Hash every stored file anew, of one version or all; exit 2 when one is not right."""
    states = fleet.catalog(context).verify(ref)
    wrong = [state for state in states if state.problem]
    code = 2 if wrong else 0
    context.emit({"exit_code": code, "files": [state_row(state) for state in states]})
    for state in wrong:
        text = f"{state.ref} {state.file.filename}: {state.problem}"
        say(context, text, "red")
    if wrong:
        refs = list(dict.fromkeys(state.ref for state in wrong))
        say(context, f"Next: orchestrate models fetch {refs[0]}")
    else:
        say(context, f"Right: {count(len(states))}.", "green")
    return code


@command.command()
@click.argument("ref", metavar="NAME@VERSION")
@click.option("--reason", required=True, help="Why nobody should deploy it; shown to who tries.")
@pass_context
def yank(context: Context, ref: str, reason: str) -> None:
    """Withdraw a version: hosts keep it, nobody gets it any more."""
    catalog = fleet.catalog(context)
    version = catalog.yank(ref, reason)
    context.emit(described(catalog, version))
    say(context, f"{version.ref} is yanked: {version.yanked}")


@command.command()
@click.argument("ref", metavar="NAME@VERSION")
@pass_context
def unyank(context: Context, ref: str) -> None:
    """Allow a version again."""
    catalog = fleet.catalog(context)
    version = catalog.unyank(ref)
    context.emit(described(catalog, version))
    say(context, f"{version.ref} can be deployed again.")


@command.command()
@click.option(
    "--keep",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    metavar="N",
    help="Files of the last N versions of each model stay.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--without-history", is_flag=True, help="Go by the inventory and --keep alone.")
@pass_context
def gc(context: Context, keep: int, dry_run: bool, without_history: bool) -> None:
    """Remove stored files that no host uses and that belong to no recent version.

    What stays: what the inventory wants, the last N versions, and what hosts run or would go back
    to, as this project's history tells. A history that knows of no deploy, while the inventory has
    hosts, may be lost or another machine's: nothing is removed then, unless --without-history
    says that it does not matter. Manifests stay, so that `models fetch` can bring a file back.
    """
    catalog = fleet.catalog(context)
    in_use = wanted_or_used(context, catalog, keep, without_history=without_history)
    removed = catalog.gc(keep, in_use, dry_run=dry_run)
    freed = sum(blob.size for blob in removed)
    rows = [{"sha256": b.sha256, "size": b.size, "refs": list(b.refs)} for b in removed]
    context.emit({"dry_run": dry_run, "freed": freed, "removed": rows})
    for blob in removed:
        owners = ", ".join(blob.refs) or "of no version"
        say(context, f"{blob.sha256[:12]}…  {human_size(blob.size):>9}  {owners}")
    would = "would be removed" if dry_run else "removed"
    say(context, f"{count(len(removed))} {would}, {human_size(freed)}.")


def wanted_or_used(
    context: Context, catalog: Catalog, keep: int, *, without_history: bool
) -> set[str]:
    """The digests of what hosts have or are to get.

    Raises UsageError where the history cannot tell what they have, and it matters.
    """
    from orchestrator.fleet import inventory
    from orchestrator.history import open_history
    from orchestrator.models.usage import digests_in_use

    hosts = inventory.load(context.project.inventory).hosts.values()
    wanted = [str(host.vars.get("orchestrate_model", "")) for host in hosts]
    outcomes = []
    if not without_history:
        with open_history(context.project.history_url, refuse_without_history) as history:
            outcomes = [
                [record.outcome for record in history.host(name)] for name in history.host_names()
            ]
    in_use = digests_in_use(catalog.all_versions(), wanted, outcomes)
    untold = hosts and not outcomes and not without_history
    if untold and catalog.gc(keep, in_use, dry_run=True):
        refuse_without_history("the history knows of no deploy, but the inventory has hosts")
    return in_use


def refuse_without_history(message: str) -> NoReturn:
    """Raise UsageError: what hosts use is not known."""
    from orchestrator.errors import UsageError

    raise UsageError(
        message,
        hint="It is not known what hosts use. Where that does not matter, "
        "since `models fetch` can bring it back: orchestrate models gc --without-history",
    )


@contextlib.contextmanager
def progress_bars() -> Iterator[OnFileProgress]:
    """Bars with rate and time left on the terminal, for as long as files arrive."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bars:
        tasks: dict[str, TaskID] = {}

        def advance(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what)
            bars.update(tasks[what], completed=done, total=total)

        yield advance


def described(catalog: Catalog, version: ModelVersion) -> dict[str, Any]:
    """A version as --json shows it: its manifest, and which files are here."""
    from orchestrator.models.manifest import to_document

    document = {"ref": version.ref, "yanked": None, **to_document(version)}
    for entry in document["artifacts"]:
        entry["stored"] = catalog.store.has(entry["sha256"])
    return document


def state_row(state: FileState) -> dict[str, Any]:
    """The state of a file as --json shows it."""
    file: Artifact | Golden = state.file
    return {
        "ref": state.ref,
        "filename": file.filename,
        "sha256": file.sha256,
        "size": file.size,
        "ok": not state.problem,
        "problem": state.problem,
    }


def split_pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    """Values by name of what `option` was given, each NAME=VALUE; raises a usage error."""
    for text in texts:
        if "=" not in text:
            raise click.UsageError(f"{option} {text!r} is not of the form NAME=VALUE")
    return dict(text.split("=", 1) for text in texts)


def kind(artifact: Artifact) -> str:
    """`katago fp32`, with what it requires."""
    needs = f" ({pairs(artifact.requires)})" if artifact.requires else ""
    return f"{artifact.kind}{needs}"


def gate(accuracy: Any) -> str:
    """`pass, closest: lead p99 0.2 points, 1 point allowed`; empty without a report."""
    verdict, reason = accuracy.get("gate", ""), accuracy.get("reason", "")
    separator = ", " if verdict == "pass" else ": "
    return separator.join(part for part in (verdict, reason) if part)


def pairs(values: Any) -> str:
    """`a=1, b=2`."""
    return ", ".join(f"{key}={value}" for key, value in values.items())


def count(files: int) -> str:
    """`1 file`, `2 files`."""
    return f"{files} file" + ("" if files == 1 else "s")


def say(context: Context, text: str, style: str = "") -> None:
    """Print a line that is not broken where the terminal ends."""
    context.console.print(plain(text, style), soft_wrap=True)


def plain(text: str, style: str = "") -> Any:
    """Text that rich prints as it is: what comes from files may look like its markup."""
    from rich.text import Text

    return Text(text, style)
