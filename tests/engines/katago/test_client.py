"""The client of the analysis engine, with a real KataGo."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError, ThreadPoolExecutor, as_completed
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.engines import Analysis, KataGo, Query
from orchestrator.engines.katago import analysis, cfg, results
from orchestrator.engines.katago.cause import cause
from orchestrator.engines.katago.process import Lines
from orchestrator.errors import (
    EngineEndedError,
    EngineError,
    EngineStartError,
    EngineTimeoutError,
    OrchestrateError,
    QueryError,
)
from tests.katago_engine import NO_NET, TUNER, VERSION
from tests.waiting import wait_until

ENDLESS = 10**9
SETTINGS = {"numAnalysisThreads": 2, "numSearchThreadsPerAnalysisThread": 1, "nnMaxBatchSize": 2}


def small(moves=(), **more):
    return Query(moves=moves, rules="chinese", komi=7, board_x_size=9, board_y_size=9, **more)


@pytest.fixture(scope="module")
def shared(katago, tiny):
    """One engine with a net, for every test that leaves it running."""
    settings = {**SETTINGS, "openclTunerFile": TUNER}
    with KataGo(tiny, settings, engine=katago) as engine:
        yield engine


@pytest.fixture
def start(katago):
    """Starts engines that answer at random, and ends them."""
    started = []

    def run(model=NO_NET, config=SETTINGS, *, engine=katago, **more):
        started.append(KataGo(model, config, engine=engine, **more))
        return started[-1]

    yield run
    for engine in started:
        engine.close()


@pytest.fixture
def wrapped(katago, tmp_path):
    """A script around the engine: `text` with KATAGO for its path."""

    def make(text):
        script = tmp_path / "wrapper"
        script.write_text("#!/bin/sh\n" + text.replace("KATAGO", f"'{katago}'"))
        script.chmod(0o755)
        return script

    return make


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "katago"]


def alive(pid):
    """Whether the process runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def kill(engine):
    """End the engine by SIGKILL; all that it said was heard when this returns."""
    pid = engine.pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: engine.pid != pid, "the end of the engine is noticed")


def test_an_analysis_is_typed(shared):
    found = shared.analyze(small([("B", "E5")], visits=20, policy=True, ownership=True))
    assert isinstance(found, Analysis)
    assert found.complete
    assert (found.turn, found.root.player, found.root.visits) == (1, "W", 20)
    assert 0 < found.root.winrate < 1
    assert found.root.raw
    assert 0 < found.root.raw.winrate < 1
    assert found.best is found.moves[0]
    assert [move.order for move in found.moves] == sorted(move.order for move in found.moves)
    assert found.best.pv[0] == found.best.move
    assert sum(found.policy.values()) == pytest.approx(1, abs=1e-4)
    assert "E5" not in found.policy
    assert "pass" in found.policy
    assert len(found.ownership) == 81
    assert found.warnings == ()
    assert found.document["rootInfo"]["visits"] == 20


def test_what_was_not_asked_for_is_none(shared):
    found = shared.analyze(small(visits=2))
    assert found.policy is None
    assert found.ownership is None


def test_winrates_are_blacks_unless_told_otherwise(shared):
    moves = [("B", "E5")]
    black = shared.analyze(small(moves, visits=1))
    whites = {"reportAnalysisWinratesAs": "WHITE"}
    white = shared.analyze(small(moves, visits=1, settings=whites))
    assert black.root.raw.winrate == pytest.approx(1 - white.root.raw.winrate, abs=1e-4)
    assert black.root.lead == pytest.approx(-white.root.lead, abs=1e-4)
    mover = shared.analyze(small(moves, visits=1, settings=dict.fromkeys(whites, "SIDETOMOVE")))
    assert mover.root.raw.winrate == pytest.approx(white.root.raw.winrate, abs=1e-4)


