"""`orchestrate provision`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from orchestrator.cli.common import Context, host_options, pass_context
from orchestrator.errors import UsageError
from orchestrator.listing import names

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.cli.live import LiveTable
    from orchestrator.fleet.host import Host
    from orchestrator.rollout.fleet_run import FleetRun


@click.command("provision")
@host_options
@click.option("--check", is_flag=True, help="Predict what would change; change nothing.")
@click.option("--diff", is_flag=True, help="Show how files differ, or would.")
@click.option("--tags", multiple=True, metavar="ROLE", help="Only these roles; repeatable, or a,b.")
@click.option("--remove", is_flag=True, help="Take back what was installed; data stays.")
@click.option("--purge", is_flag=True, help="With --remove: delete releases and all data, too.")
@click.option("--user", metavar="USER", help="Log in as USER for this time, as pi or nvidia.")
@click.option("-K", "--ask-become-pass", is_flag=True, help="Ask for the password of sudo.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask before data is deleted.")
@pass_context
def command(
    context: Context,
    groups: tuple[str, ...],
    limit: str | None,
    check: bool,
    diff: bool,
    tags: tuple[str, ...],
    remove: bool,
    purge: bool,
    user: str | None,
    ask_become_pass: bool,
    yes: bool,
) -> int:
    """Make bare machines ready for releases, with Ansible: user, root, engines, service.

    Plays playbooks/provision.yml on the hosts, through sudo where the login is not root's, and ends
    with what each host is ready for. A second run changes nothing; releases, store and `current`
    are never touched.

    Exit status: 0, 3 a task failed on some host, 5 a host could not be reached, 6 somebody else
    works on it.
    """
    from orchestrator.cli import fleet, provision_summary
    from orchestrator.provision.request import Request
    from orchestrator.provision.run import Provisioning

    if purge and not remove:
        raise UsageError(
            "--purge goes with --remove", hint="orchestrate provision --remove --purge"
        )
    inventory, hosts = fleet.choose(context, groups, limit)
    hosts = machines(hosts)
    if purge and not (yes or check):
        sure(hosts)
    request = Request(
        check=check,
        diff=diff,
        tags=tuple(tag for given in tags for tag in given.split(",") if tag),
        remove=remove,
        purge=purge,
        user=user,
        become_password=asked_password() if ask_become_pass else "",
    )
    asked = {"tags": request.tags, "remove": remove, "purge": purge, "user": user}
    run, live = started(context, hosts, asked, check=check)
    cache = fleet.facts_cache(context)
    with live:
        result = Provisioning(run, context.project, inventory.groups, request, cache)(hosts)
    if context.json:
        context.emit(result.as_dict())
    else:
        provision_summary.show(context, result)
    return result.exit_code


def started(
    context: Context, hosts: Sequence[Host], asked: Mapping[str, object], *, check: bool
) -> tuple[FleetRun, LiveTable]:
    """The run; one that only predicts is not recorded and needs no lock."""
    from orchestrator.cli import fleet
    from orchestrator.cli.live import LiveTable
    from orchestrator.events import EventBus
    from orchestrator.rollout.fleet_run import FleetRun

    if not check:
        return fleet.start(context, "provision", hosts, request=asked)
    live = LiveTable(len(hosts), on_stdout=context.for_people)
    run = FleetRun(
        command="provision",
        settings=context.project.settings,
        bus=EventBus([live, *context.listeners()]),
        tell=live.say,
        folder=context.project.root,
    )
    return run, live


def machines(hosts: Sequence[Host]) -> tuple[Host, ...]:
    """The hosts that are machines; Docker hosts are named on stderr and left out.

    Raises UsageError when all are Docker hosts.
    """
    docker = [h.name for h in hosts if str(h.vars.get("ansible_connection", "")) == "docker"]
    if len(docker) == len(hosts):
        raise UsageError(
            f"{names(docker)}: a Docker host gets its engine by its image",
            hint="The machine under it can be provisioned as a host of its own, reached by SSH: "
            "role gpu_server brings the Docker Engine. See docs/docker.md.",
        )
    if docker:
        click.echo(f"Left alone, Docker hosts: {names(docker)}", err=True)
    return tuple(host for host in hosts if host.name not in docker)


def sure(hosts: Sequence[Host]) -> None:
    """Ask before data is deleted; a no ends the command."""
    from orchestrator.cli.common import confirm

    told = names([host.name for host in hosts])
    confirm(
        "Delete all releases, the store, the audit log and the users that provisioning made "
        f"on {told}?"
    )


def asked_password() -> str:
    """The password that sudo wants: typed unseen, or the first line of a stdin that is no terminal.

    Raises UsageError for an empty one.
    """
    if sys.stdin.isatty():
        password = str(click.prompt("Password for sudo", hide_input=True, err=True))
    else:
        password = sys.stdin.readline().rstrip("\n")
    if not password:
        raise UsageError(
            "--ask-become-pass got no password",
            hint="Type it, or give it as the first line of stdin.",
        )
    return password
