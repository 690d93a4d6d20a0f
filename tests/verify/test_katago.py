"""The KataGo smoke benchmark against a real engine, and its parts by table."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace

import pytest

from orchestrator.engines.katago import golden
from orchestrator.engines.katago.answers import Answer, Position, UnusableAnswerError
from orchestrator.engines.katago.golden import Golden
from orchestrator.errors import CommandError, UnreachableError
from orchestrator.fleet.host import Host
from orchestrator.fleet.profile import EngineSpec, VerifySpec
from orchestrator.targets import connect
from orchestrator.targets.base import Completed
from orchestrator.targets.connection import ConnectionSpec, connection_spec
from orchestrator.targets.local import LocalTarget
from orchestrator.verify import katago as benchmark
from orchestrator.verify.base import Subject
from tests.katago_engine import TUNER
from tests.needs import needs_program

CONFIGS = {
    "gtp": "logAllGTPCommunication = false\nlogSearchInfo = false\nnumSearchThreads = 2\n"
    "rules = tromp-taylor\nmaxVisits = 3\n",
    "analysis": "numAnalysisThreads = 2\nnumSearchThreadsPerAnalysisThread = 1\n"
    "nnMaxBatchSize = 4\nlogToStderr = false\n",
}
COMMANDS = tuple(CONFIGS)
TUNED = f'openclTunerFile = "{TUNER}"\n'


@pytest.fixture(scope="module")
def answers(katago, tiny):
    return golden.record(katago, tiny, settings={"openclTunerFile": str(TUNER)})


@pytest.fixture
def target():
    return LocalTarget(ConnectionSpec("here", kind="local"))


@pytest.fixture
def release(tmp_path, katago):
    """Makes a release in a folder with a blank in its name."""

    def make(net, command, *, answers=None, extra="", **verify):
        folder = tmp_path / "a release"
        folder.mkdir()
        shutil.copy(net, folder / "model.bin.gz")
        (folder / "katago.cfg").write_text(CONFIGS[command] + TUNED + extra)
        if answers is not None:
            (folder / "golden.json").write_text(json.dumps(answers))
        return Subject(
            folder=str(folder),
            model="model.bin.gz",
            config="katago.cfg",
            golden="golden.json" if answers is not None else "",
            format="katago",
            engine=EngineSpec("katago", command, path=str(katago)),
            verify=VerifySpec(**{"visits": 10, "timeout": 100.0, **verify}),
        )

    return make


@pytest.mark.parametrize("command", COMMANDS)
def test_the_right_net_answers_right(target, release, tiny, answers, command):
    measured = benchmark.smoke(target, release(tiny, command, answers=answers))
    assert not measured.failure, measured.detail
    assert measured.metrics["golden_max_error"] < 1e-4
    assert measured.metrics["golden_lead_error"] < 0.01
    assert measured.metrics["positions"] == 12
    assert measured.metrics["load_s"] > 0
    assert measured.metrics["visits_per_s"] > 0
    assert measured.metrics["evals_per_s"] > 0
    assert measured.metrics["peak_rss_mb"] > 20


@pytest.mark.parametrize("command", COMMANDS)
def test_a_damaged_net_loads_and_answers_wrong(target, release, tiny_scrambled, answers, command):
    measured = benchmark.smoke(target, release(tiny_scrambled, command, answers=answers))
    assert not measured.failure, measured.detail
    assert measured.metrics["golden_max_error"] > 0.1


@pytest.mark.parametrize("command", COMMANDS)
def test_without_golden_answers_the_net_must_still_answer(target, release, tiny, command):
    measured = benchmark.smoke(target, release(tiny, command))
    assert not measured.failure, measured.detail
    assert measured.metrics["positions"] == 0
    assert "golden_max_error" not in measured.metrics
    assert measured.metrics["visits_per_s"] > 0


@pytest.mark.parametrize("command", COMMANDS)
def test_settings_that_change_answers_do_not_matter(target, release, tiny, answers, command):
    extra = "nnPolicyTemperature = 2\nrootPolicyOptimism = 1\nplayoutDoublingAdvantage = 2\n"
    extra += "rootNumSymmetriesToSample = 8\nignorePreRootHistory = true\n"
    measured = benchmark.smoke(target, release(tiny, command, answers=answers, extra=extra))
    assert measured.metrics["golden_max_error"] < 1e-4


@pytest.mark.parametrize("command", COMMANDS)
def test_a_small_board_is_asked_what_fits_it(target, release, tiny, answers, command):
    extra = "maxBoardXSizeForNNBuffer = 9\nmaxBoardYSizeForNNBuffer = 9\n"
    measured = benchmark.smoke(target, release(tiny, command, answers=answers, extra=extra))
    assert not measured.failure, measured.detail
    assert measured.metrics["positions"] == 4
    assert measured.metrics["golden_max_error"] < 1e-4


def test_on_a_host_whose_login_shell_is_csh(sshd_fleet, release, tiny):
    needs_program("tcsh", "apt-get install tcsh")
    (host,) = sshd_fleet(1, force_command='exec tcsh -f -c "$SSH_ORIGINAL_COMMAND"')
    with connect(connection_spec(Host(host.name, (), host.inventory_vars()))) as ssh:
        measured = benchmark.smoke(ssh, release(tiny, "gtp"))
    assert not measured.failure, measured.detail
    assert measured.metrics["peak_rss_mb"] > 20


FAILURES = [
    ("maxVisit =\n", "Could not parse key value pair"),
    ("rules = nonsense\nlogSearchInfo = true\n", "multiple times"),
    ("nnCacheSizePowerOfTwo = 99\n", "must be in the range -1 to 48"),
]


@pytest.mark.parametrize(("extra", "part"), FAILURES)
def test_a_config_that_katago_refuses(target, release, tiny, extra, part):
    measured = benchmark.smoke(target, release(tiny, "gtp", extra=extra))
    assert part in measured.failure
    assert "\n" not in measured.failure
    assert "what():" in measured.detail
    assert not measured.metrics


def test_a_net_that_is_cut_short(target, release, tiny, tmp_path):
    cut = tmp_path / "cut.bin.gz"
    cut.write_bytes(tiny.read_bytes()[:3000])
    measured = benchmark.smoke(target, release(cut, "gtp"))
    assert measured.failure.startswith("katago: ")
    assert "model.bin.gz" in measured.failure or "gzip" in measured.failure.lower()


def test_no_engine(target, release, tiny):
    subject = release(tiny, "gtp")
    gone = replace(subject, engine=replace(subject.engine, path="/no/katago"))
    assert "/no/katago" in benchmark.smoke(target, gone).failure


def test_no_release(target, release, tiny):
    gone = replace(release(tiny, "gtp"), folder="/no/such/release")
    assert "cannot read the release" in benchmark.smoke(target, gone).failure


def test_an_engine_that_does_not_end_in_time(target, release, tiny, tmp_path):
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    subject = release(tiny, "gtp", timeout=1.0)
    measured = benchmark.smoke(
        target, replace(subject, engine=replace(subject.engine, path=str(slow)))
    )
    assert measured.failure == "katago: no answer within 1 s"


def test_an_engine_that_says_nothing(target, release, tiny):
    subject = release(tiny, "gtp")
    measured = benchmark.smoke(
        target, replace(subject, engine=replace(subject.engine, path="true"))
    )
    assert measured.failure == "katago: no response to `name`"


def test_golden_answers_that_cannot_be_read(target, release, tiny):
    measured = benchmark.smoke(target, release(tiny, "gtp", answers={"schema": 1}))
    assert "golden answers" in measured.failure


@pytest.mark.parametrize("command", COMMANDS)
def test_a_golden_position_that_is_illegal(target, release, tiny, answers, command):
    first = answers["positions"][0] | {"moves": [["B", "E5"], ["W", "E5"]]}
    measured = benchmark.smoke(
        target, release(tiny, command, answers=answers | {"positions": [first]})
    )
    assert "illegal move" in measured.failure.lower()


CAUSES = [
    (134, "terminate\n  what():  no 'rules'\npeak_rss_kb=5\n", "no 'rules'"),
    (1, "PARSE ERROR: unknown\n\npeak_rss_kb=1\n", "PARSE ERROR: unknown"),
    (127, "sh: 3: /k: not found\npeak_rss_kb=\n", "exit 127: sh: 3: /k: not found"),
    (137, "peak_rss_kb=900000\n", "killed by SIGKILL (out of memory?)"),
    (132, "", "killed by SIGILL (built for another CPU?)"),
    (-11, "", "killed by SIGSEGV"),
    (124, "what():  never mind", "no answer within 9 s"),
    (3, "", "exit 3"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "stderr", "said"), CAUSES)
def test_the_cause_in_one_line(status, stderr, said):
    assert benchmark.cause(Completed(status, "", stderr), 9.0) == said


SUBJECT = Subject(
    folder="/r",
    model="m",
    config="c",
    golden="g",
    format="katago",
    engine=EngineSpec("katago", "gtp", path="/k"),
    verify=VerifySpec(visits=50, timeout=100.0),
)


@pytest.mark.parametrize(("threads", "searches"), [("1", 2), ("4", 4), ("64", 16), ("x", 2)])
def test_as_many_searches_as_the_engine_runs_at_once(threads, searches):
    task = benchmark.plan(f"numAnalysisThreads = {threads}\n", None, SUBJECT)
    assert len(task.searches) == searches
    assert len({(p.board_x_size, p.moves, p.rules) for p in task.searches}) == searches
    assert task.visits == 50


def test_a_golden_file_that_fits_no_board_fails():
    position = Position("p", 19, 19, "chinese", 7.5, ())
    only = Golden(0.001, ((position, Answer(0.5, 0.0, {})),))
    with pytest.raises(benchmark.SmokeFailedError, match="9x9"):
        benchmark.plan("maxBoardSizeForNNBuffer = 9\n", only, SUBJECT)


class Broken:
    """A target whose commands raise."""

    def __init__(self, error):
        self.error = error

    def run(self, *args, **kwargs):
        raise self.error


def test_a_broken_connection_is_not_the_releases_fault():
    with pytest.raises(UnreachableError):
        benchmark.smoke(Broken(UnreachableError("gone")), SUBJECT)


def test_a_target_that_gives_up_is_a_failure():
    measured = benchmark.smoke(Broken(CommandError("no end after 100 s")), SUBJECT)
    assert "no end after 100 s" in measured.failure


def test_values_in_the_command_are_quoted():
    subject = replace(
        SUBJECT, folder="/a b", model="m'x", engine=replace(SUBJECT.engine, path="/k k")
    )
    text = benchmark.command(subject, benchmark.plan("", None, subject))
    assert "cd '/a b'" in text
    assert "'/k k' gtp -model 'm'\"'\"'x'" in text
    assert "\n" not in text


ENDLESS = [
    ("gtp", "=" + "1" * 5000, "an answer cannot be read"),
    ("gtp", "=1 KataGo", "no response to `boardsize"),
    ("analysis", '{"id": "ready"}', "no response to query golden-0"),
    ("analysis", "[" * 200_000, "no response to query ready"),
    ("analysis", '{"id": ' * 200_000, "no response to query ready"),
]


@pytest.mark.parametrize(("command", "line", "said"), ENDLESS)
def test_what_cannot_be_read_is_no_answer(command, line, said):
    task = benchmark.plan("", None, SUBJECT)
    with pytest.raises(UnusableAnswerError, match=said):
        benchmark.read(command, [(0.1, line), (0.2, "")], task)


@pytest.mark.parametrize("field", ["rawWinrate", "rawLead"])
@pytest.mark.parametrize("value", [math.nan, math.inf, pytest.param(10**400, id="endless")])
def test_a_net_that_answers_no_number(field, value):
    task = benchmark.plan("", None, SUBJECT)
    names = ["ready", *(p.id for p in (*task.golden, *task.searches))]
    lines = analysis_lines(task, dict.fromkeys(names, 0.5))
    documents = [(time, json.loads(line)) for time, line in lines]
    for _, document in documents:
        document["rootInfo"][field] = value
    broken = [(time, json.dumps(document)) for time, document in documents]
    with pytest.raises(UnusableAnswerError):
        benchmark.read("analysis", broken, task)


def analysis_lines(task, times):
    """What an analysis engine prints, in the order of `times` by query id."""
    points = {9: 81, 13: 169, 19: 361}
    for name, time in times.items():
        document = {"id": name, "rootInfo": {"rawWinrate": 0.5, "rawLead": 0.0, "visits": 50}}
        for position in task.golden:
            if position.id == name:
                document["rootInfo"]["visits"] = 1
                document["policy"] = [0.0] * points[position.size] + [1.0]
        yield time, json.dumps(document)


@pytest.mark.parametrize(
    ("golden_at", "visits", "seconds", "untimed"), [(4.0, 100, 6.0, 1), (9.0, 101, 8.0, 0)]
)
def test_speed_of_searches_that_ran_after_and_beside_the_golden_positions(
    golden_at, visits, seconds, untimed
):
    task = benchmark.plan("", None, SUBJECT)
    times = {"ready": 2.0, "golden-0": golden_at, "search-1": 8.0, "search-0": 10.0}
    transcript = benchmark.read("analysis", list(analysis_lines(task, times)), task)
    assert (transcript.ready, transcript.visits) == (2.0, visits)
    assert (transcript.seconds, transcript.untimed) == (seconds, untimed)
    measured = benchmark.metrics(transcript, None, "processed 30 rows\nprocessed 31 rows\n", task)
    assert measured["evals_per_s"] == (61 - untimed) / seconds


def test_a_query_without_an_answer_is_named():
    task = benchmark.plan("", None, SUBJECT)
    lines = list(analysis_lines(task, {"ready": 2.0, "golden-0": 3.0, "search-0": 4.0}))
    with pytest.raises(benchmark.UnusableAnswerError, match="search-1"):
        benchmark.read("analysis", lines, task)
