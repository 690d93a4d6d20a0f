"""Thousands of rollouts on hosts where anything may go wrong at any command, and what must hold.

The state machine is the real one, in this process; a host is a folder that the helper's own text
works on under a real shell. See `faulty_hosts.py` for what can go wrong.
"""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from orchestrator import targets, verify
from orchestrator.errors import CommandError, HostError
from orchestrator.events import StateEntered
from orchestrator.fleet import probe
from orchestrator.fleet.facts import Disk, Facts, Memory
from orchestrator.fleet.host import Host
from orchestrator.fleet.profile import ArtifactWish, EngineSpec, Profile, ServiceSpec, VerifySpec
from orchestrator.models.manifest import Artifact, ModelVersion
from orchestrator.planning import plan
from orchestrator.planning.render import Templates
from orchestrator.rollout import session, this_process
from orchestrator.rollout.host_run import (
    deploy_host,
    rollback_host,
    settle_host,
    survey_host,
    verify_host,
)
from orchestrator.rollout.outcome import Status
from orchestrator.rollout.session import Run
from orchestrator.rollout.task import Failed, HostTask, Wanted
from orchestrator.targets import commands
from orchestrator.targets.connection import ConnectionSpec
from orchestrator.verify.result import Verdict, Verification
from tests.rollout.faulty_hosts import (
    PATIENCE,
    ControllerDiedError,
    Fault,
    PromiseBrokenError,
    Scene,
    Tally,
)

pytestmark = pytest.mark.slow

TRANSITIONS = 10_000
HOSTS = ("pi-1", "pi-2")
VERSIONS = ("v1", "v2", "v3")
# What operators do, the likely more often.
OPERATORS = (*["deploy"] * 8, *["rollback"] * 3, *["settle"] * 2, "verify", "unlock")
SERVED = "v3"  # the version whose release comes with service commands
TEMPLATE = Path(__file__).parents[2] / "templates" / "run.sh.j2"
FACTS = Facts(
    arch="x86_64",
    memory=Memory(8000, 8000),
    disk=Disk(8000, True, None),
    hardware_class="cpu-x86_64",
)
TALLY = Tally()
SCENES: list[Scene] = []


class NoHeartbeat:
    """Signs of life are in the way of a test that has no time."""

    def __init__(self, *_args, **_more):
        pass

    def end(self):
        pass


def model(version):
    return version.encode() * 20


def model_version(version):
    data = model(version)
    artifact = Artifact("file", "fp32", "m.bin", hashlib.sha256(data).hexdigest(), len(data))
    return ModelVersion("net", version, (artifact,))


def profile(version):
    service = ServiceSpec(
        activate='[ ! -e "$ORCHESTRATE_ROOT/../refuses" ]',
        health='[ ! -e "$ORCHESTRATE_ROOT/../sick" ]',
        deactivate="true",
        timeout=2,
    )
    return Profile(
        "any",
        "true",
        (ArtifactWish("file"),),
        "any.cfg.j2",
        EngineSpec("command", run="true"),
        VerifySpec(command="true"),
        service=service if version == SERVED else ServiceSpec(),
    )


TEMPLATES = Templates.of({"any.cfg.j2": "x = 1\n", "run.sh.j2": TEMPLATE.read_text()})
WANTED = {
    version: Wanted(model_version(version), (profile(version),), TEMPLATES, {})
    for version in VERSIONS
}


