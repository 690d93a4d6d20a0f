"""The host has no room, cannot be written, or loses its sense of time."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.rollout.faults.fault_lab import LARGE, deploying, mount, stopped, touch
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.rollout.faults.fault_lab import Lab

pytestmark = pytest.mark.slow

KILLED = -signal.SIGKILL
PAGE = 4096
YEAR = 365 * 86400.0


def fill(root: Path) -> Callable[[], None]:
    """Fill the file system to the last byte; what is returned frees it."""
    audit = root / "audit.log"
    with audit.open("a") as log:
        log.write("\n" * (-audit.stat().st_size % PAGE))  # the page that it ends in too
    ballast = root / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (256 * PAGE, PAGE):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)):
                    pass
    return ballast.unlink


def use_up_inodes(root: Path) -> Callable[[], None]:
    """Use up the file system's inodes; what is returned frees them."""
    made: list[Path] = []
    with contextlib.suppress(OSError):
        while True:
            (root / f"ballast-{len(made)}").touch()
            made.append(root / f"ballast-{len(made)}")

    def free() -> None:
        for path in made:
            path.unlink()

    return free


def read_only(lab: Lab, *, now: bool) -> None:
    """Have the root be read-only `now`, or not, as soon as nothing is being written there."""
    words = ("-o", f"remount,{'ro' if now else 'rw'}", str(lab.root))
    wait_until(lambda: mount(*words).returncode == 0, "the file system is remounted", seconds=5)


@pytest.mark.parametrize(
    ("step", "status"),
    [
        ("lock", "failed"),
        ("stage", "failed"),
        ("activate", "failed"),
        ("verify", "rolled_back"),
        ("commit", "rolled_back"),
    ],
)
def test_disk_full(step, status, small_disk, aftermath):
    lab = small_disk
    controller = stopped(lab, step, *deploying("v2"))
    free = fill(lab.root)
    controller.go()
    answer = controller.finish()
    free()
    aftermath(lab, answer, "disk full", step, code=3, status=status, ends="v1")


@pytest.mark.parametrize("step", ["verify", "revert"])
def test_disk_full_while_a_bad_version_is_undone(step, small_disk, aftermath):
    lab = small_disk
    controller = stopped(lab, step, *deploying("bad"))
    free = fill(lab.root)
    controller.go()
    answer = controller.finish()
    assert lab.version == "v1", "the way back needs no room"
    free()
    aftermath(lab, answer, "disk full, bad version", step, code=3, ends="v1")


def test_disk_full_when_the_controller_is_killed(small_disk, aftermath):
    lab = small_disk
    controller = stopped(lab, "verify", *deploying("v2"))
    free = fill(lab.root)
    answer = controller.kill()
    lab.wait_for_the_host()
    assert lab.version == "v1", "the way back needs no room"
    free()
    fault = "disk full, controller killed"
    aftermath(lab, answer, fault, "verify", code=KILLED, ends="v1", resume=True)


@pytest.mark.parametrize("step", ["stage", "activate", "commit"])
def test_inodes_used_up(step, small_disk, aftermath):
    lab = small_disk
    controller = stopped(lab, step, *deploying("v2"))
    free = use_up_inodes(lab.root)
    controller.go()
    answer = controller.finish()
    free()
    aftermath(lab, answer, "inodes used up", step, code=3, ends="v1")


