"""The `orchestrate` command: parse, call, print.

Each subcommand is one module of this package with a `command` in it, imported only when asked for.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import signal
import sys
from pathlib import Path
from typing import ClassVar

import click

from orchestrator import __version__
from orchestrator.cli.common import Context, DeclinedError
from orchestrator.cli.terminal import may_be_gone
from orchestrator.errors import OrchestrateError, UsageError

JSON = {"--json"}
JSON_LINES = {"--json-lines"}
VERBOSE = {"-v", "--verbose"}


# The commands that ask hosts, and so have events.
WITH_EVENTS = (
    "facts", "plan", "explain", "deploy", "verify", "status", "rollback", "resume", "reconcile",
    "unlock", "provision",
)  # fmt: skip


class LazyGroup(click.Group):
    """A group that imports a subcommand's module when the subcommand is run."""

    SUMMARIES: ClassVar[dict[str, str]] = {
        "init": "Make a fleet project to start from.",
        "inventory": "Hosts, groups and wanted models; check and edit the inventory.",
        "trust": "Show a host's key and add it to known_hosts.",
        "facts": "What the hosts are, and which profile each is ready for.",
        "provision": "Make bare machines ready for releases, with Ansible.",
        "models": "The catalog of models: add, fetch, verify, yank, gc.",
        "build": "Make artifacts of a KataGo net, each compared with the net itself.",
        "compare": "Size, speed and accuracy of a version's artifacts, side by side.",
        "checklist": "Whether a version is ready for the fleet, in seven questions.",
        "plan": "What a deploy would change, and why. Touches nothing that runs.",
        "explain": "Why a host gets the artifact that it gets.",
        "deploy": "Bring hosts to the wanted version, verified there or rolled back.",
        "resume": "Bring what a run that was cut off left in the middle to its end.",
        "reconcile": "Bring hosts that a deploy could not reach what they should have got.",
        "verify": "Run the smoke benchmark of what is active now.",
        "status": "Wanted, active, verdict and drift of each host.",
        "rollback": "Put hosts back on the last release that passed there.",
        "history": "Runs, hosts and benchmarks of the past.",
        "unlock": "Break a lock that somebody left on a host.",
        "lab": "A fleet of local SSH hosts to try everything on.",
    }

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names in the order in which an operator meets them."""
        return list(self.SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The subcommand, imported now; a mistyped name is answered with the nearest one."""
        if cmd_name not in self.SUMMARIES:
            return None
        command = importlib.import_module(f"orchestrator.cli.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with a suggestion for a mistyped name."""
        if args and not args[0].startswith("-") and args[0] not in self.SUMMARIES:
            from orchestrator.spelling import did_you_mean

            hint = did_you_mean(args[0], self.SUMMARIES) or "Try: orchestrate --help"
            raise UsageError(f"no such command '{args[0]}'", hint=hint)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the summaries without importing any subcommand."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.SUMMARIES.items()))


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="orchestrate")
@click.option(
    "--project",
    "project_dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Fleet project; default: the nearest parent folder with orchestrate.yml.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.option(
    "--json-lines", is_flag=True, help="One JSON line on stdout for each event, as it happens."
)
@click.option("-v", "--verbose", is_flag=True, help="Say more; tracebacks of unexpected errors.")
@click.pass_context
def root(
    ctx: click.Context, project_dir: Path | None, as_json: bool, json_lines: bool, verbose: bool
) -> None:
    """Deploy neural nets to many unlike machines.

    The right artifact and config for each host, verified there, rolled back when wrong.
    """
    if json_lines and as_json:
        raise UsageError(
            "--json and --json-lines exclude each other", hint="Leave one of them out."
        )
    if json_lines and ctx.invoked_subcommand not in WITH_EVENTS:
        raise UsageError(
            f"{ctx.invoked_subcommand} asks no hosts, so it has no events for --json-lines",
            hint=f"These have: {', '.join(WITH_EVENTS)}.",
        )
    ctx.obj = Context(project_dir=project_dir, json=as_json, verbose=verbose, json_lines=json_lines)