@pytest.fixture
def make_believe(monkeypatch, tmp_path):
    """Everything of the state machine is real but clocks, links, processes and benchmarks."""
    made = {}
    really = plan.release_for

    def release_for(inputs, choice, selection):
        if inputs.version.ref not in made:
            made[inputs.version.ref] = really(inputs, choice, selection)
        return made[inputs.version.ref]

    def benchmark(target, *_args, **_more):
        word = target.benchmark()
        if word == "crash":
            raise CommandError("the benchmark crashed")
        return Verification(Verdict(word), {"evals_per_s": 1.0}, f"it says {word}")

    def connect(spec):
        scene = SCENES[-1]
        return scene.working[-1].connect(scene.hosts[spec.name])

    def kill(pid, _signal):
        if pid not in SCENES[-1].alive:
            raise ProcessLookupError

    process = SimpleNamespace(getpid=lambda: SCENES[-1].working[-1].pid, kill=kill)
    monkeypatch.setattr(plan, "release_for", release_for)
    monkeypatch.setattr(verify, "verify", benchmark)
    monkeypatch.setattr(targets, "connect", connect)
    monkeypatch.setattr(this_process, "os", process)
    monkeypatch.setattr(this_process, "machine", lambda: SCENES[-1].working[-1].machine)
    monkeypatch.setattr(session, "Heartbeat", NoHeartbeat)
    monkeypatch.setattr(session, "RECONNECT_PAUSE", 0)
    monkeypatch.setattr(session, "time", SimpleNamespace(monotonic=lambda: SCENES[-1].clock.now))
    monkeypatch.setattr(commands, "survey", lambda root, _python: commands.state(root))
    monkeypatch.setattr(probe, "parse", lambda _text: FACTS)
    blobs = {}
    for version in VERSIONS:
        path = tmp_path / version
        path.write_bytes(model(version))
        blobs[hashlib.sha256(model(version)).hexdigest()] = path
    Rollouts.blobs = blobs


hosts = st.sampled_from(HOSTS)
versions = st.sampled_from(VERSIONS)
machines = st.sampled_from(["here", "elsewhere"])
verdicts = st.lists(st.sampled_from(["pass", "pass", "fail", "inconclusive", "crash"]), max_size=2)
unsure = st.sampled_from(["rollback", "rollback", "keep"])
small = st.integers(0, 10)
places = st.integers(1, 40)
STOPS = ["kill", "kill_cut", "die_killed", "freeze", "die_frozen"]
faults = st.one_of(
    st.builds(Fault, st.sampled_from(["cut", "cut_after"]), small),
    st.builds(Fault, st.sampled_from(["die", "power"]), st.integers(0, 1)),
    st.builds(Fault, st.sampled_from(STOPS), places),
    st.builds(Fault, st.just("timer"), st.one_of(st.just(0), places)),
    st.builds(Fault, st.sampled_from(["halt", "thaw"])),
    st.builds(
        Fault,
        st.just("other"),
        st.integers(0, 1),
        st.tuples(st.sampled_from(["deploy", "rollback", "unlock"]), versions, machines, verdicts),
    ),
)
events = st.sampled_from([*[None] * 6, "time", "time", "power", "reboot", "thaw", "service"])
troubles = st.lists(st.tuples(st.integers(1, 9), faults), max_size=3)


