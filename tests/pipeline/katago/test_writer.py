"""Nets of every version and kind are written as KataGo loads them, and are read back the same."""

from __future__ import annotations

import gzip
import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ModelError
from orchestrator.pipeline.interpreters.numpy import Reference
from orchestrator.pipeline.katago.net import VERSIONS, Activation, Bias, PostProcess
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.katago.random_net import KINDS, TIPS, random_net
from orchestrator.pipeline.katago.reader import read
from orchestrator.pipeline.katago.writer import write
from orchestrator.pipeline.tensors import Inputs
from tests import nets
from tests.katago_engine import TUNER

EXTRAS = 15


@st.composite
def net_choices(draw):
    """Arguments of `random_net` that go together."""
    version = draw(st.sampled_from(VERSIONS))
    words = draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=3))
    chosen = {
        "seed": draw(st.integers(0, 1000)),
        "version": version,
        "kind": "+".join(words),
        "blocks": len(words),
        "channels": draw(st.sampled_from([8, 16, 24])),
    }
    if version >= EXTRAS:
        chosen |= {
            "tip": draw(st.sampled_from(TIPS)),
            "meta": draw(st.booleans()),
            "prefers_pass_alive": draw(st.booleans()),
            "activation": draw(st.sampled_from(Activation)),
        }
    if version == VERSIONS[-1]:
        chosen["policies"] = draw(st.sampled_from([2, 4]))
    return chosen


@settings(max_examples=40, deadline=None)
@given(net_choices(), st.sampled_from([".bin.gz", ".bin", ".txt.gz", ".txt"]))
def test_what_is_written_is_read(tmp_path_factory, chosen, suffix):
    folder = tmp_path_factory.mktemp("net")
    net = random_net(**chosen)
    write(net, folder / f"net{suffix}")
    nets.assert_same(read(folder / f"net{suffix}"), net)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_version_with_every_kind(tmp_path, version, kind):
    path = tmp_path / "net.bin"
    net = random_net(seed=2, version=version, kind=kind, channels=8, blocks=1)
    write(net, path)
    nets.assert_same(read(path), net)


@pytest.mark.parametrize("file", nets.SMALL)
def test_a_real_net_is_written_as_it_was_exported(tmp_path, file):
    path = nets.real_net(file)
    copy = tmp_path / "copy.bin.gz"
    write(read(path), copy)
    assert gzip.decompress(copy.read_bytes()) == gzip.decompress(path.read_bytes())


def test_a_real_net_survives_as_text(tmp_path):
    net = read(nets.real_net(nets.LEARNED_ROPE))
    write(net, tmp_path / "net.txt")
    nets.assert_same(read(tmp_path / "net.txt"), net)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=8, max_size=8))
def test_every_float_survives_as_text(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("net") / "net.txt"
    net = random_net(seed=1, channels=8, blocks=1)
    odd = replace(net.value.v2_bias, weights=np.array(values, np.float32))
    net = replace(net, value=replace(net.value, v2_bias=odd))
    write(net, path)
    assert read(path).value.v2_bias.weights.tobytes() == odd.weights.tobytes()


def test_the_bytes_depend_on_the_net_alone(tmp_path):
    for name in ("one.bin.gz", "other.bin.gz"):
        write(random_net(seed=3, kind="gpool"), tmp_path / name)
    assert (tmp_path / "one.bin.gz").read_bytes() == (tmp_path / "other.bin.gz").read_bytes()
    packed_at = (tmp_path / "one.bin.gz").read_bytes()[4:8]
    assert packed_at == bytes(4)
    write(random_net(seed=4, kind="gpool"), tmp_path / "other.bin.gz")
    assert (tmp_path / "one.bin.gz").read_bytes() != (tmp_path / "other.bin.gz").read_bytes()


def _with_bias(net, values):
    return replace(net, value=replace(net.value, v3_bias=Bias("v3_bias", values)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda net: _with_bias(net, np.array([0, np.nan, 0], np.float32)), "v3_bias .* NaN"),
        (lambda net: replace(net, name="two words"), "'two words' cannot be a name"),
        (lambda net: replace(net, name=""), "'' cannot be a name"),
        (lambda net: replace(net, name="碁"), "cannot be a name"),
        (lambda net: replace(net, version=10), "version 10 cannot hold other activations"),
        (
            lambda net: replace(net, version=12, post_process=PostProcess(lead=3.0)),
            "version 12 cannot hold factors",
        ),
        (lambda net: replace(net, prefers_pass_alive=True), "version 14 .* preferPassAlive"),
    ],
)
def test_what_no_file_can_hold_leaves_the_old_file(tmp_path, change, message):
    path = tmp_path / "net.bin.gz"
    path.write_bytes(b"old")
    with pytest.raises(ModelError, match=message):
        write(change(random_net(seed=1)), path)
    assert [file.name for file in tmp_path.iterdir()] == ["net.bin.gz"]
    assert path.read_bytes() == b"old"


