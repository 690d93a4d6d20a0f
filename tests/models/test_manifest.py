"""manifest.json: what is written is read again, what is wrong is named with its line."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import ModelError
from orchestrator.models import manifest
from orchestrator.models.manifest import FORMATS, PRECISIONS, Artifact, Golden, ModelVersion

DIGESTS = st.text("0123456789abcdef", min_size=64, max_size=64)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
SIZES = st.integers(1, 2**40)
SCALARS = (
    st.text(min_size=1, max_size=9)
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
)
GOLDEN = st.builds(Golden, NAMES, DIGESTS, SIZES, source=st.text(max_size=9))
ARTIFACTS = st.builds(
    Artifact,
    format=st.sampled_from(FORMATS),
    precision=st.sampled_from(PRECISIONS),
    filename=NAMES,
    sha256=DIGESTS,
    size=SIZES,
    memory_mb=st.none() | st.integers(1, 10**6),
    requires=st.dictionaries(st.text(min_size=1, max_size=5), SCALARS, max_size=2),
    accuracy=st.just({}) | st.fixed_dictionaries({"gate": st.sampled_from(["pass", "fail"])}),
    golden=st.none() | GOLDEN,
    source=st.text(max_size=9),
)
VERSIONS = st.builds(
    ModelVersion,
    NAMES,
    NAMES,
    st.lists(ARTIFACTS, max_size=3).map(tuple),
    yanked=st.none() | st.text(min_size=1, max_size=9),
)

GOOD = ModelVersion(
    "net",
    "v1",
    (Artifact("onnx", "fp32", "net.onnx", "0" * 64, 5, golden=Golden("g.npz", "1" * 64, 6)),),
)


@given(VERSIONS)
def test_what_is_written_is_read_again(version):
    document = manifest.validate(version)
    assert manifest.parse(json.dumps(document), "m") == version


def test_the_text_is_stable_and_has_no_empty_words(tmp_path):
    path = tmp_path / "net" / "v1" / "manifest.json"
    manifest.write(path, GOOD)
    text = path.read_text()
    manifest.write(path, manifest.read(path))
    assert path.read_text() == text
    assert list(json.loads(text)) == ["schema", "model", "version", "artifacts"]
    assert list(json.loads(text)["artifacts"][0]) == [
        "format",
        "precision",
        "filename",
        "sha256",
        "size",
        "golden",
    ]
    assert text.endswith("}\n")
    assert [p.name for p in path.parent.iterdir()] == ["manifest.json"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_manifest_that_would_be_wrong_is_not_written(tmp_path):
    path = tmp_path / "manifest.json"
    with pytest.raises(ModelError, match="model"):
        manifest.write(path, ModelVersion("../up", "v1", ()))
    assert not path.exists()


def test_made_by_a_newer_orchestrate():
    with pytest.raises(ModelError, match="newer orchestrate") as caught:
        manifest.parse('{"schema": 2, "shape": "unheard of"}', "m.json")
    assert caught.value.hint == "Upgrade orchestrate."


def changed(**words):
    document = manifest.to_document(GOOD)
    document["artifacts"][0].update(words)
    return json.dumps(document, indent=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "m.json:1: not valid JSON"),
        ('{"schema": 1,\n}', "m.json:2: not valid JSON"),
        ("[" * 100_000, "m.json: not valid JSON"),
        ('{"size": 1' + "0" * 400 + "}", "m.json: not valid JSON"),
        ('{"size": 1e999}', "not valid JSON: 1e999 is no number"),
        ('{"size": NaN}', "not valid JSON: NaN is no number"),
        ("[]", "m.json:1: top level: expected a mapping"),
        ('{"schema": 1}', "m.json:1: top level: the key 'model' is missing"),
        (changed(sha256="abc"), "m.json:10: artifacts[0].sha256: 'abc' does not look right"),
        (changed(sha256="A" * 64), "m.json:10: artifacts[0].sha256:"),
        (changed(sha256="0" * 64 + "\n"), "m.json:10: artifacts[0].sha256:"),
        (changed(filename="net\n"), "m.json:9: artifacts[0].filename:"),
        (changed(size=0), "m.json:11: artifacts[0].size: must be at least 1, is 0"),
        (changed(format="onxx"), "m.json:7: artifacts[0].format: 'onxx' is not one of"),
        (changed(filename="a/b"), "m.json:9: artifacts[0].filename:"),
        (changed(filename="-rf"), "m.json:9: artifacts[0].filename:"),
        (changed(memory=3), "artifacts[0].memory: unknown key"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text, message):
    with pytest.raises(ModelError) as caught:
        manifest.parse(text, "m.json")
    assert message in caught.value.message


def test_a_manifest_that_is_not_there(tmp_path):
    with pytest.raises(ModelError, match="no such manifest"):
        manifest.read(tmp_path / "manifest.json")


def test_files_names_each_file_once():
    golden = Golden("g.npz", "1" * 64, 6)
    two = tuple(
        Artifact("onnx", p, "n", d * 64, 5, golden=golden)
        for p, d in [("fp32", "a"), ("fp16", "b")]
    )
    assert [f.sha256[0] for f in ModelVersion("n", "v", two).files] == ["a", "1", "b"]