class Rollouts(RuleBasedStateMachine):
    """Two hosts, and all that operators and their surroundings do to them."""

    blobs: dict[str, Path]

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.scene = Scene(Path(self.folder.name), HOSTS, TALLY)
        SCENES.append(self.scene)

    @rule(
        name=hosts, event=events, what=st.sampled_from(OPERATORS), version=versions,
        happens=troubles, said=verdicts, machine=machines, keep=st.integers(1, 3), unsure=unsure,
    )  # fmt: skip
    def work_is_done(
        self, name, event, what, version, happens, said, machine, keep, unsure
    ):  # fmt: skip
        if event:
            self.something_happens(self.scene.hosts[name], event)
        more = {"keep": keep, "unsure": unsure} if what == "deploy" else {}
        self.work(what, name, version, happens, said, machine, **more)

    def something_happens(self, host, event):
        TALLY.faults[event, "between"] += 1
        if event == "time":
            host.age_lock()
            host.fire_timers()
        elif event == "thaw":
            host.thaw()
        elif event == "service":
            host.change_service()
        else:
            host.restart(starts_engine=event == "reboot")
        self.check(host)

    # How it is done.

    def work(self, what, name, version, happens, said, machine, **settings):
        host, scene = self.scene.hosts[name], self.scene
        controller = scene.controller(
            machine=machine,
            faults=[(at, self.understood(fault)) for at, fault in happens],
            verdicts=said,
        )
        calm, before = host.events, host.current
        passed = before is not None and verdict(host, before) == "pass"
        outcome = None
        with self.at_work(controller):
            outcome = getattr(self, f"_{what}")(controller, host, version, **settings)
        self.check(host)
        if outcome is None:
            return
        TALLY.outcomes[f"{what}: {outcome.status} {outcome.exit_code}"] += 1
        lines = [i for i, line in enumerate(host.audit()) if line["run"] == controller.run]
        if host.events == calm or (lines and lines[-1] >= host.outside):
            self.check_outcome(host, controller, outcome, what)
            if passed and outcome.status is Status.DEPLOYED and host.events == calm:
                assert not host.incomplete(before), "the way back was removed"

    def understood(self, fault):
        if fault.kind != "other":
            return fault
        what, version, machine, said = fault.more

        def comes(host):
            self.work(what, host.name, version, [], said, machine)

        return Fault("other", fault.at, comes)

    @contextmanager
    def at_work(self, controller):
        self.scene.working.append(controller)
        self.scene.alive.add(controller.pid)
        try:
            yield
        except ControllerDiedError:
            pass
        except PromiseBrokenError as broken:
            raise AssertionError(str(broken)) from broken
        finally:
            self.scene.working.remove(controller)
            self.scene.alive.discard(controller.pid)

    def surveyed(self, controller, host, version=None, keep=3, unsure="rollback", what="deploy"):
        def publish(event):
            if isinstance(event, StateEntered):
                TALLY.states[event.state] += 1
                controller.state = event.state

        run = Run(
            controller.run, what, publish, command_timeout=PATIENCE, revert_after=PATIENCE,
            keep=keep, inconclusive=unsure,
        )  # fmt: skip
        spec = ConnectionSpec(host.name, root=str(host.root))
        return survey_host(HostTask(run, Host(host.name), spec, version and WANTED[version]))

    def _deploy(self, controller, host, version, **settings):
        found = self.surveyed(controller, host, version, **settings)
        if isinstance(found, Failed):
            return None
        controller.session = found.session
        return deploy_host(found, self.blobs)

    def _rollback(self, controller, host, _version):
        from orchestrator.planning.way_back import way_back

        found = self.surveyed(controller, host, what="rollback")
        if isinstance(found, Failed):
            return None
        controller.session = found.session
        back = way_back(found.present)
        if back is None:
            found.session.close()
            return None
        return rollback_host(found, back)

    def _settle(self, controller, host, _version):
        found = self.surveyed(controller, host, what="resume")
        controller.session = None if isinstance(found, Failed) else found.session
        return None if isinstance(found, Failed) else settle_host(found)

    def _verify(self, controller, host, _version):
        found = self.surveyed(controller, host, what="verify")
        controller.session = None if isinstance(found, Failed) else found.session
        return None if isinstance(found, Failed) else verify_host(found)

    def _unlock(self, controller, host, _version):
        found = self.surveyed(controller, host, what="unlock")
        if not isinstance(found, Failed):
            with suppress(HostError), found.session:
                found.session.break_lock()

    # What must hold.

    def check(self, host):
        """What must be true of a host at any moment."""
        current, audit = host.current, host.audit()
        assert host.false_blobs() == [], "no file of the store has another content than its name"
        assert len(list(host.root.glob("lock/*-*/switch"))) <= 1, "one switch at a time"
        assert len(list(host.root.glob("lock/beat-*"))) <= 1, "a lock has one owner"
        assert host.owner() or host.decided(), "without an owner nothing is open"
        if current is not None:
            assert host.incomplete(current) == [], f"{current} is incomplete"
        if not host.decided():
            return
        told = [line for line in audit if line["what"] in {"commit", "revert"}]
        last = told[-1]["release"] if told else None
        assert current == last, f"{current} is active, audit.log says {last}"
        if current is not None:
            committed = [line for line in audit if line["what"] == "commit"]
            assert current in {line["release"] for line in committed}, "it was never confirmed"
            if verdict(host, current) != "pass":
                assert excused(audit, current), f"{current} is active and did not pass"

    def check_outcome(self, host, controller, outcome, what):
        """What the outcome says is true of a host that nobody else touched since."""
        if outcome.exit_code == 0:
            self.check_success(host, outcome, what)
        if outcome.exit_code == 3 and not controller.session.run.halted.is_set():
            self.check_back(host, outcome, what)

    def check_success(self, host, outcome, what):
        assert host.decided(), "a success is confirmed"
        assert outcome.release == host.current
        if what == "deploy":
            assert outcome.status in {Status.DEPLOYED, Status.UNCHANGED}
            assert outcome.release == outcome.tried
        if what != "settle":
            assert verdict(host, host.current) == "pass"

    def check_back(self, host, outcome, what):
        assert host.decided(), "exit 3 says that the host is back"
        undone = [line for line in host.audit() if line["what"] == "revert"]
        assert outcome.release == host.current
        if outcome.status is not Status.ROLLED_BACK:
            return
        if what in {"deploy", "rollback"}:
            assert verdict(host, host.current) == "pass"
            assert outcome.release != outcome.tried, "it is where it should be"
        if outcome.verification is not None and outcome.release != outcome.tried:
            told = [line["release"] for line in undone]
            assert outcome.release in told, "audit.log tells that it went back"

    def teardown(self):
        try:
            for host in self.scene.hosts.values():
                host.thaw()
                host.age_lock()
                host.fire_timers()
                self.check(host)
                assert host.decided() or not list(host.root.glob("lock/armed-*/timer"))
                host.service_is_well()
                self.come_back(host)
        finally:
            SCENES.remove(self.scene)
            self.scene.close()
            self.folder.cleanup()

    def come_back(self, host):
        """A controller to which nothing happens brings the host where it should be."""
        controller = self.scene.controller()
        outcome = None
        with self.at_work(controller):
            outcome = self._deploy(controller, host, "v2")
        assert outcome is not None
        assert outcome.exit_code == 0, outcome
        self.check(host)
        self.check_outcome(host, controller, outcome, "deploy")
        assert not (host.root / "lock").exists(), "no lock is left"
        strays = [
            path.name
            for pattern in (".*", "releases/.*", "store/sha256/*/.*")
            for path in host.root.glob(pattern)
        ]
        assert strays == [], "nothing temporary is left"


