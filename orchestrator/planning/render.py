"""Config templates rendered with a host's facts and checked by its engine."""

from __future__ import annotations

import functools
import re
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jinja2

from orchestrator.errors import TemplateError
from orchestrator.planning.template_lines import LineMarks, unmark
from orchestrator.sandbox import Sandbox, Steps
from orchestrator.sandbox_work import allowance
from orchestrator.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.engines.base import ConfigProblem

FOLDER = "templates"
MAX_TEXT = 1_000_000


@dataclass(frozen=True)
class Templates:
    """The texts of a fleet project's templates by their name inside `templates/`.

    A plain value: it can be pickled and handed to another process; what is compiled from it is
    kept as long as the value is in use.
    """

    texts: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, texts: Mapping[str, str]) -> Templates:
        """The templates of a mapping from name to text."""
        return cls(tuple(sorted(texts.items())))

    def render(self, name: str, context: Mapping[str, Any], *, host: str) -> str:
        """The text of the template for one host, ending with a newline.

        Raises TemplateError `templates/rpi.cfg.j2:7: ... (host pi-3)`.
        """
        text = _render(self, name, context, host)
        return text if text.endswith("\n") else text + "\n"

    def lines(self, name: str, context: Mapping[str, Any], *, host: str) -> tuple[str, ...]:
        """For each rendered line the `file:line` of the template it comes from.

        An empty word stands where that cannot be told; there are no words at all when the
        template works on its own text, so that marking it would change what it renders.
        """
        marked = _render(self, name, context, host, marked=True)
        plain, places = unmark(marked)
        whole = _render(self, name, context, host)
        if plain != whole:
            return ()
        names = {name for name, _ in self.texts}
        return tuple(f"{FOLDER}/{p}" if p.rpartition(":")[0] in names else "" for p in places)


def config_error(
    problems: list[ConfigProblem],
    *,
    template: str,
    config: str,
    engine: str,
    host: str,
    lines: tuple[str, ...],
) -> TemplateError:
    """The error for a rendered config that the engine would refuse: all problems, one a line.

    `lines` are `Templates.lines` of the rendering.
    """
    said = []
    for problem in problems:
        place = lines[problem.line - 1] if 0 < problem.line <= len(lines) else ""
        key = f"{problem.key}: " if problem.key else ""
        rendered = f"line {problem.line} of {config}, " if problem.line else f"{config}, "
        said.append(f"{place or f'{FOLDER}/{template}'}: {key}{problem.reason} ({rendered}{host})")
    return TemplateError(
        "\n".join(said),
        hint=f"Change the template or the profile's vars: {engine} would refuse or ignore this.",
        code="config_refused",
    )


@functools.lru_cache(maxsize=8)
def _environment(templates: Templates, *, marked: bool) -> Sandbox:
    texts = dict(templates.texts)

    def load(name: str) -> tuple[str, str, None] | None:
        return (texts[name], f"{FOLDER}/{name}", None) if name in texts else None

    return Sandbox(
        loader=jinja2.FunctionLoader(load),
        extensions=[LineMarks] if marked else [],
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )


def _render(
    templates: Templates, name: str, context: Mapping[str, Any], host: str, *, marked: bool = False
) -> str:
    environment = _environment(templates, marked=marked)
    parts: list[str] = []
    size = 0
    try:
        with allowance():
            template = environment.get_template(name)
            for part in template.generate({**context, "range": Steps().range}):
                parts.append(part)
                size += len(part)
                if size > MAX_TEXT:
                    break
    except jinja2.TemplateSyntaxError as exc:
        place = f"{FOLDER}/{exc.name or name}:{exc.lineno}"
        raise TemplateError(
            f"{place}: {exc.message}", hint="Mend the template's Jinja syntax."
        ) from exc
    except jinja2.TemplateNotFound as exc:
        raise _not_found(templates, name, exc) from exc
    except Exception as exc:
        place = _place(exc, name)
        message = str(exc) or type(exc).__name__
        raise TemplateError(
            f"{place}: {message} (host {host})", hint=_hint(message, context)
        ) from exc
    if size > MAX_TEXT:
        raise TemplateError(
            f"{FOLDER}/{name}: renders to more than {MAX_TEXT} characters (host {host})",
            hint="Look for a loop that was meant to be shorter.",
        )
    return "".join(parts)


def _not_found(templates: Templates, name: str, exc: jinja2.TemplateNotFound) -> TemplateError:
    asked = str(exc.name)
    place = "" if asked == name else f"{_place(exc, name)}: "
    known = [known for known, _ in templates.texts]
    return TemplateError(
        f"{place}there is no {FOLDER}/{asked}",
        hint=did_you_mean(asked, known) or f"Write it, or name another in {FOLDER}/.",
    )


def _place(exc: BaseException, name: str) -> str:
    """The innermost template line of the traceback: Jinja puts template frames into it."""
    frames = [
        frame
        for frame in traceback.extract_tb(exc.__traceback__)
        if frame.filename.startswith(f"{FOLDER}/")
    ]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else f"{FOLDER}/{name}"


def _hint(message: str, context: Mapping[str, Any]) -> str:
    undefined = re.fullmatch(r"'(\w+)' is undefined", message)
    if undefined:
        meant = did_you_mean(undefined[1], context)
        return meant or f"Templates know {', '.join(sorted(context))}."
    if "has no '" in message:
        return "Write `x | default(...)` where a value may be missing."
    return ""
