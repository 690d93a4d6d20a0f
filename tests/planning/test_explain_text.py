import dataclasses
import json

from orchestrator.fleet.host import Host
from orchestrator.planning.explain import explain
from orchestrator.planning.plan import plan_host
from orchestrator.planning.present import Present
from tests.planning import samples
from tests.planning.test_plan import inputs, on_host


def text(given) -> str:
    return "\n".join(explain(given).lines)


def shipped(machine="pi4", **changes):
    """Inputs with the profiles that come with the project and a template of their names."""
    return inputs(
        profiles=samples.profiles(),
        facts=samples.facts(machine, python=samples.PYTHON),
        templates=dict.fromkeys(samples.TEMPLATES, "execution_provider = cpu\n"),
        version=samples.version(
            samples.artifact("onnx int8", accuracy={"gate": "fail", "reason": "winrate off"}),
            samples.artifact(golden=samples.GOLDEN),
        ),
        **changes,
    )


def test_tells_the_way_from_facts_to_bytes():
    said = text(shipped())
    for line in (
        "pi-1 in pis",
        "  wanted    kata@v1",
        "  active    nothing",
        "  class     rpi4",
        '  ✗ jetson        no match: facts.board.kind == "jetson"',
        '  ✓ raspberry-pi  chosen: facts.board.kind == "raspberry-pi"',
        "  · cpu           not needed: raspberry-pi came first",
        "  ✗ katago     kata@v1 has no katago artifact",
        "  ✗ onnx int8  its accuracy gate failed: winrate off",
        "  ✓ onnx fp32  runs with onnxruntime at /usr/bin/python3",
        "  config    rpi.cfg from templates/rpi.cfg.j2",
        "  action    deploy: preflight → stage → activate → verify → commit",
        "            because nothing is active",
        "rpi.cfg",
        "  execution_provider = cpu",
    ):  # fmt: skip
        assert line in said.splitlines(), line
    assert "net-fp32.onnx (10.0 MB), golden.npz (4.1 kB), rpi.cfg, run, manifest.json" in said


def test_tells_of_a_transfer_that_was_cut():
    release = plan_host(shipped()).release
    cut = Present(parts={release.blobs[0].sha256: 4_000_000})
    assert "net-fp32.onnx (10.0 MB, 4.0 MB there already)" in text(shipped(present=cut))


def test_unchanged_host_says_so_and_sends_nothing():
    given = shipped()
    release = plan_host(given).release
    said = text(dataclasses.replace(given, present=on_host(release)))
    assert f"because {release.id} is active and passed here" in said
    assert "to send" not in said


def test_shows_a_diff_where_a_config_is_active():
    given = inputs()
    release = plan_host(given).release
    other = dataclasses.replace(given, host=Host("pi-1", (), {"threads": 1}))
    said = text(dataclasses.replace(other, present=on_host(release)))
    assert "  -intra_op_threads = 3\n  +intra_op_threads = 1" in said


def test_what_was_found_out_is_told_although_nothing_fits():
    given = dataclasses.replace(shipped(), facts=samples.facts("pi4"))
    told = explain(given)
    assert told.plan is None
    assert told.error is not None
    assert told.error.exit_code == 2
    assert '  ✓ raspberry-pi  chosen: facts.board.kind == "raspberry-pi"' in told.lines
    assert "  ✗ onnx fp32  there is no python3" in told.lines
    assert any(line.startswith("error: pi-1: nothing in kata@v1") for line in told.lines)
    assert told.document["error"]["code"] == "no_artifact_fits"
    assert [c["taken"] for c in told.document["candidates"]] == [False, False, False]


def test_all_problems_of_a_config_are_shown():
    told = explain(inputs(templates={"ort.cfg.j2": "a = 1\nb = 2\n"}))
    errors = [line for line in told.lines if line.startswith("error: templates/ort.cfg.j2")]
    assert len(errors) == 3


def test_document_can_be_written_as_json():
    document = json.loads(json.dumps(explain(shipped()).document))
    assert document["host"] == "pi-1"
    assert document["profile"] == "raspberry-pi"
    assert document["artifact"]["precision"] == "fp32"
    assert document["candidates"][1] == {
        "format": "onnx",
        "precision": "int8",
        "sha256": samples.digest("onnx int8"),
        "taken": False,
        "reason": "its accuracy gate failed: winrate off",
    }
    assert document["error"] is None
