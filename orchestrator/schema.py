"""What is wrong with a parsed document, said for the person who wrote it.

`jsonschema` (Draft 2020-12) does the checking, PyYAML the reading and the line numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from orchestrator.errors import InputError
from orchestrator.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Path = tuple[Any, ...]
_Found = list[tuple[Path, str, str]]
_Error = Any  # jsonschema's ValidationError, whose attributes are typed as possibly unset

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE = "tag:yaml.org,2002:merge"

_TYPES = {
    "object": "a mapping (key: value)",
    "array": "a list",
    "string": "text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "null": "nothing",
}


@dataclass(frozen=True, slots=True)
class SchemaProblem:
    """One mistake: where (`path` of keys and list indexes, `line` from 1), what, and the way out.

    `message` starts with the place as a person would write it, `profiles.pi.artifacts[0]: ...`.
    """

    path: Path
    line: int | None
    message: str
    hint: str = ""


def problems(
    document: Any, schema: Mapping[str, Any], *, lines: Mapping[Path, int] | None = None
) -> list[SchemaProblem]:
    """Every mistake in `document`, in the order of the file; an empty list when it is right.

    `lines` comes from `yaml_lines`; a place that it does not know gets the line of its parent.
    Where the schema allows several forms, the form that the document comes nearest to is spoken
    of. A `description` in the schema is the hint for values that do not fit it.
    """
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - slow to import

    found = list(_keys_that_are_not_text(document, ()))
    if not found:
        for error in Draft202012Validator(schema).iter_errors(document):
            found += _translated(_nearest(error))
    known = lines or {}
    located = [
        SchemaProblem(path, _line(path, known), f"{place(path)}: {message}", hint)
        for path, message, hint in found
    ]
    unique = {(p.path, p.message): p for p in located}
    return sorted(unique.values(), key=lambda p: (p.line or 0, [str(part) for part in p.path]))


def check(
    document: Any,
    schema: Mapping[str, Any],
    *,
    source: str,
    lines: Mapping[Path, int] | None = None,
    error: type[InputError] = InputError,
) -> None:
    """Pass when `document` fits `schema`; else raise `error` for the first mistake.

    The message is `source:line: place: cause`, and says how many more mistakes there are.
    """
    found = problems(document, schema, lines=lines)
    if not found:
        return
    first = found[0]
    where = source if first.line is None else f"{source}:{first.line}"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    raise error(f"{where}: {first.message}{more}", hint=first.hint)


def place(path: Path) -> str:
    """`('profiles', 'pi', 'artifacts', 0)` as `profiles.pi.artifacts[0]`; the root is `top level`.

    A key that holds anything but letters, digits, `_` and `-` is quoted.
    """
    if not path:
        return "top level"
    words = ""
    for part in path:
        if isinstance(part, int) and not isinstance(part, bool):
            words += f"[{part}]"
        else:
            key = str(part) if re.fullmatch(r"[\w-]+", str(part)) else repr(part)
            words += f".{key}" if words else key
    return words


def load_yaml(text: str, source: str, *, error: type[InputError] = InputError) -> Any:
    """The YAML document in `text`; None when it is empty.

    Raises `error` with `source:line` for a syntax error, a second document, an unknown tag, a key
    that stands twice in one mapping, or an alias that contains itself.
    """
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            for line, column, message in _duplicates_and_loops(loader, node):
                raise error(f"{source}:{line}:{column}: {message}", hint="Keep one of them.")
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        where = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        raise error(f"{where}: {_syntax(exc)}", hint=_syntax_hint(exc, text)) from exc
    except (yaml.YAMLError, ValueError) as exc:
        cause = " ".join(str(exc).split())
        raise error(f"{source}: not readable as YAML: {cause}") from exc
    except RecursionError as exc:
        raise error(f"{source}: nested too deeply") from exc


def yaml_lines(text: str) -> dict[Path, int]:
    """The line (from 1) of every key and list item of a YAML text that `load_yaml` accepts."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        lines: dict[Path, int] = {}
        if node is not None:
            lines[()] = node.start_mark.line + 1
            _note_lines(loader, node, (), lines)
        return lines
    finally:
        loader.dispose()


