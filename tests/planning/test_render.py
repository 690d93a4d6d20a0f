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


GROW = (
    "{{% set ns = namespace(x={}) %}}{{% for i in range(60) %}}{{% set ns.x = {} %}}{{% endfor %}}"
)
BLOCK = "%}{% set t %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = t"
MANY = "{% set s = 'a' * 900000 %}"
TOO_MUCH = [
    GROW.format("'aaaaaaaaaa'", "ns.x ~ ns.x") + "{{ ns.x | length }}",
    GROW.format("'aaaaaaaaaa'", "ns.x + ns.x"),
    GROW.format("'aaaaaaaaaa'", "'%s%s' % (ns.x, ns.x)"),
    GROW.format("'aaaaaaaaaa'", "'%s%s' | format(ns.x, ns.x)"),
    GROW.format("'aaaaaaaaaa'", "'{0}{0}'.format(ns.x)"),
    GROW.format("'aaaaaaaaaa'", "[ns.x, ns.x] | join"),
    GROW.format("'aaaaaaaaaa'", "''.join([ns.x, ns.x])"),
    GROW.format("'aaaaaaaaaa'", "ns.x | replace('a', ns.x)"),
    GROW.format("'aaaaaaaaaa'", "ns.x.replace('a', ns.x)"),
    GROW.format("[1]", "ns.x + ns.x"),
    GROW.format("[1]", "[ns.x, ns.x]") + "{{ ns.x }}",
    GROW.format("[1]", "(ns.x, ns.x)") + "{{ ns.x }}",
    GROW.format("[1]", "{'a': ns.x, 'b': ns.x}") + "{{ ns.x }}",
    GROW.format("[1]", "dict(a=ns.x, b=ns.x)") + "{{ ns.x }}",
    GROW.format("[1]", "namespace(a=ns.x, b=ns.x)") + "{{ ns.x }}",
    GROW.format("3", "ns.x * ns.x"),
    GROW.format("'aaaa'", "t").replace("%}{% set ns.x = t", BLOCK),
    "{% macro m(x) %}{{ x }}{{ x }}{% endmacro %}" + GROW.format("'aaaa'", "m(ns.x)"),
    "{{ '%1000000000d' % 1 }}",
    "{{ '%1000000000d' | format(1) }}",
    "{{ '%*d' % (1000000000, 1) }}",
    "{{ '%.1000000000f' % 1 }}",
    "{{ '{:1000000000}'.format(1) }}",
    "{{ '{:{w}}'.format(1, w=1000000000) }}",
    "{{ '{x:1000000000}'.format_map({'x': 1}) }}",
    "{{ ('{' ~ ':' * 900000).format(1) }}",
    "{{ '%(' * 400000 % 1 }}",
    "{{ 'a' | center(2000000000) }}",
    "{{ 'a'.center(2000000000) }}",
    "{{ 'a'.ljust(2000000000) }}",
    "{{ 'a'.rjust(width=2000000000) }}",
    "{{ 'a'.zfill(2000000000) }}",
    "{{ 'a'.encode().center(2000000000) }}",
    "{{ '\t'.expandtabs(2000000000) }}",
    r"{{ 'a\nb' | indent(2000000000) }}",
    "{{ [1] | tojson(indent=2000000000) }}",
    "{{ 1 | round(2000000000, 'ceil') }}",
    "{{ [1] | batch(2000000000, 'x') | list }}",
    "{{ [1] | slice(2000000000) | list }}",
    "{{ (1).to_bytes(2000000000, 'big') }}",
    "{{ lipsum(n=100000) }}",
    MANY + "{{ s.replace('a', s) }}",
    MANY + "{{ s | replace('a', s) }}",
    MANY + "{{ s.join(s) }}",
    MANY + "{{ s | join(s) }}",
    MANY + "{{ range(90000) | map('string') | join(s) }}",
    MANY + "{{ range(90000) | map('center', 900000) | join }}",
    MANY + "{{ ('%(x)s' * 90000) % {'x': s} }}",
    MANY + "{% for x in s %}{% for y in s %}{% endfor %}{% endfor %}",
    MANY + "{% for x in s recursive %}{{ loop(s) }}{% endfor %}",
    MANY + "{% for x in range(90000) %}{% set y = s | upper %}{% endfor %}",
    "{{ range(90000) | map('list') | sum(start=[]) }}",
]  # fmt: skip


@pytest.mark.parametrize("text", TOO_MUCH)
def test_what_would_take_hours_or_all_memory_ends_with_an_error(text):
    with pytest.raises(TemplateError) as caught:
        render(text)
    assert caught.value.message.startswith("templates/t.j2:1: ")
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("{{ 'a' ~ 1 ~ names }}", "a1['a', 'b']\n"),
        ("{% for a, b in {'x': 1}.items() %}{{ a }}{{ b }}{{ loop.last }}{% endfor %}", "x1True\n"),
        ("{% for n in names %}{{ loop.index }}/{{ loop.length }} {% endfor %}", "1/2 2/2 \n"),
        ("{% for n in names if n != 'a' %}{{ n }}{% else %}none{% endfor %}", "b\n"),
        ("{{ [[1], [2]] | sum(start=[]) }}", "[1, 2]\n"),
        ("{{ [1, 2] | sum }} {{ [1.5, 2.44] | map('round', 1) | join(', ') }}", "3 1.5, 2.4\n"),
        ("{{ 'x' | center(5) }}|{{ 'a\nb' | indent(2) }}", "  x  |a\n  b\n"),
        ("{{ '%05.1f %s' % (2.5, 'x') }} {{ '{:>4} {}'.format(7, 'y') }}", "002.5 x    7 y\n"),
        ("{{ 'a: {}, 9999999: {:3}'.format(1, 2) }}", "a: 1, 9999999:   2\n"),
        ("{{ '{{:{}}}'.format(3) }}", "{:3}\n"),
        ("{{ '%s-%s' | format('a', 'b') }} {{ ', '.join(names) }}", "a-b a, b\n"),
        ("{{ {'a': 1} | tojson }} {{ 'aXb' | replace('X', '--') }}", '{"a": 1} a--b\n'),
        ("{{ 'aXb'.replace('X', '-') }} {{ 7 % 4 }} {{ [1] + [2] }}", "a-b 3 [1, 2]\n"),
        ("{% macro m(n) %}<{{ n.x }}>{% endmacro %}{{ m(n=namespace(x=1)) }}", "<1>\n"),
        ("{{ names | batch(2) | list }} {{ names | map('upper') | first }}", "[['a', 'b']] A\n"),
        ("{% for n in [1, [2]] recursive %}{{ n is number or loop(n) }}{% endfor %}", "TrueTrue\n"),
    ],
)  # fmt: skip
def test_what_configs_need_is_there(text, rendered):
    assert render(text) == rendered


def test_a_large_config_is_no_problem():
    text = "{% for n in range(20000) %}\nkey{{ n }} = {{ (n ~ '.txt') | upper }}\n{% endfor %}"
    assert render(text).endswith("key19999 = 19999.TXT\n")


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
