import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import SettingsError
from orchestrator.fleet.profile import ArtifactWish, EngineSpec, ServiceSpec, VerifySpec
from orchestrator.fleet.settings import Settings, load, parse
from orchestrator.fleet.strategy import Share, Strategy

ROOT = Path(__file__).parents[2]
TEMPLATES = frozenset(
    {"analysis.cfg.j2", "jetson.cfg.j2", "rpi.cfg.j2", "cpu.cfg.j2", "docker-compose.yml.j2"}
)
SMALLEST = """profiles:
  pi:
    artifacts: [{format: katago}]
    config: rpi.cfg.j2
    engine: {kind: katago}
"""


def parsed(text: str) -> Settings:
    return parse(text, templates=TEMPLATES)


def mistakes(text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parsed(text)
    assert caught.value.hint
    assert caught.value.exit_code == 2
    return caught.value.message.splitlines()


def test_defaults():
    settings = parsed(SMALLEST)
    assert (settings.inventory, settings.parallel) == ("inventory/", 32)
    assert (settings.connect_timeout, settings.command_timeout) == (10, 60)
    [profile] = settings.profiles
    assert profile.when == "true"
    assert profile.engine == EngineSpec("katago", command="gtp")
    assert profile.verify == VerifySpec()


def test_a_profile_is_read_whole():
    [profile] = parsed(
        """
profiles:
  big-one:
    when: facts.gpus and host.name in groups['lab']
    artifacts:
      - {format: tensorrt, precision: fp16, engine: {kind: command, run: ./serve "$MODEL"}}
      - format: onnx
    config: analysis.cfg.j2
    engine: {kind: onnxruntime, path: /opt/py/bin/python}
    verify: {min_ratio: 1, max_error: 0.5, max_rss_mb: 900, timeout: 5, visits: 7, command: ./t}
    vars: {threads: 3}
"""
    ).profiles
    assert profile.when == "facts.gpus and host.name in groups['lab']"
    assert profile.artifacts == (
        ArtifactWish("tensorrt", "fp16", EngineSpec("command", run='./serve "$MODEL"')),
        ArtifactWish("onnx"),
    )
    assert profile.engine.path == "/opt/py/bin/python"
    assert profile.verify == VerifySpec(1.0, 0.5, 900, 5.0, 7, "./t")
    assert isinstance(profile.verify.min_ratio, float)
    assert profile.vars == {"threads": 3}


@pytest.mark.parametrize(
    ("written", "when"),
    [("true", "true"), ("false", "false"), ('"true"', "true"), ("facts.gpus", "facts.gpus")],
)
def test_when(written, when):
    text = SMALLEST.replace("  pi:\n", f"  pi:\n    when: {written}\n")
    assert parsed(text).profiles[0].when == when


def rollout(line: str) -> Strategy:
    return parsed(f"{SMALLEST}rollout:\n  {line}\n").rollout


def test_a_rollout_is_read_whole():
    settings = parsed(
        f"""{SMALLEST}
keep: 5
rollout:
  canary: [pi-1, 'jetsons:!jetson-3']
  batches: [1, 12.5%, 100%]
  pause: ask
  max_failed: 3
  max_unreachable: 7.5%
  on_abort: rollback
  inconclusive: keep
  revert_after: 90
"""
    )
    assert settings.keep == 5
    assert settings.rollout == Strategy(
        canary=("pi-1", "jetsons:!jetson-3"),
        batches=(Share(1), Share(12.5, percent=True), Share(100, percent=True)),
        pause="ask",
        max_failed=Share(3),
        max_unreachable=Share(7.5, percent=True),
        on_abort="rollback",
        inconclusive="keep",
        revert_after=90.0,
    )


@pytest.mark.parametrize(
    ("line", "canary"),
    [
        ("canary: none", None),
        ("canary: null", None),
        ("canary:", None),
        ("canary: hardware_class", "hardware_class"),
        ("canary: 2", Share(2)),
        ("canary: 2.0", Share(2)),
        ("canary: 10%", Share(10, percent=True)),
        ("canary: [pi-1]", ("pi-1",)),
        ("pause: 1", "hardware_class"),
    ],
)
def test_canary(line, canary):
    assert rollout(line).canary == canary


def test_a_service_is_read_whole():
    service = "{activate: ./up, health: ./ok, deactivate: ./down, timeout: 5}"
    [profile] = parsed(f"{SMALLEST}    service: {service}\n").profiles
    assert profile.service == ServiceSpec("./up", "./ok", "./down", 5.0)
    assert isinstance(profile.service.timeout, float)


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("canary: hardwareclass", "canary: 'hardwareclass' does not look right", "[pi-1, jetsons]"),
        ("canary: 0", "canary: must be at least 1, is 0", "25%"),
        ("canary: 0%", "canary: '0%' does not look right", "10%"),
        ("canary: 101%", "canary: '101%' does not look right", "10%"),
        ("canary: []", "canary: must not be empty", "pi-1"),
        ("canary: [7]", "canary[0]: expected text, got 7", '"7"'),
        ("canary: 1.5", "canary: 1.5 has none of the known forms", "[pi-1, jetsons]"),
        ("canary: {}", "canary: a mapping has none of the known forms", "[pi-1, jetsons]"),
        ("batches: 10", "batches: expected a list, got 10", "[1, 25%, 100%]"),
        ("batches: []", "batches: must not be empty", "[1, 25%, 100%]"),
        ("batches: [0%]", "batches[0]: '0%' does not look right", "25%"),
        ("batches: [a]", "batches[0]: 'a' does not look right", "25%"),
        ("pause: later", "pause: 'later' is not one of ask", "30"),
        ("pause: -1", "pause: must be at least 0, is -1", "30"),
        ("pause: .nan", "pause: is no number", "10"),
        ("max_failed: 10 percent", "max_failed: '10 percent' does not look right", "10%"),
        ("max_failed: -1", "max_failed: must be at least 0, is -1", "10%"),
        ("max_unreachable: true", "max_unreachable: expected a whole number or text", "10%"),
        ("on_abort: rolback", "on_abort: 'rolback' is not one of keep", "'rollback'"),
        ("inconclusive: ask", "inconclusive: 'ask' is not one of", "speed"),
        ("revert_after: 0", "revert_after: must be more than 0", "seconds"),
        ("cannary: none", "cannary: unknown key", "'canary'"),
    ],
)
def test_one_mistake_in_the_rollout(line, message, hint):
    with pytest.raises(SettingsError) as caught:
        rollout(line)
    assert caught.value.message.startswith(f"orchestrate.yml:7: rollout.{message}")
    assert hint in caught.value.hint