def _note_lines(loader: Any, node: yaml.Node, path: Path, lines: dict[Path, int]) -> None:
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines.setdefault((*path, index), item.start_mark.line + 1)
            _note_lines(loader, item, (*path, index), lines)
    elif isinstance(node, yaml.MappingNode):
        merged = []
        for key_node, value_node in node.value:
            if key_node.tag == _MERGE:
                merged.append(value_node)
            elif isinstance(key_node, yaml.ScalarNode):
                here = (*path, loader.construct_object(key_node))
                lines.setdefault(here, key_node.start_mark.line + 1)
                _note_lines(loader, value_node, here, lines)
        for value_node in merged:
            several = isinstance(value_node, yaml.SequenceNode)
            for parent in value_node.value if several else [value_node]:
                _note_lines(loader, parent, path, lines)


def _duplicates_and_loops(loader: Any, root: yaml.Node) -> Iterator[tuple[int, int, str]]:
    """Line, column and message of each; an aliased node is looked at once."""
    done: set[int] = set()

    def walk(node: yaml.Node, above: frozenset[int]) -> Iterator[tuple[int, int, str]]:
        mark = node.start_mark
        if id(node) in above:
            yield mark.line + 1, mark.column + 1, "this contains itself by an alias"
        if id(node) in above or id(node) in done or isinstance(node, yaml.ScalarNode):
            return
        done.add(id(node))
        inside = above | {id(node)}
        if isinstance(node, yaml.MappingNode):
            yield from _duplicates(loader, node)
        for child in _children(node):
            yield from walk(child, inside)

    return walk(root, frozenset())


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value)


def _duplicates(loader: Any, node: yaml.MappingNode) -> Iterator[tuple[int, int, str]]:
    first: dict[Any, int] = {}
    for key_node, _ in node.value:
        if key_node.tag == _MERGE or not isinstance(key_node, yaml.ScalarNode):
            continue
        key, mark = loader.construct_object(key_node), key_node.start_mark
        if key in first:
            yield (
                mark.line + 1,
                mark.column + 1,
                f"{key_node.value!r} stands twice in one mapping, first on line {first[key]}",
            )
        first.setdefault(key, mark.line + 1)


def _syntax(error: yaml.MarkedYAMLError) -> str:
    parts = [part for part in (error.context, error.problem) if part]
    return "not valid YAML: " + ": ".join(parts)


def _syntax_hint(error: yaml.MarkedYAMLError, text: str) -> str:
    mark = error.problem_mark
    problem = error.problem or ""
    row = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    if "\t" in row[: len(row) - len(row.lstrip())] or "'\\t'" in problem:
        return "Indent YAML with spaces, not tabs."
    if "mapping values are not allowed" in problem:
        return "Quote a value that contains ': ', or look at the indentation."
    if "cannot start any token" in problem or "{{" in row:
        return "Quote a value that starts with a special character such as @, `, % or {."
    if "found another document" in problem or "expected a single document" in str(error):
        return "Keep one document: remove the second ---."
    return "Look at the indentation and quotes of this line and the one above."


def _line(path: Path, lines: Mapping[Path, int]) -> int | None:
    for end in range(len(path), -1, -1):
        if path[:end] in lines:
            return lines[path[:end]]
    return None


def _keys_that_are_not_text(document: Any, path: Path) -> Iterator[tuple[Path, str, str]]:
    if isinstance(document, dict):
        for key, value in document.items():
            if not isinstance(key, str):
                read = " YAML reads on, off, yes and no as true or false."
                hint = "Write it in quotes." + (read if isinstance(key, bool) else "")
                yield (*path, key), f"the key {_shown(key)} is not text", hint
            yield from _keys_that_are_not_text(value, (*path, key))
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from _keys_that_are_not_text(value, (*path, index))


def _nearest(error: _Error) -> _Error:
    """The error to speak of: inside anyOf/oneOf, that of the form the document comes nearest to."""
    while error.validator in {"anyOf", "oneOf"} and error.context:
        forms: dict[Any, list[_Error]] = {}
        for inner in error.context:
            forms.setdefault(inner.schema_path[0], []).append(inner)
        fitting = [
            inners
            for inners in forms.values()
            if not any(e.validator in {"type", "const"} and not e.path for e in inners)
        ]
        undecided = len(fitting) > 1 and any(not e.path for inners in fitting for e in inners)
        if not fitting or undecided:
            return error
        fewest = min(len(inners) for inners in fitting)
        nearest = next(inners for inners in fitting if len(inners) == fewest)
        error = max(nearest, key=lambda e: len(e.path))
    return error


