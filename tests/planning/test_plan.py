import dataclasses
import pickle

import pytest

from orchestrator.errors import (
    InputError,
    InventoryError,
    ModelError,
    SelectionError,
    TemplateError,
)
from orchestrator.fleet.host import Host
from orchestrator.fleet.profile import EngineSpec, ServiceSpec
from orchestrator.planning.diff import unwell
from orchestrator.planning.plan import plan_host
from orchestrator.planning.present import Armed, Present
from tests.planning import samples
from tests.planning.plans import ORT, TEMPLATES, inputs, on_host


def test_first_deploy():
    plan = plan_host(inputs())
    assert plan.action == "deploy"
    assert plan.steps == ("preflight", "stage", "activate", "verify", "commit")
    assert plan.bytes_to_send == plan.release.size
    assert plan.reasons == ("nothing is active",)
    assert plan.release.texts["ort.cfg"] == (
        "# kata@v1 ort ort.cfg red\nexecution_provider = cpu\nintra_op_threads = 3\n"
    )
    assert plan.release.texts["run"].startswith(
        "#!/bin/sh\nexec env ORT_DISABLE_TELEMETRY=1 /usr/bin/python3 -c "
    )
    assert plan.config_diff.splitlines()[:4] == [
        "--- nothing",
        f"+++ {plan.release.id}/ort.cfg",
        "@@ -0,0 +1,3 @@",
        "+# kata@v1 ort ort.cfg red",
    ]


def test_second_deploy_has_nothing_to_do():
    release = plan_host(inputs()).release
    plan = plan_host(inputs(present=on_host(release)))
    assert (plan.action, plan.steps, plan.bytes_to_send) == ("unchanged", (), 0)
    assert plan.config_diff == ""


@pytest.mark.parametrize("verdict", [None, "fail", "inconclusive"])
def test_active_but_never_passed_is_verified(verdict):
    release = plan_host(inputs()).release
    plan = plan_host(inputs(present=on_host(release, verdict=verdict)))
    assert (plan.action, plan.steps) == ("verify", ("verify", "commit"))
    assert plan.bytes_to_send == 0


@pytest.mark.parametrize(("release", "back"), [("active", "old"), ("other", "active")])
def test_a_switch_that_is_not_confirmed_is_no_pass(release, back):
    active = plan_host(inputs()).release
    names = {"active": active.id, "old": "old", "other": "other"}
    present = on_host(active, armed=Armed("r1", names[release], names[back]))
    plan = plan_host(inputs(present=present))
    assert (plan.action, plan.steps) == ("verify", ("verify", "commit"))
    assert plan.reasons == (f"run r1 has not confirmed its switch to {names[release]}",)


def test_a_service_that_is_down_has_what_is_active_switched_to_anew():
    first = plan_host(inputs())
    unchanged = plan_host(inputs(present=on_host(first.release)))
    sick = unwell(unchanged, "exit 7")
    assert (sick.action, sick.steps) == ("deploy", first.steps)
    assert sick.bytes_to_send == sum(len(t.encode()) for t in first.release.texts.values())
    assert sick.reasons == ("the service is down: exit 7",)
    assert unwell(unchanged, "") is unchanged
    assert unwell(first, "exit 7") is first


def test_release_that_lies_there_is_put_together_anew_without_its_blobs():
    release = plan_host(inputs()).release
    other = plan_host(inputs(host=Host("pi-1", (), {"threads": 1}))).release
    present = on_host(other, releases=(release.id, other.id))
    plan = plan_host(inputs(present=present))
    assert plan.action == "deploy"
    assert plan.bytes_to_send == sum(len(t.encode()) for t in release.texts.values())
    assert plan.reasons == ("the release is on the host already", "ort.cfg changes")
    assert "-intra_op_threads = 1\n+intra_op_threads = 3\n" in plan.config_diff


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"config": "intra_op_threads = 64\n"}, "ort.cfg was changed by hand"),
        ({"sizes": {}}, "net-fp32.onnx is missing"),
        ({"replaced": ("net-fp32.onnx",)}, "net-fp32.onnx was replaced"),
        ({"manifest": {}}, "manifest.json is damaged"),
        ({"releases": ()}, "is gone"),
    ],
)
def test_a_damaged_release_is_deployed_again(change, reason):
    release = plan_host(inputs()).release
    plan = plan_host(inputs(present=on_host(release, **change)))
    assert plan.action == "deploy"
    assert any(reason in said for said in plan.reasons)


def test_a_model_that_was_cut_on_the_host_is_noticed():
    release = plan_host(inputs()).release
    present = on_host(release)
    cut = dataclasses.replace(present, sizes={**present.sizes, release.artifact.filename: 5})
    assert plan_host(inputs(present=cut)).reasons == ("net-fp32.onnx has another size",)


def test_only_what_is_missing_is_sent():
    release = plan_host(inputs()).release
    model, golden = release.blobs
    texts = release.size - model.size - golden.size
    stored = Present(stored=frozenset({model.sha256}))
    assert plan_host(inputs(present=stored)).bytes_to_send == texts + golden.size
    cut = Present(parts={model.sha256: 4_000_000})
    assert plan_host(inputs(present=cut)).bytes_to_send == texts + golden.size + 6_000_000
    too_long = Present(parts={model.sha256: 99_000_000})
    assert plan_host(inputs(present=too_long)).bytes_to_send == texts + golden.size