LIMITS = ("connect_timeout", "command_timeout", "facts_max_age", "keepalive", "parallel", "keep")
LIMITS_OF_VERIFY = ("min_ratio", "max_error", "timeout", "max_rss_mb", "visits")
NO_NUMBERS = [".nan", ".inf", "-.inf", "1.0e+400", "9" * 400]


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize("key", LIMITS)
def test_a_number_without_end_is_refused_where_it_stands(key, value):
    said = mistakes(f"{SMALLEST}{key}: {value}\n")
    assert {line[: line.index(key)] for line in said} == {"orchestrate.yml:6: "}


@pytest.mark.parametrize("value", NO_NUMBERS)
@pytest.mark.parametrize("key", LIMITS_OF_VERIFY)
def test_a_number_without_end_is_refused_in_a_profile(key, value):
    said = mistakes(f"{SMALLEST}    verify:\n      {key}: {value}\n")
    assert {line[: line.index(key)] for line in said} == {"orchestrate.yml:7: profiles.pi.verify."}


def test_a_whole_number_is_an_integer():
    settings = parsed(f"{SMALLEST}    verify: {{visits: 3.0}}\nparallel: 4.0\n")
    assert repr((settings.parallel, settings.profiles[0].verify.visits)) == "(4, 3)"


def test_profiles_keep_their_order():
    entry = SMALLEST.partition("  pi:\n")[2]
    text = "profiles:\n" + "".join(f"  {name}:\n{entry}" for name in "zmabk")
    assert [p.name for p in parsed(text).profiles] == list("zmabk")


