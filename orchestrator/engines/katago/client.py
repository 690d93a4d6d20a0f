"""KataGo as an application uses it: `KataGo` runs its analysis engine and asks it positions."""

from __future__ import annotations

import tempfile
import time
import weakref
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from orchestrator.engines.katago import analysis, cfg, results
from orchestrator.engines.katago.analysis import Kind
from orchestrator.engines.katago.results import Analysis
from orchestrator.engines.katago.supervisor import Launch, Supervisor, Ticket
from orchestrator.errors import EngineError, EngineStartError, EngineTimeoutError, QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from orchestrator.engines.katago.analysis import Query, Reply

# What KataGo's analysis engine cannot start without, for a machine of which nothing is known.
DEFAULTS = {
    "numAnalysisThreads": "4",
    "numSearchThreadsPerAnalysisThread": "2",
    "nnMaxBatchSize": "8",
}
_Result = TypeVar("_Result")
VIEW = {"reportAnalysisWinratesAs": "BLACK", "logToStderr": "true"}


@dataclass(frozen=True, slots=True)
class EngineVersion:
    """Which KataGo it is: a release (`1.16.0`) and the commit it was built from."""

    version: str
    git_hash: str


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A net that the engine has loaded; `version` is that of the file format."""

    name: str
    internal_name: str
    version: int
    document: Mapping[str, Any]


class Search(Future[Analysis]):
    """The result of a query that is on its way.

    `cancel()` ends the search and throws its result away; `stop()` ends it and keeps what was
    found until then.
    """

    def __init__(self) -> None:
        super().__init__()
        self._halt: Callable[[], None] | None = None

    def stop(self) -> None:
        """End the search now: the result is what it has found, QueryError if that is nothing."""
        if self._halt is not None:
            self._halt()


class KataGo:
    """A running `katago analysis`, for any number of threads.

    `config` is a config file, or the settings themselves: these need to name only what shall
    differ from `DEFAULTS`. `override` holds settings that beat those of the config. Winrates are
    Black's, whatever a config file says, unless a setting given here says otherwise. `args` are
    further words of the command line, `env` further environment variables. The constructor
    returns when the engine is ready: the first start on a machine may tune for minutes, so
    `start_timeout` (seconds) is generous.

    An engine that ends by itself is started again for the next query. Queries that it had are
    asked once more; those that lose a second engine fail with EngineEndedError. After `restarts`
    engines in a row that ended without any answer, every query fails.

    With more than `most_open` queries open, `submit` waits. Callbacks run in a thread of the
    client, in which `submit` never waits and `analyze` is refused. A fork of the process cannot
    use the client. Closing asks the engine to end, and kills it after `grace` seconds.

    Raises EngineStartError with KataGo's own message when it does not start; every EngineError
    has the engine's last output in `log`, where an engine has ended.
    """

    def __init__(
        self,
        model: str | Path,
        config: str | Path | Mapping[str, object] | None = None,
        *,
        engine: str | Path = "katago",
        override: Mapping[str, object] | None = None,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        start_timeout: float = 900.0,
        grace: float = 10.0,
        restarts: int = 3,
        most_open: int = 10_000,
    ) -> None:
        folder = tempfile.TemporaryDirectory(prefix="katago-")
        try:
            words = _config_words(config, override or {}, Path(folder.name))
        except BaseException:
            folder.cleanup()
            raise
        command = [str(engine), "analysis", "-model", str(model), *words]
        launch = Launch(
            command=(*command, "-quit-without-waiting", *args),
            env=env or {},
            start_timeout=start_timeout,
            grace=grace,
            restarts=restarts,
            most_open=most_open,
        )
        self._names = count(1)
        self._supervisor = Supervisor(launch, folder.cleanup)
        self._finalizer = weakref.finalize(self, self._supervisor.close, wait=False)
        try:
            self._version = self.query_version()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the engine; queries without an answer fail with EngineEndedError."""
        self._supervisor.close()
        self._finalizer.detach()

    @property
    def version(self) -> str:
        """The release of KataGo that was started, such as `1.16.0`."""
        return self._version.version

    @property
    def pid(self) -> int | None:
        """The process id of the engine; None while none runs."""
        return self._supervisor.pid

    @property
    def log(self) -> str:
        """The last 16 KB that the engine wrote to stderr: what it loaded, settings it ignores."""
        return self._supervisor.log

    def analyze(
        self,
        query: Query,
        *,
        timeout: float | None = None,
        report: Callable[[Analysis], None] | None = None,
        report_every: float = 1.0,
    ) -> Analysis:
        """What the engine found, after waiting for it; see `submit`.

        Raises EngineTimeoutError after `timeout` seconds, which ends the search too.
        """
        began = time.monotonic()
        self._refuse_callback()
        search = self.submit(query, timeout=timeout, report=report, report_every=report_every)
        return _wait(search, timeout, began)

    def submit(
        self,
        query: Query,
        *,
        timeout: float | None = None,
        report: Callable[[Analysis], None] | None = None,
        report_every: float = 1.0,
    ) -> Search:
        """A future of the result. `report` is called with partial ones, every so many seconds.

        `timeout` is how long to wait while too many queries are open. The future's result raises
        QueryError when the engine refuses the query, EngineEndedError when it ended.
        Raises QueryError for a query that cannot be written down, EngineEndedError after `close`.
        """
        search = Search()
        name = f"q{next(self._names)}"
        try:
            line = query.line(name, report_every=None if report is None else report_every)
        except (TypeError, ValueError, RecursionError) as exc:
            raise QueryError(f"the query cannot be asked: {exc}", hint="Mend it.") from exc
        ticket = Ticket(
            name,
            line,
            search,
            resolve=partial(_analysis, query),
            report=None if report is None else partial(_reported, query, report),
        )
        search._halt = partial(self._supervisor.halt, ticket)  # noqa: SLF001 - the class above
        self._send(ticket, timeout)
        return search

    def query_version(self, *, timeout: float | None = None) -> EngineVersion:
        """Which KataGo runs; raises EngineTimeoutError after `timeout` seconds."""
        document = self._action("query_version", timeout)
        return EngineVersion(str(document.get("version", "")), str(document.get("git_hash", "")))

    def query_models(self, *, timeout: float | None = None) -> tuple[LoadedModel, ...]:
        """The nets it has loaded; raises EngineTimeoutError after `timeout` seconds."""
        found = self._action("query_models", timeout).get("models", ())
        return tuple(
            LoadedModel(
                name=str(model.get("name", "")),
                internal_name=str(model.get("internalName", "")),
                version=int(model.get("version", -1)),
                document=model,
            )
            for model in found
        )

    def clear_cache(self, *, timeout: float | None = None) -> None:
        """Have it forget what the net said; raises EngineTimeoutError after `timeout` seconds."""
        self._action("clear_cache", timeout)

    def _action(self, what: str, timeout: float | None) -> Mapping[str, Any]:
        began = time.monotonic()
        self._refuse_callback()
        future: Future[Mapping[str, Any]] = Future()
        name = f"a{next(self._names)}"
        self._send(Ticket(name, analysis.action(name, what), future, resolve=_document), timeout)
        return _wait(future, timeout, began)

    def _send(self, ticket: Ticket, timeout: float | None) -> None:
        self._supervisor.put(ticket, timeout)
        supervisor = self._supervisor

        def drop(future: Future[Any]) -> None:
            if future.cancelled():
                supervisor.drop(ticket)

        ticket.future.add_done_callback(drop)

    def _refuse_callback(self) -> None:
        if self._supervisor.inside:
            raise EngineError(
                "a callback cannot wait for an answer: it runs in the thread that brings it",
                hint="Use submit with a callback of its own.",
            )