def test_many_threads_each_get_their_own_answer(shared):
    """The moves tell the answers apart; a high priority overtakes, so that they come unordered."""
    points = [f"{column}{row}" for column in "ABCDEFGHJ" for row in range(1, 10)]
    came = []

    def ask(number):
        moves = [("B", points[number % 81]), ("W", points[(number + 7) % 81])][: number % 3]
        found = shared.analyze(small(moves, visits=1 + number % 5, priority=number, policy=True))
        came.append(number)
        played = {point for _, point in moves}
        return found.turn == len(moves) and not played & found.policy.keys()

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(ask, range(200)))
    assert sorted(came) == list(range(200))
    assert came != sorted(came)


def test_thousands_of_queries(start):
    engine = start(most_open=100)
    searches = [engine.submit(small(visits=1)) for _ in range(2000)]
    assert sum(search.result(60).root.visits for search in as_completed(searches)) >= 2000


def test_more_than_may_be_open_wait(start):
    engine = start(most_open=1)
    first = engine.submit(small(visits=ENDLESS))
    with pytest.raises(EngineTimeoutError, match="1 queries are open"):
        engine.submit(small(visits=1), timeout=0.05)
    first.cancel()
    assert engine.analyze(small(visits=1), timeout=20).root.visits == 1


def test_partial_results_are_reported(start):
    engine = start()
    seen = []
    enough = threading.Event()

    def report(partial):
        seen.append(partial)
        enough.set()
        raise RuntimeError("a callback's own trouble")

    search = engine.submit(small(visits=ENDLESS), report=report, report_every=0.02)
    assert enough.wait(20)
    search.stop()
    last = search.result(20)
    assert last.complete
    assert not any(partial.complete for partial in seen)
    assert last.root.visits >= seen[0].root.visits > 0


def test_a_warning_comes_with_the_result(shared):
    found = shared.analyze(small(visits=1, more={"colour": "red"}))
    (warned,) = found.warnings
    assert warned.field == "colour"
    assert "unused field" in warned.message


@pytest.mark.parametrize(
    ("query", "field", "said"),
    [
        (small([("B", "E5"), ("W", "E5")]), "moves", "Illegal move"),
        (Query(rules="nonsense"), "rules", "Could not parse rules"),
        (Query(board_x_size=99), "boardXSize", "integer from 2 to"),
    ],
)
def test_a_refused_query_names_its_field(shared, query, field, said):
    with pytest.raises(QueryError, match=f"{field}: .*{said}") as caught:
        shared.analyze(query)
    assert caught.value.field == field
    assert isinstance(caught.value, OrchestrateError)


@pytest.mark.parametrize(
    "query",
    [
        Query(komi=float("nan")),
        Query(more={"analyzeTurns": [0, 1]}),
        Query(settings={"maxTime": object()}),
    ],
    ids=["no number", "a field of the client's", "no JSON"],
)
def test_a_query_that_cannot_be_written_is_refused_at_once(shared, query):
    with pytest.raises(QueryError, match="cannot be asked"):
        shared.submit(query)


def test_a_query_has_a_timeout_that_ends_its_search(shared):
    began = time.monotonic()
    with pytest.raises(EngineTimeoutError, match=r"no answer within 0\.2 s"):
        shared.analyze(small(visits=ENDLESS), timeout=0.2)
    for _ in range(3):  # else the two threads of the engine would be busy for ever
        with pytest.raises(EngineTimeoutError):
            shared.analyze(small(visits=ENDLESS), timeout=0.01)
    assert shared.analyze(small(visits=1), timeout=30).root.visits == 1
    assert time.monotonic() - began < 30


def test_a_cancelled_query_is_over_for_everybody(shared):
    search = shared.submit(small(visits=ENDLESS))
    assert search.cancel()
    assert list(as_completed([search], timeout=10)) == [search]
    with pytest.raises(CancelledError):
        search.result()
    assert not shared.submit(small(visits=1)).cancelled()


def test_a_search_stopped_before_it_began_has_nothing(shared):
    busy = [shared.submit(small(visits=ENDLESS)) for _ in range(2)]
    waiting = shared.submit(small(visits=ENDLESS))
    waiting.stop()
    with pytest.raises(QueryError, match="before it had found anything"):
        waiting.result(20)
    for search in busy:
        search.cancel()