def verdict(host, release):
    """What was last found about a release on the host."""
    said = [x["verdict"] for x in host.audit() if x["release"] == release and x.get("verdict")]
    return said[-1] if said else None


def excused(audit, release):
    """Whether a release may be active that did not pass last.

    It was active when it was looked at again, or the strategy keeps what is inconclusive.
    """
    said = [line for line in audit if line["release"] == release and line.get("verdict")]
    return said[-1]["what"] == "verify" or said[-1]["verdict"] == "inconclusive"


@pytest.mark.timeout(600)
def test_no_host_is_left_half_deployed(make_believe):
    run_state_machine_as_test(
        Rollouts,
        settings=settings(
            max_examples=45,
            stateful_step_count=40,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        ),
    )
    print(*TALLY.table(), sep="\n")
    for outcome, count in sorted(TALLY.outcomes.items()):
        print(f"{outcome}: {count}")
    assert TALLY.transitions >= TRANSITIONS


def deploying(version, *happens, said=()):
    return ("deploy", version, list(happens), list(said))


# Commands of a first deploy: 1 survey, 2 take_lock, 3 receive, 4 stage, 5 activate, 6 benchmark,
# 7 commit or revert. Where a lock is taken over, 3 is seize, and so on.
SHOWN = {
    "a killed helper counts as done": [
        deploying("v1"),
        deploying("v2", (7, Fault("kill", 4))),
    ],
    "late commands are not fenced": [
        deploying("v1"),
        deploying("v2", (7, Fault("die_frozen", 11))),
        deploying("v3", (7, Fault("thaw"))),
    ],
    "temporary folders stay": [
        deploying("v1", (2, Fault("kill_cut", 6))),
    ],
    "a lock stays where nothing is to be done": [
        deploying("v2"),
        deploying("v1", (4, Fault("die"))),
    ],
    "where it should be, told as rolled back": [
        deploying("v1"),
        deploying("v2", (7, Fault("cut_after", 4))),
    ],
    "the release told is the one of before": [
        deploying("v1", (6, Fault("die"))),
        deploying("v2", (5, Fault("kill", 3))),
    ],
}


@pytest.mark.parametrize("what", SHOWN)
def test_what_once_went_wrong(make_believe, what):
    rollouts = Rollouts()
    try:
        for how, version, happens, said in SHOWN[what]:
            rollouts.work(how, "pi-1", version, happens, said, "here")
    finally:
        rollouts.teardown()