def main() -> None:
    """Run the command line and exit with the design's exit codes."""
    heed_as_ctrl_c()
    print_anywhere()
    arguments = sys.argv[1:]
    as_json, verbose = (bool(names & set(before_dashes(arguments))) for names in (JSON, VERBOSE))
    try:
        code = root.main(hoist_global_options(arguments), "orchestrate", standalone_mode=False)
    except click.exceptions.Exit as exc:
        code = exc.exit_code
    except click.exceptions.NoArgsIsHelpError as exc:
        if not as_json:
            exc.show()
        code = report("usage", "missing command", usage_hint(exc), as_json=as_json, exit_code=2)
    except click.ClickException as exc:
        code = report("usage", exc.format_message(), usage_hint(exc), as_json=as_json, exit_code=2)
    except DeclinedError:
        code = declined(as_json=as_json)
    except (click.Abort, KeyboardInterrupt):
        code = report(
            "interrupted",
            "interrupted",
            "See what is where: orchestrate status",
            as_json=as_json,
            exit_code=130,
        )
    except OrchestrateError as exc:
        d = exc.as_dict()
        code = report(d["code"], d["message"], d["hint"], as_json=as_json, exit_code=exc.exit_code)
    except Exception as exc:  # noqa: BLE001 - the last resort: whatever it is, it is reported
        if verbose:
            import traceback

            traceback.print_exc()
        code = report(
            "internal",
            f"{type(exc).__name__}: {exc}",
            "This is a defect of orchestrate."
            + ("" if verbose else " Run again with -v to see where."),
            as_json=as_json,
            exit_code=4,
        )
    sys.exit(code if isinstance(code, int) else 0)


def heed_as_ctrl_c() -> None:
    """Have SIGTERM, and the end of the terminal unless `nohup` has it ignored, be as Ctrl-C."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        signal.signal(signal.SIGHUP, signal.default_int_handler)


def print_anywhere() -> None:
    """Have `?` printed on stdout for a character that its encoding lacks."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def hoist_global_options(arguments: list[str]) -> list[str]:
    """`arguments` with --json, --json-lines and -v moved to the front: they may stand anywhere.

    What follows a `--` stays where it is.
    """
    ours = before_dashes(arguments)
    flags = JSON | JSON_LINES | VERBOSE
    front = [a for a in ours if a in flags]
    return front + [a for a in ours if a not in flags] + arguments[len(ours) :]


def before_dashes(arguments: list[str]) -> list[str]:
    """The arguments before a `--`, among which options are looked for."""
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


def usage_hint(error: click.ClickException) -> str:
    """Where to read how the command is used."""
    ctx = getattr(error, "ctx", None)
    return f"Try: {ctx.command_path} --help" if ctx is not None else "Try: orchestrate --help"


def declined(*, as_json: bool) -> int:
    """Say that a question before anything was touched was answered with no; the exit code."""
    if as_json:
        import json

        error = {"code": "declined", "message": "the answer was no, nothing was done", "hint": ""}
        click.echo(json.dumps({"exit_code": 130, "error": error}, indent=2))
    with may_be_gone():
        click.echo("Nothing was done.", err=True)
    return 130


def report(code: str, message: str, hint: str, *, as_json: bool, exit_code: int) -> int:
    """Print an error that ended the command and return its exit code."""
    if as_json:
        import json

        error = {"code": code, "message": message, "hint": hint}
        with contextlib.suppress(OSError):  # stdout itself may be what is wrong
            click.echo(json.dumps({"exit_code": exit_code, "error": error}, indent=2))
    with may_be_gone():
        click.secho("error: ", fg="red", bold=True, nl=False, err=True)
        click.echo(message, err=True)
        if hint:
            click.echo(f"  hint: {hint}", err=True)
    return exit_code