def test_actions(shared, tiny):
    assert shared.version == shared.query_version().version == VERSION
    (model,) = shared.query_models(timeout=20)
    assert (model.name, model.internal_name, model.version) == (str(tiny), "tiny", 14)
    shared.clear_cache()
    assert f"Loaded model {tiny}" in shared.log


def test_a_callback_may_submit_and_may_not_wait(start):
    engine = start(most_open=1)
    chained, refused = [], []
    done = threading.Event()

    def then(search):
        try:
            engine.analyze(small(visits=1))
        except EngineError as exc:
            refused.append(exc.message)
        chained.append(engine.submit(small(visits=search.result().root.visits + 1)))
        done.set()

    engine.submit(small(visits=2)).add_done_callback(then)
    assert done.wait(20)
    assert "a callback cannot wait" in refused[0]
    assert chained[0].result(20).root.visits == 3


def test_a_killed_engine_is_started_again_and_asked_again(start):
    engine = start()
    first = engine.pid
    seen = threading.Event()
    search = engine.submit(small(visits=ENDLESS), report=lambda _: seen.set(), report_every=0.02)
    assert seen.wait(20)
    kill(engine)
    seen.clear()
    assert seen.wait(20), "the query was not asked again"
    assert engine.pid != first
    search.stop()
    assert search.result(20).root.visits > 0


def test_a_query_that_costs_two_engines_fails(start):
    engine = start()
    seen = threading.Event()
    search = engine.submit(small(visits=ENDLESS), report=lambda _: seen.set(), report_every=0.02)
    for _ in range(2):
        assert seen.wait(20)
        kill(engine)
        seen.clear()
    with pytest.raises(EngineEndedError, match=r"SIGKILL.*; the engine before it") as told:
        search.result(20)
    assert "ready to begin handling requests" in told.value.log
    assert engine.pid is None
    assert engine.analyze(small(visits=1), timeout=20).root.visits == 1


def test_restarts_are_bounded(start):
    engine = start(restarts=0)
    search = engine.submit(small(visits=ENDLESS))
    os.kill(engine.pid, signal.SIGKILL)
    with pytest.raises(EngineEndedError, match=r"SIGKILL.*\(1 times in a row\)"):
        search.result(20)
    with pytest.raises(EngineEndedError, match="SIGKILL"):
        engine.analyze(small(visits=1))


def test_an_engine_that_is_gone_when_it_shall_start_again(start, wrapped):
    script = wrapped('exec KATAGO "$@"')
    engine = start(engine=script)
    script.unlink()
    os.kill(engine.pid, signal.SIGKILL)
    with pytest.raises(EngineStartError, match=r"wrapper does not start: .*No such file"):
        engine.analyze(small(visits=1), timeout=20)


STARTS = [
    ({"config": {"numAnalysisThreads": 0}}, "'numAnalysisThreads' must be in the range 1 to"),
    ({"config": "/no/such.cfg"}, "Could not open file /no/such.cfg"),
    ({"model": "/no/such.bin.gz"}, "Could not open file /no/such.bin.gz"),
    ({"args": ["-nonsense"]}, "PARSE ERROR: Argument: -nonsense"),
    ({"engine": "/no/such/katago"}, "/no/such/katago"),
    ({"config": {"key": "two\nlines"}}, "key: 'two\\\\nlines' is no value"),
    ({"config": "a.cfg", "override": {"homeDataDir": "a,b"}}, "homeDataDir: a comma"),
    ({"engine": "/bin/true"}, "does not start: exit 0"),
]


@pytest.mark.parametrize(("given", "said"), STARTS, ids=[said for _, said in STARTS])
def test_what_does_not_start_is_told_in_one_line(start, given, said):
    with pytest.raises(EngineStartError, match=said) as caught:
        start(**given)
    assert "\n" not in caught.value.message
    assert not threads() or len(threads()) == 1  # the shared engine's


def test_the_log_of_an_engine_that_did_not_start_is_kept(start):
    with pytest.raises(EngineStartError) as caught:
        start(config={"nnMaxBatchSize": "many"})
    assert "what():" in caught.value.log