def test_disk_too_small(small_disk, aftermath):
    lab = small_disk
    ballast = lab.root / "ballast"
    room = os.statvfs(lab.root)
    ballast.write_bytes(bytes(room.f_bavail * room.f_frsize - LARGE // 2))
    answer = lab.deploy("large")
    ballast.unlink()
    assert answer.hosts[lab.host.name]["bytes_sent"] == 0
    aftermath(lab, answer, "disk too small", "whole run", code=3, status="failed", ends="v1")


@pytest.mark.parametrize(
    ("step", "left"), [("connect", False), ("lock", False), ("stage", True), ("activate", True)]
)
def test_read_only_root(step, left, small_disk, aftermath):
    """A lock that cannot be removed is left to the next command."""
    lab = small_disk
    controller = stopped(lab, step, *deploying("v2"))
    read_only(lab, now=True)
    controller.go()
    answer = controller.finish()
    read_only(lab, now=False)
    aftermath(lab, answer, "root read-only", step, code=3, status="failed", ends="v1", left=left)


def test_read_only_root_until_after_the_dead_man_time(small_disk, aftermath):
    """What the host could not undo in time it undoes as soon as it can."""
    lab = small_disk
    controller = stopped(lab, "verify", *deploying("v2"))
    read_only(lab, now=True)
    answer = controller.kill()
    wait_until(lambda: lab.silence() > 4, "the dead-man time is over")
    assert lab.version == "v2", "nothing can be changed"
    read_only(lab, now=False)
    fault = "root read-only, controller killed"
    aftermath(lab, answer, fault, "verify", code=KILLED, ends="v1", resume=True)


def test_timer_killed(make_lab, aftermath):
    lab = make_lab()
    controller = stopped(lab, "verify", *deploying("v2"))
    timers = [pid for pid, argv in lab.processes().items() if "guard.sh" in argv]
    assert timers
    for pid in timers:
        os.kill(pid, signal.SIGKILL)
    controller.go()
    answer = controller.finish()
    aftermath(lab, answer, "timer on the host killed", "verify", code=0, ends="v2")


# -- clocks


def with_its_own_date(make_lab, tmp_path) -> Lab:
    """A host on which `wrong_date` can be used."""
    own = f"{tmp_path}/fleet-1/host-1/bin"
    return make_lab(environment={"PATH": f"{own}:{os.environ['PATH']}"})


def wrong_date(lab: Lab, shift: str) -> None:
    """Have `date` on the host tell another time from now on."""
    folder = lab.host.folder / "bin"
    folder.mkdir()
    program = folder / "date"
    program.write_text(f'#!/bin/sh\nexec /usr/bin/date -d "{shift}" "$@"\n')
    program.chmod(0o755)


@pytest.mark.parametrize(("step", "shift"), [("lock", "10 years"), ("verify", "10 years ago")])
def test_clock_of_the_host_jumps(step, shift, make_lab, aftermath, tmp_path):
    lab = with_its_own_date(make_lab, tmp_path)
    controller = stopped(lab, step, *deploying("v2"))
    wrong_date(lab, shift)
    controller.go()
    fault = f"host's clock jumps, {shift}"
    aftermath(lab, controller.finish(), fault, step, code=0, ends="v2")


def test_clock_of_the_host_jumps_and_the_controller_is_killed(make_lab, aftermath, tmp_path):
    lab = with_its_own_date(make_lab, tmp_path)
    controller = stopped(lab, "verify", *deploying("v2"))
    wrong_date(lab, "10 years ago")
    touch(lab.root / "lock", 10 * YEAR)
    answer = controller.kill()
    fault = "host's clock jumps, controller killed"
    aftermath(lab, answer, fault, "verify", code=KILLED, ends="v1", resume=True)


@pytest.mark.parametrize(("years", "words"), [(-10, "10 years old"), (10, "10 years ahead")])
def test_files_of_the_lock_from_another_time(years, words, make_lab, aftermath):
    """However old its files look, a lock whose owner is alive is nobody else's."""
    lab = make_lab()
    controller = stopped(lab, "verify", *deploying("v2"))
    touch(lab.root / "lock", years * YEAR)
    other = lab.run(*deploying("v3"), project=lab.other_project())
    assert other.code == 6, other.document
    controller.go()
    fault = f"files of the lock {words}"
    aftermath(lab, controller.finish(), fault, "verify", code=0, ends="v2")


@pytest.mark.parametrize(
    ("step", "years", "words"), [("lock", 1, "a year ahead"), ("verify", -1, "a year back")]
)
def test_clock_of_the_controller_jumps(step, years, words, make_lab, aftermath):
    lab = make_lab()
    controller = stopped(lab, step, *deploying("v2"))
    controller.go(clock=years * YEAR)
    fault = f"controller's clock jumps {words}"
    aftermath(lab, controller.finish(), fault, step, code=0, ends="v2")
