import dataclasses
import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ModelError
from orchestrator.fleet.profile import ArtifactWish, EngineSpec, Profile, VerifySpec
from orchestrator.models.manifest import Golden
from orchestrator.planning.release import Release, build, read
from tests.planning import samples

PROFILE = Profile("cpu", "true", (ArtifactWish("onnx"),), "cpu.cfg.j2", EngineSpec("onnxruntime"))
ENGINE = EngineSpec("onnxruntime", path="/usr/bin/python3")


def made(
    artifact=None, profile=PROFILE, engine=ENGINE, config="cpu.cfg", text="a = 1\n", run="exec x\n"
) -> Release:
    artifact = artifact or samples.artifact(golden=samples.GOLDEN)
    version = samples.version(artifact)
    return build(version, profile, artifact, engine, config=config, config_text=text, run_text=run)


def test_files_of_a_release():
    release = made()
    assert list(release.texts) == ["cpu.cfg", "run", "manifest.json"]
    assert [b.name for b in release.blobs] == ["net-fp32.onnx", "golden.npz"]
    assert all(text.endswith("\n") for text in release.texts.values())
    texts = sum(len(text) for text in release.texts.values())
    assert release.size == texts + 10_000_000 + 4096


def test_manifest_describes_every_other_file():
    release = made()
    manifest = json.loads(release.texts["manifest.json"])
    assert manifest == release.manifest
    assert set(manifest) == {
        "schema", "model", "version", "profile", "artifact", "engine", "verify", "config",
        "golden", "files",
    }  # fmt: skip
    assert set(manifest["files"]) == {"cpu.cfg", "run", "net-fp32.onnx", "golden.npz"}
    assert manifest["files"]["cpu.cfg"] == {
        "sha256": hashlib.sha256(b"a = 1\n").hexdigest(),
        "size": 6,
    }
    assert manifest["artifact"]["sha256"] == release.blobs[0].sha256


def test_id_is_what_sha256sum_says_of_the_manifest():
    release = made()
    digest = hashlib.sha256(release.texts["manifest.json"].encode()).hexdigest()
    assert release.id == f"kata-v1-{digest[:12]}"


def test_id_is_the_same_on_every_day():
    """A release that hosts have must not get another id by a change of the code."""
    assert made().id == "kata-v1-de75e76536d5"


OTHERS = {
    "config text": {"text": "a = 2\n"},
    "run text": {"run": "exec y\n"},
    "config name": {"config": "other.cfg"},
    "engine": {"engine": dataclasses.replace(ENGINE, path="/opt/python")},
    "profile": {"profile": dataclasses.replace(PROFILE, name="other")},
    "verify": {"profile": dataclasses.replace(PROFILE, verify=VerifySpec(min_ratio=0.5))},
    "model": {"artifact": samples.artifact(sha256=samples.digest("x"), golden=samples.GOLDEN)},
    "no golden": {"artifact": samples.artifact()},
    "golden": {"artifact": samples.artifact(golden=Golden("a.npz", samples.digest("other"), 4096))},
}


@pytest.mark.parametrize("change", OTHERS.values(), ids=OTHERS)
def test_any_other_input_makes_another_id(change):
    assert made(**change).id != made().id


def test_what_is_not_sent_does_not_make_another_id():
    """Where a file came from, how it was judged and by which rule the host was found."""
    artifact = samples.artifact(
        golden=samples.GOLDEN, source="https://example.org", accuracy={"gate": "pass"}
    )
    assert made(artifact).id == made().id
    assert made(profile=dataclasses.replace(PROFILE, when="facts.gpus")).id == made().id


@given(st.text(max_size=40), st.text(max_size=40))
def test_same_texts_same_id_other_texts_other_id(one, other):
    assert made(text=one).id == made(text=one).id
    assert (made(text=one).id == made(text=other).id) == (one == other)
    assert (made(run=one).id == made(run=other).id) == (one == other)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_read_gives_back_what_build_made(text):
    release = made(text=text)
    again = read(release.id, release.texts["manifest.json"])
    for name in ("id", "model", "version", "profile", "engine", "verify", "config", "golden",
                 "blobs", "manifest"):  # fmt: skip
        assert getattr(again, name) == getattr(release, name)
    assert again.artifact.filename == release.artifact.filename


@pytest.mark.parametrize(
    "damage", [lambda t: "", lambda t: t[:-1], lambda t: t.replace("cpu", "gpu"), lambda t: t + " "]
)
def test_damaged_manifest_is_found(damage):
    release = made()
    with pytest.raises(ModelError) as caught:
        read(release.id, damage(release.texts["manifest.json"]))
    assert release.id in caught.value.message
    assert caught.value.hint


def test_manifest_of_a_later_orchestrate():
    text = made().texts["manifest.json"].replace('"schema":1', '"schema":2')
    with pytest.raises(ModelError, match="has schema 2, known is 1"):
        read(f"kata-v1-{hashlib.sha256(text.encode()).hexdigest()[:12]}", text)


@pytest.mark.parametrize("name", ["run", "manifest.json", "cpu.cfg", "golden.npz"])
def test_two_files_of_the_same_name(name):
    with pytest.raises(ModelError, match="have the same name"):
        made(samples.artifact(filename=name, golden=samples.GOLDEN))
