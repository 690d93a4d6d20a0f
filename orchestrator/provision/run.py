"""One run of `provision`: look at the hosts, have Ansible work on them, look again."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orchestrator.errors import InputError, ProvisionError
from orchestrator.events import HostFinished, StateEntered
from orchestrator.models.sources.wheel import pip_command
from orchestrator.planning.profiles import choose_profile
from orchestrator.planning.readiness import readiness, unsupported
from orchestrator.provision import ansible, playbooks, secrets, variables
from orchestrator.provision.outcome import ProvisionOutcome, ProvisionResult, Status, refused
from orchestrator.provision.verdict import outcome_of
from orchestrator.rollout.standing import is_at_work, lock_owner
from orchestrator.targets.commands import locked
from orchestrator.targets.connection import connection_spec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from orchestrator.errors import OrchestrateError
    from orchestrator.fleet.facts import Facts
    from orchestrator.fleet.facts_cache import FactsCache
    from orchestrator.fleet.host import Host
    from orchestrator.fleet.profile import Profile
    from orchestrator.fleet.project import Project
    from orchestrator.provision.progress import Step
    from orchestrator.provision.request import Request
    from orchestrator.rollout.fleet_run import FleetRun
    from orchestrator.rollout.task import Surveyed

KEPT = "provision"  # below .orchestrate: what ansible-runner keeps of each run
COMMAND = "provision"
# After these a host may be good for something else than before.
WORKED_ON = frozenset({Status.PROVISIONED, Status.UNCHANGED, Status.REMOVED, Status.FAILED})


@dataclass
class Provisioning:
    """One run on some hosts of a fleet project; use it once.

    `groups` are the inventory's; `cache` gets the facts that are seen last.
    """

    run: FleetRun
    project: Project
    groups: Mapping[str, tuple[str, ...]]
    request: Request
    cache: FactsCache
    _outcomes: dict[str, ProvisionOutcome] = field(default_factory=dict)
    _artifacts: str = ""
    _stopping: bool = False

    def __call__(self, hosts: Sequence[Host]) -> ProvisionResult:
        """Every host's outcome. Raises InputError before anything is touched."""
        name = playbooks.REMOVE if self.request.remove else playbooks.PROVISION
        playbook = playbooks.find(self.project, name)
        playbooks.check_tags(playbook, self.request.tags)
        playbooks.check_variables(playbook, hosts)
        variables.check_users(hosts, self.request.user)
        variables.check_passwords(hosts, self.request)
        survey = self.run.survey([self.request.login(host) for host in hosts])
        survey.close()
        surveyed = {each.task.host.name: each for each in survey.surveyed}
        for failed in survey.failed:
            self._put(refused(failed.task.host.name, failed.error))
        for host, each in surveyed.items():
            if error := obstacle(each, self.request):
                self._put(refused(host, error))
        ready = [host for host in hosts if host.name not in self._outcomes]
        try:
            with self.run.runner.guard():
                if ready and not self.run.runner.interrupted:
                    self._have_done(playbook, ready, surveyed)
                if not self.run.runner.interrupted and not self.request.check:
                    self._look_again(hosts)
        except InputError:
            self.run.finish("failed", 2)
            raise
        return self._result(hosts)

    def _have_done(
        self, path: Path, hosts: Sequence[Host], surveyed: Mapping[str, Surveyed]
    ) -> None:
        """Have Ansible play the playbook on the hosts."""
        request, settings = self.request, self.run.settings
        facts = {host.name: surveyed[host.name].facts for host in hosts}
        kept = self.project.state / KEPT
        ended = ansible.run(
            ansible.Playbook(
                path=path,
                inventory=self.project.inventory,
                hosts=[host.name for host in hosts],
                variables=self._variables(hosts, facts),
                everywhere=self._everywhere(),
                extra=variables.overriding(request),
                tags=request.tags,
                check=request.check,
                diff=request.diff,
                become_password=request.become_password,
                secrets=secrets.of_hosts(hosts, request.become_password),
                forks=settings.parallel,
                connect_timeout=settings.connect_timeout,
            ),
            run=self.run.id,
            kept=kept,
            on_step=self._publish_step,
            stopped=self._stopped,
        )
        self._artifacts = str(kept / self.run.id)
        for host in hosts:
            outcome = outcome_of(
                host.name,
                ended.progress.hosts[host.name],
                request,
                code=ended.code,
                interrupted=self.run.runner.interrupted,
                complaint=ended.progress.error,
            )
            self._put(with_release(outcome, surveyed[host.name].present.current))

    def _variables(
        self, hosts: Sequence[Host], facts: Mapping[str, Facts]
    ) -> dict[str, dict[str, Any]]:
        """What Ansible is told of each host besides the project's own inventory."""
        return {
            host.name: variables.of_host(
                host,
                connection_spec(host, folder=self.project.root),
                self._profile(host, facts[host.name]),
            )
            for host in hosts
        }

    def _everywhere(self) -> dict[str, Any]:
        """Where files for hosts lie on this machine, and how they are fetched."""
        pip = pip_command()
        return {"host_project": str(self.project.root)} | ({"katago_pip": pip} if pip else {})

    def _profile(self, host: Host, facts: Facts) -> Profile | None:
        """The host's profile; None where it has none, which its readiness tells."""
        profiles = self.project.settings.profiles
        try:
            return choose_profile(host, facts, self.groups, profiles).profile
        except InputError:
            return None

    def _look_again(self, hosts: Sequence[Host]) -> None:
        """Find out what the hosts are good for now, logging in as deploys do.

        Who deployed may be gone after `--remove`: what was known of the hosts is forgotten then.
        """
        after = [host for host in hosts if self._outcomes[host.name].status in WORKED_ON]
        if self.request.remove:
            for host in after:
                self.cache.forget(host.name)
            return
        survey = self.run.look_again(after)
        survey.close()
        for surveyed in survey.surveyed:
            host, facts = surveyed.task.host, surveyed.facts
            self.cache.put(host.name, facts)
            now = readiness(host, facts, self.groups, self.project.settings.profiles)
            self._put(replace(self._outcomes[host.name], readiness=now))
        for failed in survey.failed:
            before = self._outcomes[failed.task.host.name]
            if before.error is None:
                lost = refused(before.host, failed.error)
                self._put(replace(lost, changed=before.changed, advice=before.advice))

    def _result(self, hosts: Sequence[Host]) -> ProvisionResult:
        """What the run came to, in the order of its hosts; said to be finished."""
        done = tuple(
            self._outcomes.get(host.name) or ProvisionOutcome(host.name, Status.SKIPPED)
            for host in hosts
        )
        for outcome in done:
            told = HostFinished(run=self.run.id, host=outcome.host, outcome=outcome.as_dict())
            self.run.bus.publish(told)
        result = ProvisionResult(
            self.run.id,
            done,
            interrupted=self.run.runner.interrupted,
            check=self.request.check,
            artifacts=self._artifacts,
        )
        self.run.finish(result.outcome, result.exit_code)
        return result

    def _put(self, outcome: ProvisionOutcome) -> None:
        self._outcomes[outcome.host] = outcome

    def _publish_step(self, step: Step) -> None:
        state = step.role or COMMAND
        self.run.bus.publish(
            StateEntered(run=self.run.id, host=step.host, state=state, detail=step.task)
        )

    def _stopped(self) -> bool:
        """Whether the operator asked to stop; what follows from it is said once."""
        if self.run.runner.interrupted and not self._stopping:
            self._stopping = True
            self.run.tell("Stopping: Ansible is ended. Run the command again to go on.")
        return self.run.runner.interrupted


def with_release(outcome: ProvisionOutcome, release: str | None) -> ProvisionOutcome:
    """The outcome with the release that is active on the host, and what became of that."""
    if release is None or outcome.status is not Status.REMOVED:
        return replace(outcome, release=release)
    told = (
        f"{release} is still active, and what ran it may be gone: provision the host again and "
        "verify it, or remove it with --purge."
    )
    return replace(outcome, release=release, advice=(*outcome.advice, told))


def obstacle(surveyed: Surveyed, request: Request) -> OrchestrateError | None:
    """Why Ansible is not let loose on a host that answered; None where it is."""
    host = surveyed.task.host.name
    if why := unsupported(surveyed.facts):
        what, _, remedy = why.partition(". ")
        return ProvisionError(f"{host} is {what}", hint=f"{remedy}.", code="not_supported")
    busy = is_at_work(lock_owner(surveyed.lock, surveyed.lock_age))
    if surveyed.lock is None or not busy or request.check:
        return None
    return locked(surveyed.lock, host)
