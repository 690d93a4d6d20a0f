"""Whose turn it is, by files alone: `turn` and `front` of a release's containers, in plain folders.

What they keep in /tmp is kept beside the folder instead, and a release is reached by a socket of
its name, for a network with names needs containers.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import orchestrator.compose
from tests.needs import needs_program
from tests.sshd import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

OLD, NEW = "m-v1-aaaaaaaaaaaa", "m-v2-bbbbbbbbbbbb"
SCRIPTS = Path(orchestrator.compose.__file__).parent
SHELLS = {
    "dash": ("dash", "apt-get install dash"),
    "busybox": ("busybox", "apt-get install busybox-static"),
}
# Says that it runs, and says so when it is told to end.
ENGINE = ["sh", "-c", "trap 'echo ended; exit 0' TERM; echo runs $$; while :; do sleep 0.05; done"]


@dataclass
class Place:
    """The orchestrator's root with two releases, and what is started in it."""

    folder: Path
    shell: list[str]
    started: list[subprocess.Popen[str]]

    @property
    def root(self) -> Path:
        return self.folder / "root"

    @property
    def said(self) -> str:
        """All that was printed so far."""
        return (self.folder / "said").read_text()

    def script(self, name: str, **changes: str) -> str:
        text = (SCRIPTS / name).read_text()
        for old, new in {"/tmp/": f"{self.folder}/tmp/", **changes}.items():
            assert old in text
            text = text.replace(old, new)
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def start(self, words: list[str], where: Path) -> subprocess.Popen[str]:
        with (self.folder / "said").open("a") as said:
            process = subprocess.Popen(
                [*self.shell, *words],
                cwd=where,
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                text=True,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def turn(self, *command: str, release: str = NEW, **changes: str) -> subprocess.Popen[str]:
        """`turn` in the folder of a release."""
        words = [self.script("turn.sh", **changes), *(command or ENGINE)]
        return self.start(words, self.root / "releases" / release)

    def healthy(self, release: str = NEW) -> tuple[int, str]:
        """What `turn --healthy` says."""
        asked = subprocess.run(
            [*self.shell, self.script("turn.sh"), "--healthy"],
            cwd=self.root / "releases" / release,
            capture_output=True,
            text=True,
            check=False,
        )
        return asked.returncode, asked.stdout.strip()

    def point(self, release: str) -> None:
        """Have `current` point there, by one rename as the helper does."""
        new = self.root / ".current"
        new.symlink_to(f"releases/{release}")
        new.rename(self.root / "current")

    def arm(self, release: str = NEW, back: str = OLD) -> Path:
        """The folder of an unconfirmed switch, which comes by one rename."""
        made, armed = self.root / "lock" / ".arm-1", self.root / "lock" / "armed-1"
        made.mkdir(parents=True)
        (made / "switch").write_text(f"{release} {back} 60\n")
        made.rename(armed)
        return armed

    def wait_for(self, words: str) -> None:
        wait_until(lambda: words in self.said, f"'{words}' is said", seconds=20)


@pytest.fixture(params=SHELLS)
def place(request, tmp_path) -> Iterator[Place]:
    program = str(needs_program(*SHELLS[request.param]))
    shell = [program, "sh"] if request.param == "busybox" else [program]
    made = Place(tmp_path, shell, [])
    for release in (OLD, NEW):
        (made.root / "releases" / release).mkdir(parents=True)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "said").touch()
    yield made
    for process in made.started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


def test_the_active_release_runs_with_its_stdin_and_its_exit_status(place):
    place.point(NEW)
    process = place.turn("sh", "-c", "read -r word; echo heard $word; exit 7")
    process.stdin.write("hello\n")
    process.stdin.flush()
    assert process.wait(20) == 7
    assert place.said == "heard hello\n"


def test_a_release_that_is_not_active_waits(place):
    place.point(OLD)
    process = place.turn()
    place.wait_for(f"{NEW} waits: releases/{OLD} is active")
    assert place.healthy() == (1, f"it is not the turn of {NEW}")
    assert "runs" not in place.said
    place.point(NEW)
    place.wait_for("runs")
    assert process.poll() is None
    assert place.healthy() == (0, "")


def test_without_current_it_waits(place):
    place.turn()
    place.wait_for(f"{NEW} waits: nothing is active")


def test_an_engine_that_lost_its_turn_ends(place):
    place.point(NEW)
    process = place.turn()
    place.wait_for("runs")
    place.point(OLD)
    assert process.wait(20) == 0
    assert "ends: it is not its turn any more" in place.said
    assert place.said.endswith("ended\n")
    assert not (place.folder / "tmp" / "engine").exists()


@pytest.mark.parametrize("end", ["confirmed", "alone"])
def test_the_old_one_runs_until_the_switch_is_confirmed_or_needs_the_machine(place, end):
    place.point(OLD)
    process = place.turn(release=OLD)
    place.wait_for("runs")
    armed = place.arm()
    place.point(NEW)
    # The new one's look at the same files comes after two of the old one's.
    other = place.turn("sh", "-c", "sleep 3; echo two looks later; sleep 100")
    place.wait_for("two looks later")
    assert process.poll() is None
    assert place.healthy(OLD)[0] == 0
    if end == "confirmed":
        armed.rename(armed.with_name("kept-1"))
    else:
        (armed / "alone").touch()
    assert process.wait(20) == 0
    assert other.poll() is None


def test_going_back_never_ends_the_engine_that_is_gone_back_to(place):
    place.point(OLD)
    process = place.turn(release=OLD)
    place.wait_for("runs")
    for _ in range(20):
        armed = place.arm()
        place.point(NEW)
        fired = armed.rename(armed.with_name("fired-1"))
        place.point(OLD)
        undone = fired.rename(fired.with_name(".undone"))
        shutil.rmtree(undone)
    place.turn("sh", "-c", "sleep 3; echo two looks later; sleep 100", release=OLD)
    place.wait_for("two looks later")
    assert process.poll() is None
    assert "ends" not in place.said