def test_a_start_has_a_timeout(start, wrapped):
    with pytest.raises(EngineStartError, match=r"was not ready within 0\.2 s"):
        start(engine=wrapped("exec sleep 600"), start_timeout=0.2)


def test_a_config_file_is_overridden(start, tmp_path):
    path = tmp_path / "analysis.cfg"
    path.write_text(cfg.render({**SETTINGS, "maxVisits": 50}))
    engine = start(config=path, override={"maxVisits": 3})
    assert engine.analyze(small(), timeout=20).root.visits == 3


def test_env_and_args_reach_the_engine(start, wrapped):
    script = wrapped('[ "$MOOD" = good ] && exec KATAGO "$@"')
    args = ["-override-config", "maxVisits=4"]
    engine = start(engine=script, env={"MOOD": "good"}, args=args)
    assert engine.analyze(small(), timeout=20).root.visits == 4


def test_broken_lines_are_passed_over(start, wrapped):
    noise = '\\377\\n[]\\n{"id":"q2"\\n{"id":7}\\n{"error":"no id"}\\n{"id":"nobody"}\\n\\n'
    engine = start(engine=wrapped(f"printf '{noise}'; exec KATAGO \"$@\""))
    assert engine.analyze(small(visits=1), timeout=20).root.visits == 1


def test_an_answer_that_is_none_fails_its_query_alone(start, wrapped, tmp_path):
    odd = tmp_path / "odd"
    os.mkfifo(odd)
    engine = start(engine=wrapped(f"cat '{odd}' & exec KATAGO \"$@\""))
    search = engine.submit(small(visits=ENDLESS))
    name = "q2"  # the first of its queries, after that for the version
    odd.write_text(json.dumps({"id": name, "rootInfo": {}, "moveInfos": []}) + "\n")
    with pytest.raises(EngineError, match=f"answer to {name} is none: the response lacks winrate"):
        search.result(20)
    assert engine.analyze(small(visits=1), timeout=20).root.visits == 1


def test_closing_fails_what_is_open_and_leaves_nothing(start):
    before = len(threads())
    files = len(os.listdir("/proc/self/fd"))
    engine = start()
    pid = engine.pid
    config = Path(Path(f"/proc/{pid}/cmdline").read_text().split("-config\0")[1].split("\0")[0])
    assert config.exists()
    searches = [engine.submit(small(visits=ENDLESS)) for _ in range(20)]
    engine.close()
    for search in searches:
        with pytest.raises(EngineEndedError, match="was closed"):
            search.result(0)
    assert not alive(pid)
    assert len(threads()) == before
    assert len(os.listdir("/proc/self/fd")) == files
    assert not config.parent.exists()
    engine.close()
    with pytest.raises(EngineEndedError, match="was closed"):
        engine.submit(small())


def test_closing_frees_who_waits_for_a_place(start):
    engine = start(most_open=1)
    engine.submit(small(visits=ENDLESS))
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(engine.analyze, small(visits=1)) for _ in range(3)]
        time.sleep(0.05)
        engine.close()
        for future in waiting:
            with pytest.raises(EngineEndedError, match="was closed"):
                future.result(20)


def test_an_engine_that_will_not_end_is_killed_with_all_it_started(start, wrapped, tmp_path):
    script = wrapped(f'KATAGO "$@"\nsleep 600 & echo $! > {tmp_path}/pid; wait')
    engine = start(engine=script, grace=0.3)
    pid = engine.pid
    engine.close()
    assert not alive(pid)
    child = tmp_path / "pid"
    assert not child.exists() or not alive(int(child.read_text()))


def test_an_engine_that_nobody_holds_any_more_ends(katago):
    before = len(threads())
    pid = KataGo(NO_NET, SETTINGS, engine=katago).pid
    wait_until(lambda: not alive(pid), "the engine ends")
    wait_until(lambda: len(threads()) == before, "the thread ends")