def test_where_it_cannot_be_written(tmp_path):
    with pytest.raises(ModelError, match="cannot be written: No such file"):
        write(random_net(seed=1), tmp_path / "nowhere" / "net.bin.gz")
    with pytest.raises(ModelError, match="does not say what kind"):
        write(random_net(seed=1), tmp_path / "net.onnx")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"version": 7}, "version 7"),
        ({"version": 18}, "version 18"),
        ({"kind": "dense"}, "'dense'"),
        ({"channels": 12}, "12 channels"),
        ({"channels": 0}, "0 channels"),
        ({"tip": "layer"}, "'layer'"),
        ({"version": 14, "tip": "rms"}, "version 14"),
        ({"version": 14, "meta": True}, "version 14"),
    ],
)
def test_a_random_net_that_cannot_be(wrong, message):
    with pytest.raises(ModelError, match=message):
        random_net(seed=1, **wrong)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("version", "tip"), [(8, "batch"), (14, "batch"), (17, "rms-spatial")])
def test_a_random_net_answers_calmly(version, tip, kind):
    rng = np.random.default_rng(0)
    spatial = np.zeros((3, 22, 9, 9), np.float32)
    stones = rng.integers(0, 3, (3, 9, 9))
    spatial[:, 0], spatial[:, 1], spatial[:, 2] = 1, stones == 1, stones == 2
    inputs = Inputs(spatial, rng.normal(0, 0.3, (3, 19)).astype(np.float32))
    answers = Reference(
        random_net(seed=1, version=version, kind=kind, tip=tip), Shape(9, 9, masked=False)
    )(inputs)
    assert 0.1 < np.abs(answers.value - answers.value.mean(1, keepdims=True)).max() < 3
    assert np.ptp(answers.policy, 1).max() < 12
    assert answers.policy.std(0).max() > 0.1
    assert np.abs(answers.misc).max() < 2


# Between them every kind of block, RoPE, tip and file that KataGo can run.
ENGINE_NETS = {
    "v8.bin.gz": {"version": 8, "kind": "ordinary+gpool"},
    "v12.txt.gz": {"version": 12, "kind": "nested+ordinary", "activation": Activation.SILU},
    "v15.bin.gz": {"version": 15, "kind": "gpool+transformer-fixed", "meta": True},
    "v17.bin.gz": {
        "version": 17,
        "kind": "transformer-learned+nested-transformer+transformer",
        "blocks": 3,
        "tip": "rms-spatial",
        "policies": 4,
    },
}
CONFIG = """
numAnalysisThreads = 1
numSearchThreads = 1
nnMaxBatchSize = 1
nnRandomize = false
rootPolicyOptimism = 0
reportAnalysisWinratesAs = SIDETOMOVE
logToStderr = false
"""
KOMI = 7


def empty_board():
    """KataGo's V7 features of an empty 9x9 board, black to move, Tromp-Taylor rules."""
    spatial, global_ = np.zeros((1, 22, 9, 9), np.float32), np.zeros((1, 19), np.float32)
    spatial[:, 0] = 1
    global_[0, [5, 6, 7, 8]] = -KOMI / 20, 1, 0.5, 1
    return Inputs(spatial, global_)


@pytest.mark.xdist_group("katago")
@pytest.mark.parametrize("file", ENGINE_NETS)
def test_katago_loads_it_and_agrees(katago, tmp_path, file):
    chosen = ENGINE_NETS[file]
    path, config = tmp_path / file, tmp_path / "analysis.cfg"
    net = random_net(seed=1, name="from-a-test", **chosen)
    write(net, path)
    config.write_text(f'{CONFIG}logDir = {tmp_path}\nopenclTunerFile = "{TUNER}"\n')
    query = {
        "id": "q",
        "moves": [],
        "rules": "tromp-taylor",
        "komi": KOMI,
        "boardXSize": 9,
        "boardYSize": 9,
        "maxVisits": 1,
        "includePolicy": True,
        "includeOwnership": True,
        "overrideSettings": {"humanSLProfile": "rank_9d"} if net.has_meta else {},
    }
    lines = [{"id": "models", "action": "query_models"}, query]
    done = subprocess.run(
        [katago, "analysis", "-model", path, "-config", config],
        input="".join(json.dumps(line) + "\n" for line in lines),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    answers = {answer["id"]: answer for answer in map(json.loads, done.stdout.splitlines())}
    (model,) = answers["models"]["models"]
    assert model["internalName"] == "from-a-test"
    assert model["version"] == net.version
    assert model["usesHumanSLProfile"] == net.has_meta
    winrate, policy = answers["q"]["rootInfo"]["rawWinrate"], np.array(answers["q"]["policy"])
    assert 0.1 < winrate < 0.9
    assert policy.max() < 0.5
    if not net.has_meta:
        ours = Reference(net, Shape(9, 9, masked=False))(empty_board())
        win, loss, _ = np.exp(ours.value[0])
        odds = np.exp(ours.policy[0])
        assert winrate == pytest.approx(win / (win + loss), abs=1e-5)
        np.testing.assert_allclose(policy, odds / odds.sum(), atol=1e-5)
        ownership = ours.ownership.reshape(-1)
        np.testing.assert_allclose(answers["q"]["ownership"], ownership, atol=1e-4)