def changed(old: str, new: str) -> str:
    assert old in SMALLEST
    return SMALLEST.replace(old, new)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "orchestrate.yml: top level: the key 'profiles' is missing", "mapping"),
        ("profiles: {}\n", "orchestrate.yml:1: profiles: must not be empty", "mapping"),
        ("- a\n", "orchestrate.yml:1: top level: expected a mapping", "profiles"),
        ("a: [\n", "orchestrate.yml:2:1: not valid YAML", ""),
        (SMALLEST + "history: a\nhistory: b\n", "orchestrate.yml:7:1: 'history' stands twice", ""),
        (SMALLEST + "parralel: 3\n", "orchestrate.yml:6: parralel: unknown key", "'parallel'"),
        (SMALLEST + "parallel: 0\n", "orchestrate.yml:6: parallel: must be at least 1", ""),
        (SMALLEST + "parallel: many\n", "orchestrate.yml:6: parallel: expected a whole", "32"),
        (SMALLEST + "history: h.db\n", "orchestrate.yml:6: history: 'h.db' does not", "sqlite"),
        (SMALLEST + "connect_timeout: 0\n", "orchestrate.yml:6: connect_timeout: must", "seconds"),
        (
            changed("artifacts", "artefacts"),
            "orchestrate.yml:2: profiles.pi: the key 'artifacts' is missing",
            "2 mistakes",
        ),
        (
            changed("format: katago", "format: katagoo"),
            "orchestrate.yml:3: profiles.pi.artifacts[0].format: 'katagoo' is not one of",
            "Did you mean 'katago'?",
        ),
        (
            changed("kind: katago", "kind: onnx-runtime"),
            "orchestrate.yml:5: profiles.pi.engine.kind: 'onnx-runtime' is not one of",
            "Did you mean 'onnxruntime'?",
        ),
        (
            changed("kind: katago", "kind: command"),
            "orchestrate.yml:5: profiles.pi.engine: the key 'run' is missing",
            "command line",
        ),
        (
            changed("kind: katago", "kind: onnxruntime, command: gtp"),
            "orchestrate.yml:5: profiles.pi.engine.command: belongs to engines of kind katago",
            "kind: katago",
        ),
        (
            changed("config: rpi", "config: ripi"),
            "orchestrate.yml:4: profiles.pi.config: there is no templates/ripi.cfg.j2",
            "Did you mean 'rpi.cfg.j2'?",
        ),
        (
            changed("config: rpi", "config: ../secret"),
            "orchestrate.yml:4: profiles.pi.config: there is no templates/../secret.cfg.j2",
            "",
        ),
    ],
)  # fmt: skip
def test_one_mistake(text, message, hint):
    with pytest.raises(SettingsError) as caught:
        parsed(text)
    assert caught.value.message.startswith(message)
    assert hint in caught.value.hint
    assert caught.value.hint


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("facts.board.kind ==", "not a Jinja expression: "),
        ("facts.board.kind = 'x'", "not a Jinja expression: "),
        ("a b", "not a Jinja expression: "),
        ("fact.board", "'fact' is not known here"),
        ("facts.bord.kind == 'x'", "facts has no 'bord'"),
        ("facts.board.knd == 'x'", "board has no 'knd'"),
        ("facts.gpus[0].compute_capabilty > 7", "gpu has no 'compute_capabilty'"),
        ("host.nme == 'x'", "host has no 'nme'"),
    ],
)
def test_condition_is_checked_at_load(when, message):
    text = yaml.safe_dump({"profiles": {"pi": {"when": when}}}) + SMALLEST.partition("  pi:\n")[2]
    [line] = mistakes(text)
    assert line.startswith(f"orchestrate.yml:3: profiles.pi.when: {message}")