def test_reasons_name_what_changes():
    old = plan_host(inputs(version=samples.version(samples.artifact("onnx int8")))).release
    new = dataclasses.replace(samples.version(samples.artifact()), version="v2")
    python = EngineSpec("onnxruntime", path="/opt/python")
    profile = dataclasses.replace(ORT, name="new", engine=python)
    plan = plan_host(inputs(version=new, profiles=(profile,), present=on_host(old)))
    assert plan.reasons == (
        "kata@v2 is wanted, kata@v1 is active",
        "the model changes: onnx int8 → onnx fp32",
        "ort.cfg changes",
        "profile changes",
        "engine changes",
    )


def test_a_service_hook_is_part_of_the_release():
    profile = dataclasses.replace(ORT, service=ServiceSpec(activate="systemctl restart x"))
    plan = plan_host(inputs(profiles=(profile,), present=on_host(plan_host(inputs()).release)))
    assert plan.reasons == ("service changes",)


@pytest.mark.parametrize("manifest", [{}, {"model": 3}, {"files": [], "artifact": "x"}])
def test_damaged_manifest_on_the_host_does_not_stop_a_plan(manifest):
    plan = plan_host(inputs(present=Present(current="x", manifest=manifest)))
    assert plan.action == "deploy"
    assert plan.reasons


def test_undecidable_profile_is_told():
    broken = dataclasses.replace(ORT, name="gpu", when="facts.gpus[0].name == 'x'")
    plan = plan_host(inputs(profiles=(broken, ORT)))
    assert plan.choice.profile is ORT
    assert plan.reasons[-1].startswith("profile gpu was passed over, its condition fails: ")


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        (
            {"host": Host("pi-1", (), {"orchestrate_profile": "otr"})},
            InventoryError,
            "host pi-1: orchestrate_profile: there is no profile 'otr'",
        ),
        ({"profiles": ()}, SelectionError, "no profile matches pi-1"),
        ({"version": samples.version(yanked="bad")}, ModelError, "kata@v1 was yanked: bad"),
        ({"facts": samples.facts("pi4")}, SelectionError, "pi-1: nothing in kata@v1 fits"),
        (
            {"templates": {"ort.cfg.j2": "{{ vars.thraeds }}"}},
            TemplateError,
            "templates/ort.cfg.j2:1: the mapping has no 'thraeds', did you mean 'threads'? (host",
        ),
        ({"templates": {"run.sh.j2": "{{ x }}"}}, TemplateError, "templates/run.sh.j2:1: 'x'"),
        (
            {"templates": {"ort.cfg.j2": "\nexecution_provider = {{ 'cqu' }}\nbatch_size = 0"}},
            TemplateError,
            "templates/ort.cfg.j2:2: execution_provider: must be one of",
        ),
    ],
)
def test_input_errors(changes, kind, message):
    with pytest.raises(kind) as caught:
        plan_host(inputs(**changes))
    assert isinstance(caught.value, InputError)
    assert caught.value.message.startswith(message)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("variables", "hint"),
    [
        ({}, "orchestrate provision --limit pi-1 brings it, or name a Python"),
        (
            {"orchestrate_python": "/opt/py"},
            "Install it there (/opt/py -m pip install numpy onnxruntime), or remove",
        ),
        (
            {"orchestrate_python": "/s/venv/bin/python3", "orchestrate_root": "/s"},
            "orchestrate provision --limit pi-1 brings it, or name a Python",
        ),
    ],
)
def test_what_is_said_to_bring_a_runtime_follows_from_the_inventory(variables, hint):
    facts = samples.facts("pi4", distribution={"id": "debian"})
    with pytest.raises(SelectionError) as caught:
        plan_host(inputs(host=Host("pi-1", (), variables), facts=facts))
    assert caught.value.hint.startswith(hint)


def test_all_problems_of_a_config_are_told_together():
    with pytest.raises(TemplateError) as caught:
        plan_host(inputs(templates={"ort.cfg.j2": "intra_op_threads = x\ncolour = red\n"}))
    first, second, third = caught.value.message.splitlines()
    assert first.startswith("templates/ort.cfg.j2:1: intra_op_threads: ")
    assert second.startswith("templates/ort.cfg.j2:2: colour: ")
    assert third == "templates/ort.cfg.j2: execution_provider: is missing (ort.cfg, pi-1)"


def test_template_in_a_folder():
    profile = dataclasses.replace(ORT, config="engines/ort.cfg.j2")
    texts = {"engines/ort.cfg.j2": TEMPLATES["ort.cfg.j2"]}
    assert plan_host(inputs(profiles=(profile,), templates=texts)).release.config == "ort.cfg"


def test_inputs_and_plan_can_be_sent_to_another_process():
    given = inputs()
    assert plan_host(pickle.loads(pickle.dumps(given))) == plan_host(given)
    assert pickle.loads(pickle.dumps(plan_host(given))) == plan_host(given)


@pytest.mark.parametrize(
    ("verdicts", "passed"),
    [
        ([], False),
        (["pass"], True),
        (["pass", "fail"], False),
        (["fail", "pass"], True),
        (["pass", None], True),
        (["pass", "inconclusive"], False),
    ],
)
def test_the_last_verdict_counts(verdicts, passed):
    lines = [{"release": "a", "verdict": verdict} for verdict in verdicts]
    present = Present(audit=(*lines, {"release": "b", "verdict": "pass"}, {"what": "unlock"}))
    assert present.passed("a") == passed
