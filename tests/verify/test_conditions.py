"""A real benchmark, repeated on this machine, whose heat and load are simulated."""

from __future__ import annotations

import pytest

from orchestrator.errors import CommandError
from orchestrator.fleet.facts import Load, Thermal
from orchestrator.fleet.profile import EngineSpec, VerifySpec
from orchestrator.targets import connect
from orchestrator.targets.connection import ConnectionSpec
from orchestrator.verify import verify
from orchestrator.verify.base import Subject
from orchestrator.verify.baseline import Baseline
from orchestrator.verify.conditions import on_host
from orchestrator.verify.repeat import Patience

BASELINE = Baseline("rpi4", "evals_per_s", 10.8, 0.4, 9)
# Each run takes the first speed away, the last one stays.
CHECK = """\
read -r speed <speeds
sed -i -e '$!{1d' -e '}' speeds
printf '{"ok": true, "metrics": {"evals_per_s": %s}}\\n' "$speed"
"""


class Board:
    """The simulated files of a host, below what is $ORCHESTRATE_SYSROOT."""

    def __init__(self, sysroot):
        self.sysroot = sysroot
        self.is_fit()

    def write(self, path, text):
        file = self.sysroot / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def has(self, *, celsius, load, throttled):
        self.write("sys/class/thermal/thermal_zone0/type", "cpu-thermal\n")
        self.write("sys/class/thermal/thermal_zone0/temp", f"{celsius * 1000}\n")
        self.write("sys/devices/platform/soc/soc:firmware/get_throttled", f"{throttled}\n")
        self.write("sys/devices/system/cpu/online", "0-3\n")
        self.write("proc/loadavg", f"{load} 0.30 0.20 1/134 2210\n")

    def is_fit(self):
        self.has(celsius=60, load="0.30", throttled="50000")  # it has occurred, it is over

    def is_hot(self):
        self.has(celsius=82, load="0.30", throttled="50004")

    def is_busy(self):
        self.has(celsius=60, load="7.90", throttled="0")


@pytest.fixture
def board(tmp_path, monkeypatch):
    """This machine as a board."""
    monkeypatch.setenv("ORCHESTRATE_SYSROOT", str(tmp_path / "sysroot"))
    return Board(tmp_path / "sysroot")


@pytest.fixture
def here():
    """This machine."""
    with connect(ConnectionSpec("here", kind="local")) as target:
        yield target


@pytest.fixture
def verified(here, tmp_path):
    """Verifies a release that shows one speed after the other."""
    folder = tmp_path / "release"
    folder.mkdir()

    def run(*speeds, meanwhile=lambda: None, said=None):
        (folder / "speeds").write_text("".join(f"{speed}\n" for speed in speeds))
        subject = Subject(
            folder=str(folder),
            model="net",
            config="cfg",
            golden="",
            format="file",
            engine=EngineSpec("command", run="true"),
            verify=VerifySpec(command=CHECK),
        )
        return verify(
            here,
            subject,
            BASELINE,
            conditions=lambda: on_host(here),
            announce=(said if said is not None else []).append,
            patience=Patience(pause=0, wait=lambda _: meanwhile()),
        )

    return run


def test_conditions_of_now(board, here):
    board.is_hot()
    facts = on_host(here)
    assert facts.thermal.temperature_c == 82
    assert facts.thermal.throttled
    assert facts.load == Load(0.3, cores=4)
    board.is_fit()
    assert on_host(here).thermal == Thermal(
        60.0, throttled=False, detail="under-voltage has occurred, throttling has occurred"
    )


def test_slow_on_a_fit_host_fails_for_sure(board, verified):
    result = verified(4.0, 4.2, 4.1)
    assert result.verdict == "fail"
    assert result.reason == (
        "too slow: 4.1 evals/s (3 measurements, 95 % sure below 80 %), "
        "38 % of the rpi4 baseline (10.8 ± 0.4)"
    )


def test_slow_on_a_hot_host_is_inconclusive(board, verified):
    board.is_hot()
    result = verified(4.1)
    assert result.verdict == "inconclusive"
    assert result.reason == (
        "4.1 evals/s, 38 % of the rpi4 baseline (10.8 ± 0.4), but the host is throttled at 82 °C"
    )
    assert result.metrics == {"evals_per_s": 4.1, "measurements": 4}


def test_slow_on_a_busy_host_is_inconclusive(board, verified):
    board.is_busy()
    result = verified(4.1)
    assert result.verdict == "inconclusive"
    assert result.reason.endswith(", but the host is under a load of 7.9 on 4 cores")


def test_it_passes_when_the_host_has_cooled_down(board, verified):
    board.is_hot()
    said = []
    result = verified(4.1, 10.6, meanwhile=board.is_fit, said=said)
    assert (result.verdict, result.metrics["measurements"]) == ("pass", 2)
    assert len(said) == 1


def test_it_fails_when_it_is_slow_on_the_cool_host_too(board, verified):
    board.is_hot()
    result = verified(4.1, meanwhile=board.is_fit)
    assert (result.verdict, result.metrics["measurements"]) == ("fail", 4)


def test_a_host_that_does_not_tell(board, here, monkeypatch):
    monkeypatch.setattr("orchestrator.fleet.probe.script", lambda: "exit 1")
    with pytest.raises(CommandError, match="did not answer with the probe's output"):
        on_host(here)