def test_a_program_that_does_not_close_ends_its_engine(katago):
    text = (
        "from orchestrator.engines import KataGo, Query\n"
        f"engine = KataGo('{NO_NET}', {SETTINGS!r}, engine={str(katago)!r})\n"
        f"search = engine.submit(Query(visits={ENDLESS}))\n"
        "print(engine.pid)\n"
    )
    command = [sys.executable, "-c", text]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    wait_until(lambda: not alive(int(done.stdout)), "the engine ends")


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_is_refused(start):
    engine = start()
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()

    def child():
        try:
            engine.submit(small(visits=1))
        except EngineError as exc:
            told.put(exc.message)
        engine.close()

    process = context.Process(target=child)
    process.start()
    process.join(20)
    assert "this is a fork of it" in told.get()
    assert engine.analyze(small(visits=1), timeout=20)


def test_importing_the_engines_does_not_import_the_client():
    text = (
        "import sys, orchestrator.engines, orchestrator.cli\n"
        "print([name for name in sys.modules if name.startswith('orchestrator.engines.k')])\n"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


CHEAP = settings(max_examples=60)


@CHEAP
@given(st.lists(st.binary(max_size=30)), st.randoms(use_true_random=False))
def test_lines_are_the_same_however_they_are_cut(parts, random):
    data = b"\n".join(parts)
    cuts = sorted(random.randint(0, len(data)) for _ in range(5))
    lines = Lines()
    ends = zip([0, *cuts], [*cuts, len(data)], strict=True)
    got = [line for start, end in ends for line in lines.feed(data[start:end])]
    assert got == data.split(b"\n")[:-1]


@CHEAP
@given(st.lists(st.integers(0, 12), min_size=1), st.integers(1, 7))
def test_a_line_that_is_too_long_is_dropped_alone(lengths, step):
    data = b"".join(b"x" * length + b"\n" for length in lengths)
    lines = Lines(limit=8)
    got = [x for at in range(0, len(data), step) for x in lines.feed(data[at : at + step])]
    assert got == [b"x" * length for length in lengths if length <= 8]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
KEYS = ("id", "error", "warning", "field", "isDuringSearch", "rootInfo", "moveInfos", "policy")
DOCUMENTS = st.fixed_dictionaries({}, optional=dict.fromkeys(KEYS, JSON | st.just("q")))


@given(st.binary() | JSON.map(json.dumps) | DOCUMENTS.map(json.dumps))
def test_no_line_breaks_the_reader(line):
    exchange = analysis.Exchange(["q"])
    reply = exchange.hear(line)
    assert exchange.open == (() if reply and reply.kind is not analysis.Kind.PARTIAL else ("q",))
    if reply is not None:
        try:
            results.read(reply, Query())
        except ValueError:
            return
        assert "rootInfo" in reply.document


def test_an_exchange_keeps_warnings_with_their_query():
    exchange = analysis.Exchange(["a", "b"])
    lines = [
        {"id": "a", "warning": "odd", "field": "komi"},
        {"id": "a", "isDuringSearch": True},
        {"id": "b", "error": "no", "field": "rules"},
        {"id": "a", "warning": "very odd"},
        {"id": "a", "isDuringSearch": False},
        {"id": "a", "isDuringSearch": False},
    ]
    heard = [exchange.hear(json.dumps(line)) for line in lines]
    kinds = [reply and (reply.id, reply.kind.value, len(reply.warnings)) for reply in heard]
    assert kinds == [None, ("a", "partial", 1), ("b", "error", 0), None, ("a", "final", 2), None]
    assert exchange.open == ()


@CHEAP
@given(
    st.dictionaries(
        st.text("aZ9_-", min_size=1, max_size=5),
        st.text(min_size=1, max_size=9).filter(str.isprintable),
        max_size=4,
    )
)
def test_settings_that_are_written_are_read(given):
    read, problems = cfg.parse(cfg.render(given))
    assert not problems
    assert {key: setting.value for key, setting in read.items()} == given


def test_a_logged_error_is_no_cause_of_a_kill():
    assert cause(-9, 'Error: {"error":"Illegal move"}') == "killed by SIGKILL (out of memory?)"
    assert cause(1, "Error: no such device\nbye") == "Error: no such device"
