import pickle

import pytest

from orchestrator.engines.base import ConfigProblem
from orchestrator.errors import TemplateError
from orchestrator.planning.render import Templates, config_error
from tests.planning import samples

CONTEXT = {"facts": samples.facts("pi4"), "vars": {"threads": 3}, "names": ["a", "b"]}


def render(text: str, **others: str) -> str:
    return Templates.of({"t.j2": text, **others}).render("t.j2", CONTEXT, host="pi-1")


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("threads = {{ facts.cpu.cores }}", "threads = 4\n"),
        ("a\n\n", "a\n\n"),
        ("{% if vars.threads > 2 %}\n  many\n  {% endif %}\nend\n", "  many\nend\n"),
        ("{% for n in names %}\n{{ n }} = {{ loop.index }}\n{% endfor %}", "a = 1\nb = 2\n"),
        ("{{ vars.missing | default(7) }}", "7\n"),
        ("{# nothing #}", "\n"),
        ("{% for n in range(3) %}{{ n }}{% endfor %}", "012\n"),
        ("{{ 2 ** 20 }} {{ 'ab' * 2 }}", "1048576 abab\n"),
    ],
)
def test_render(text, rendered):
    assert render(text) == rendered


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("\n\n{{ fcats.arch }}", "t.j2:3: 'fcats' is undefined (host pi-1)", "mean 'facts'"),
        ("{{ nothing_like_it }}", "t.j2:1: 'nothing_like_it' is undefined", "Templates know"),
        ("\n{{ facts.bord }}", "t.j2:2: facts has no 'bord', did you mean 'board'?", "default"),
        ("{{ facts.board.modl }}", "t.j2:1: board has no 'modl', did you mean 'model'?", ""),
        ("{{ vars.thraeds }}", "t.j2:1: the mapping has no 'thraeds', did you mean 'threads'", ""),
        ("{{ facts.gpus[0].name }}", "t.j2:1: no element 0: the list has 0", ""),
        ("x\n{% if %}", "t.j2:2: Expected an expression", "syntax"),
        ("{% endfor %}", "t.j2:1: Encountered unknown tag 'endfor'", "syntax"),
        ("{% include 'part' %}", "t.j2:1: there is no templates/part", "Did you mean 'part.j2'?"),
        ("{{ 1 / 0 }}", "t.j2:1: division by zero", ""),
        ("{{ names.append('c') }}", "t.j2:1: access to attribute 'append'", ""),
        ("{{ names.__class__ }}", "t.j2:1: access to attribute '__class__'", ""),
        ("{{ range.__func__ }}", "t.j2:1: access to attribute '__func__'", ""),
        ("{% for x in range(10 ** 9) %}.{% endfor %}", "t.j2:1: range() takes more than", ""),
        (
            "{% for x in range(9999) %}{% for y in range(9999) %}{% endfor %}{% endfor %}",
            "t.j2:1: range() takes more than",
            "",
        ),
        ("{{ 'a' * 10 ** 10 }}", "t.j2:1: a product of more than", ""),
        ("{{ 10 ** 10 ** 10 ** 10 ** 10 }}", "t.j2:1: a power of more than", ""),
        (
            "{% set s = 'a' * 90000 %}{% for x in range(99999) %}{{ s }}{% endfor %}",
            "t.j2: renders to more than 1000000 characters",
            "loop",
        ),
    ],
)
def test_template_error(text, message, hint):
    with pytest.raises(TemplateError) as caught:
        render(text, **{"part.j2": ""})
    assert caught.value.message.startswith(f"templates/{message}")
    assert hint in caught.value.hint


def test_error_in_an_included_template_names_that_one():
    with pytest.raises(TemplateError) as caught:
        render("a\n{% include 'part.j2' %}", **{"part.j2": "\n{{ x }}"})
    assert caught.value.message == "templates/part.j2:2: 'x' is undefined (host pi-1)"


def test_missing_template():
    with pytest.raises(TemplateError) as caught:
        Templates.of({"rpi.cfg.j2": ""}).render("rpi.cgf.j2", CONTEXT, host="pi-1")
    assert caught.value.message == "there is no templates/rpi.cgf.j2"
    assert caught.value.hint == "Did you mean 'rpi.cfg.j2'?"


def test_templates_survive_pickling():
    templates = Templates.of({"t.j2": "{{ facts.arch }}"})
    copy = pickle.loads(pickle.dumps(templates))
    assert copy.render("t.j2", CONTEXT, host="pi-1") == "aarch64\n"


TEXT = """# head
{# a comment
   of two lines #}
{% set n = 4 %}
threads = {{ n }}
{% if n > 2 %}
  {% for name in names %}
  {{ name }}{{ loop.index }} = {{ name }}
  {% endfor %}
{% endif %}
{{ n }} = first
{% include "part.j2" %}
{% macro pair(key, value) %}
{{ key }} = {{ value }}
{% endmacro %}
{{ pair("k", "v") }}
{{ "p\\nq" }}
last = 1"""


def test_each_rendered_line_knows_its_template_line():
    templates = Templates.of({"t.j2": TEXT, "part.j2": "in = 1\n\nin2 = {{ 2 }}\n"})
    text = templates.render("t.j2", CONTEXT, host="pi-1")
    lines = templates.lines("t.j2", CONTEXT, host="pi-1")
    assert list(zip(text.splitlines(), lines, strict=True)) == [
        ("# head", "templates/t.j2:1"),
        ("threads = 4", "templates/t.j2:5"),
        ("  a1 = a", "templates/t.j2:8"),
        ("  b2 = b", "templates/t.j2:8"),
        ("4 = first", "templates/t.j2:11"),
        ("in = 1", "templates/part.j2:1"),
        ("", "templates/part.j2:2"),
        ("in2 = 2", "templates/part.j2:3"),
        ("k = v", "templates/t.j2:14"),
        ("", "templates/t.j2:16"),
        ("p", "templates/t.j2:17"),
        ("q", "templates/t.j2:17"),
        ("last = 1", "templates/t.j2:18"),
    ]


def test_no_lines_for_a_template_that_works_on_its_own_text():
    templates = Templates.of({"t.j2": "{% set x %}abc{% endset %}{{ x | length }}\n"})
    assert templates.render("t.j2", CONTEXT, host="pi-1") == "3\n"
    assert templates.lines("t.j2", CONTEXT, host="pi-1") == ()


def test_config_error_names_template_line_key_and_reason_of_all():
    error = config_error(
        [
            ConfigProblem(2, "useFP16", "Eigen has no FP16"),
            ConfigProblem(0, "rules", "is missing"),
            ConfigProblem(9, "", "is not key = value"),
        ],
        template="rpi.cfg.j2",
        config="rpi.cfg",
        engine="katago",
        host="pi-1",
        lines=("templates/rpi.cfg.j2:3", "templates/part.j2:7"),
    )
    assert error.message.splitlines() == [
        "templates/part.j2:7: useFP16: Eigen has no FP16 (line 2 of rpi.cfg, pi-1)",
        "templates/rpi.cfg.j2: rules: is missing (rpi.cfg, pi-1)",
        "templates/rpi.cfg.j2: is not key = value (line 9 of rpi.cfg, pi-1)",
    ]
    assert error.as_dict()["code"] == "config_refused"