def _wait(future: Future[_Result], timeout: float | None, began: float) -> _Result:
    """The future's result within `timeout` seconds after the moment `began`, or it is cancelled."""
    left = None if timeout is None else max(0.0, began + timeout - time.monotonic())
    try:
        return future.result(left)
    except TimeoutError:
        if not future.cancel():  # it came just now
            return future.result()
        raise EngineTimeoutError(
            f"no answer within {timeout:g} s", hint="Give it more time, or fewer visits."
        ) from None
    except BaseException:
        future.cancel()
        raise


def _config_words(
    config: str | Path | Mapping[str, object] | None, override: Mapping[str, object], folder: Path
) -> list[str]:
    """The part of the command line that names the config, which is written into `folder`."""
    try:
        if isinstance(config, (str, Path)):
            return ["-config", str(config), "-override-config", _overrides({**VIEW, **override})]
        path = folder / "analysis.cfg"
        path.write_text(cfg.render({**DEFAULTS, **VIEW, **(config or {}), **override}), "utf-8")
    except ValueError as exc:
        raise EngineStartError(
            f"the settings cannot be given to katago: {exc}",
            hint="Keep to what KataGo's config files can say.",
        ) from exc
    return ["-config", str(path)]


def _overrides(settings: Mapping[str, object]) -> str:
    """`key=value,key=value`; raises ValueError for what has no place in it."""
    for key, value in settings.items():
        if "," in f"{key}{value}" or "=" in key:
            raise ValueError(f"{key}: a comma cannot be overridden, only written into the file")
    return ",".join(f"{key}={cfg.plain(value)}" for key, value in settings.items())


def _document(reply: Reply) -> Mapping[str, Any]:
    if reply.kind is Kind.ERROR:
        field = str(reply.document.get("field", ""))
        where = f"{field}: " if field else ""
        raise QueryError(
            f"katago refuses the query: {where}{reply.document['error']}",
            hint="See KataGo's docs/Analysis_Engine.md.",
            field=field,
        )
    return reply.document


def _analysis(query: Query, reply: Reply) -> Analysis:
    document = _document(reply)
    if document.get("noResults") is True:
        raise QueryError("the search was stopped before it had found anything")
    try:
        return results.read(reply, query)
    except ValueError as exc:
        raise EngineError(f"katago's answer to {reply.id} is none: {exc}") from exc


def _reported(query: Query, report: Callable[[Analysis], None], reply: Reply) -> None:
    report(_analysis(query, reply))