@pytest.mark.parametrize(
    "when",
    [
        "facts.gpus[0].compute_capability >= 8.6",
        "host.vars.anything.at.all == 1",
        "groups.anything",
        "facts.gpus | map(attribute='name') | list",
        "'avx2' in facts.cpu.flags and facts.thermal.temperature_c is none",
        "facts.cpu.model.startswith('Intel')",
        "range(3) | length == 3",
    ],
)
def test_condition_that_is_right(when):
    text = yaml.safe_dump({"profiles": {"pi": {"when": when}}}) + SMALLEST.partition("  pi:\n")[2]
    assert parsed(text).profiles[0].when == when


def test_all_mistakes_are_told_together():
    text = SMALLEST.replace("rpi.cfg", "x.cfg").replace("  pi:", "  pi:\n    when: fact.x")
    text += SMALLEST.partition("profiles:\n")[2].replace("pi:", "jet:").replace("rpi.", "y.")
    assert [line.partition(": ")[0] for line in mistakes(text)] == [
        "orchestrate.yml:3",
        "orchestrate.yml:5",
        "orchestrate.yml:9",
    ]


@pytest.mark.parametrize("name", ["orchestrate.yml", "profiles.yml"])
def test_reference_is_right(name):
    """The commented reference is read by the validator itself."""
    text = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")
    assert parsed(text).profiles


def test_reference_and_shipped_settings_show_the_defaults():
    for path in (ROOT / "docs/reference/orchestrate.yml", ROOT / "orchestrate.yml"):
        settings = parsed(path.read_text(encoding="utf-8"))
        assert settings == Settings(profiles=settings.profiles)


def test_reference_shows_every_key():
    """Every key of the schema stands in the two files, so that none is undocumented."""
    schema = json.loads((ROOT / "orchestrator/fleet/settings.schema.json").read_text())
    shown = set()
    for name in ("orchestrate.yml", "profiles.yml"):
        shown |= keys(yaml.safe_load((ROOT / "docs/reference" / name).read_text()))
    for part in (schema, *schema["$defs"].values()):
        assert set(part.get("properties", {})) <= shown


def keys(document) -> set[str]:
    if isinstance(document, dict):
        return set(document) | {k for value in document.values() for k in keys(value)}
    if isinstance(document, list):
        return {k for value in document for k in keys(value)}
    return set()


def test_unreadable_files(tmp_path):
    with pytest.raises(SettingsError, match="No such file"):
        load(tmp_path / "orchestrate.yml", templates=tmp_path)
    (tmp_path / "orchestrate.yml").write_bytes(b"a: \xff")
    with pytest.raises(SettingsError, match=r"orchestrate\.yml: not UTF-8 at byte 3"):
        load(tmp_path / "orchestrate.yml", templates=tmp_path)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(
            ["profiles", "pi", "when", "artifacts", "config", "engine", "verify", "vars", "format",
             "kind", "run", "parallel", "precision", "rollout", "canary", "batches", "service", "x"]
        ) | st.text(max_size=4),
        inner,
        max_size=4,
    ),
    max_leaves=20,
)  # fmt: skip


def complaint(text: str) -> str:
    """What is said of the text; nothing when it is right."""
    try:
        parsed(text)
    except SettingsError as exc:
        return exc.message
    return ""


@given(VALUES)
def test_anything_is_either_settings_or_a_settings_error(document):
    said = complaint(yaml.safe_dump(document))
    assert not said or said.startswith("orchestrate.yml")


@given(st.text(max_size=60))
def test_any_text_is_either_settings_or_a_settings_error(text):
    assert complaint(text).startswith("orchestrate.yml")


@given(st.text(st.sampled_from("facts.gpuhon[]()|{}%'\"=<>+*- 0"), max_size=30))
def test_any_condition_is_either_right_or_a_settings_error(when):
    document = {"profiles": {"pi": {**yaml.safe_load(SMALLEST)["profiles"]["pi"], "when": when}}}
    said = complaint(yaml.safe_dump(document))
    assert not said or "profiles.pi.when" in said