def _translated(error: _Error) -> _Found:
    translate = _TRANSLATIONS.get(str(error.validator))
    path = tuple(error.absolute_path)
    if translate is not None:
        return translate(error, path)
    return [(path, error.message, _description(error))]


def _unknown_keys(error: _Error, path: Path) -> _Found:
    known = list(error.schema.get("properties", {}))
    patterns = list(error.schema.get("patternProperties", {}))
    unknown = [
        key
        for key in error.instance
        if key not in known and not any(re.search(p, key) for p in patterns)
    ]
    free = [key for key in known if key not in error.instance]
    choices = f"Known keys: {', '.join(known)}." if known else "No keys are known here."
    return [((*path, k), "unknown key", did_you_mean(k, free) or choices) for k in unknown]


def _missing_key(error: _Error, path: Path) -> _Found:
    missing = [key for key in error.validator_value if key not in error.instance]
    described = error.schema.get("properties", {})
    return [
        (path, f"the key {key!r} is missing", described.get(key, {}).get("description", ""))
        for key in missing
    ]


def _wrong_type(error: _Error, path: Path) -> _Found:
    wanted = error.validator_value
    names = [wanted] if isinstance(wanted, str) else wanted
    expected = " or ".join(_TYPES[name] for name in names)
    hint = _description(error)
    if "string" in names and not isinstance(error.instance, dict | list | None):
        hint = f'Write it in quotes: "{error.instance}"' if error.instance is not None else hint
    return [(path, f"expected {expected}, got {_shown(error.instance)}", hint)]


def _not_a_choice(error: _Error, path: Path) -> _Found:
    choices = [str(choice) for choice in error.validator_value]
    listed = ", ".join(choices)
    near = did_you_mean(str(error.instance), choices)
    message = f"{_shown(error.instance)} is not one of {listed}"
    return [(path, message, near or _description(error))]


def _other_constant(error: _Error, path: Path) -> _Found:
    message = f"expected {_shown(error.validator_value)}, got {_shown(error.instance)}"
    return [(path, message, _description(error))]


def _other_pattern(error: _Error, path: Path) -> _Found:
    hint = _description(error) or f"It must match {error.validator_value}"
    return [(path, f"{_shown(error.instance)} does not look right", hint)]


def _no_form_fits(error: _Error, path: Path) -> _Found:
    wanted = [_form(form) for form in error.validator_value]
    known = [form for form in wanted if form]
    if len(known) < len(wanted):
        message = f"{_shown(error.instance)} has none of the known forms"
        return [(path, message, _description(error))]
    message = f"expected {' or '.join(dict.fromkeys(known))}, got {_shown(error.instance)}"
    return [(path, message, _description(error))]


def _form(schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return _shown(schema["const"])
    if "enum" in schema:
        return "one of " + ", ".join(str(choice) for choice in schema["enum"])
    kind = schema.get("type", "")
    return _TYPES.get(kind, "") if isinstance(kind, str) else ""


def _sentence(
    words: Callable[[_Error], str],
) -> Callable[[_Error, Path], _Found]:
    return lambda error, path: [(path, words(error), _description(error))]


_TRANSLATIONS: dict[str, Callable[[_Error, Path], _Found]] = {
    "additionalProperties": _unknown_keys,
    "required": _missing_key,
    "type": _wrong_type,
    "enum": _not_a_choice,
    "const": _other_constant,
    "anyOf": _no_form_fits,
    "oneOf": _no_form_fits,
    "pattern": _other_pattern,
    "minimum": _sentence(lambda e: f"must be at least {e.validator_value}, is {e.instance}"),
    "maximum": _sentence(lambda e: f"must be at most {e.validator_value}, is {e.instance}"),
    "exclusiveMinimum": _sentence(
        lambda e: f"must be more than {e.validator_value}, is {e.instance}"
    ),
    "exclusiveMaximum": _sentence(
        lambda e: f"must be less than {e.validator_value}, is {e.instance}"
    ),
    "minLength": _sentence(lambda e: "must not be empty" if not e.instance else "is too short"),
    "minItems": _sentence(
        lambda e: "must not be empty" if not e.instance else "has too few entries"
    ),
    "minProperties": _sentence(
        lambda e: "must not be empty" if not e.instance else "has too few keys"
    ),
    "uniqueItems": _sentence(lambda _: "an entry stands twice"),
}


def _description(error: _Error) -> str:
    return str(error.schema.get("description", "")) if isinstance(error.schema, dict) else ""


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value) if isinstance(value, str | int | float) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004