def test_going_back_starts_the_one_that_ended_for_the_other(place):
    """Also where the way back itself was cut off behind its first rename."""
    armed = place.arm()
    (armed / "alone").touch()
    place.point(NEW)
    place.turn(release=OLD)
    place.wait_for("waits")
    place.point(OLD)
    place.wait_for("runs")


def test_a_damaged_switch_gives_nobody_a_turn(place):
    armed = place.arm()
    (armed / "switch").write_text("")
    place.point(NEW)
    assert place.healthy(OLD) == (1, f"it is not the turn of {OLD}")
    (armed / "switch").unlink()
    assert place.healthy(OLD) == (1, f"it is not the turn of {OLD}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_engine(place, number):
    place.point(NEW)
    process = place.turn()
    place.wait_for("runs")
    process.send_signal(number)
    assert process.wait(20) == 0
    assert place.said.endswith("ended\n")


def test_a_signal_ends_who_waits(place):
    place.point(OLD)
    process = place.turn()
    place.wait_for("waits")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


def test_an_engine_that_does_not_end_is_killed(place):
    place.point(NEW)
    deaf = "trap '' TERM; echo runs $$; while :; do sleep 0.05; done"
    process = place.turn("sh", "-c", deaf, **{"-lt 8": "-lt 1"})
    place.wait_for("runs")
    engine = int(place.said.split()[-1])
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    wait_until(lambda: not Path(f"/proc/{engine}").exists(), "the engine is killed", seconds=5)


def test_an_engine_that_ended_is_not_healthy(place):
    place.point(NEW)
    (place.folder / "tmp" / "engine").touch()
    process = place.turn("sh", "-c", "exit 3")
    assert process.wait(20) == 3
    assert place.healthy() == (1, "the engine does not run")


# -- the front


@pytest.fixture
def front(place) -> Iterator[Front]:
    with Front(place) as made:
        yield made


class Front:
    """A front, and both releases behind it, which say their names and then what they hear."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.socat = str(needs_program("socat", "apt-get install socat"))
        self.port = free_port("127.0.0.1")

    def __enter__(self) -> Self:
        place = self.place
        for release in (OLD, NEW):
            name = release.rpartition("-")[2]
            place.started.append(
                subprocess.Popen(
                    [
                        self.socat,
                        f"UNIX-LISTEN:{place.folder / name},fork",
                        f"SYSTEM:echo {release}; cat",
                    ],
                    stdin=subprocess.PIPE,
                    text=True,
                    start_new_session=True,
                )
            )
            wait_until((place.folder / name).exists, f"{name} listens")
        script = place.script(
            "front.sh",
            **{
                '"TCP:r-${release##*-}:$1"': f'"UNIX-CONNECT:{place.folder}/${{release##*-}}"',
                "TCP-LISTEN:$port,": "TCP-LISTEN:$port,bind=127.0.0.1,",
            },
        )
        self.process = place.start([script, str(self.port)], place.root)
        wait_until(self._listens, "the front listens")
        return self

    def __exit__(self, *_exc: object) -> None:
        pass

    def _listens(self) -> bool:
        try:
            self.connect().close()
        except ConnectionRefusedError:
            return False
        return True

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def ask(self) -> str:
        """Who answers; empty when nobody does."""
        with self.connect() as connection:
            connection.shutdown(socket.SHUT_WR)
            with connection.makefile() as answer:
                return answer.read().strip()


def test_connections_go_where_the_files_say(place, front):
    assert front.ask() == "", "nothing is active"
    place.point(OLD)
    assert front.ask() == OLD
    armed = place.arm()
    assert front.ask() == OLD
    place.point(NEW)
    assert front.ask() == OLD, "not verified"
    (armed / "alone").touch()
    assert front.ask() == OLD, "not verified"
    (armed / "serving").touch()
    assert front.ask() == NEW
    fired = armed.rename(armed.with_name("fired-1"))
    assert front.ask() == OLD, "being undone"
    place.point(OLD)
    shutil.rmtree(fired)
    assert front.ask() == OLD
    armed = place.arm()
    place.point(NEW)
    (armed / "serving").touch()
    armed.rename(armed.with_name("kept-1"))
    assert front.ask() == NEW, "confirmed"


def test_a_first_release_answers_only_once_it_was_verified(place, front):
    armed = place.arm(back="-")
    place.point(NEW)
    assert front.ask() == ""
    (armed / "serving").touch()
    assert front.ask() == NEW


def test_a_connection_stays_with_whom_it_began(place, front):
    place.point(OLD)
    with front.connect() as connection, connection.makefile() as answer:
        assert answer.readline() == f"{OLD}\n"
        place.point(NEW)
        assert front.ask() == NEW
        connection.sendall(b"still there\n")
        connection.shutdown(socket.SHUT_WR)
        assert answer.readline() == "still there\n"
        assert answer.readline() == ""


def test_a_front_ends_when_it_is_told(front):
    front.process.send_signal(signal.SIGTERM)
    assert front.process.wait(20) == 0
    wait_until(lambda: not front._listens(), "the port is free")


def test_a_front_whose_listener_died_ends(place, front):
    children = Path(f"/proc/{front.process.pid}/task/{front.process.pid}/children").read_text()
    for child in children.split():
        if "socat" in Path(f"/proc/{child}/cmdline").read_text():
            os.kill(int(child), signal.SIGKILL)
    assert front.process.wait(20) == 1
