"""INT8 files: their size, what they answer, that they come out the same, and how one is chosen."""

from dataclasses import replace

import numpy as np
import onnx
import pytest

from orchestrator.errors import ModelError
from orchestrator.pipeline import accuracy, gate, onnx_graph, positions, runners
from orchestrator.pipeline.interpreters.numpy import NumpyOperations
from orchestrator.pipeline.katago.net import Conv
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.katago.random_net import random_net
from orchestrator.pipeline.katago.reader import read
from orchestrator.pipeline.positions import Positions
from orchestrator.pipeline.quantize import modes, search, sensitivity, weights
from orchestrator.pipeline.quantize.int8 import write_int8
from orchestrator.pipeline.quantize.layers import ends, layers, pooled
from orchestrator.pipeline.tensors import OUTPUTS
from tests import nets

SHAPE = Shape(9, 9)
KINDS = ("ordinary+gpool", "nested+transformer-learned", "gpool+transformer-fixed")


def boards(most, count):
    """Real positions on boards up to that, so many of each."""
    fitting = positions.standard().fitting(Shape(most, most))
    return Positions(tuple(batch.rows(slice(count)) for batch in fitting))


@pytest.fixture(scope="module")
def halves():
    return positions.halves(boards(9, 16))


@pytest.fixture(scope="module")
def tiny():
    return random_net(seed=3, version=15, kind=KINDS[1], channels=32, blocks=2)


def source(net, halves, shape=SHAPE, **options):
    return modes.Source(net, shape, halves[0], **options)


def errors(net, path, check):
    runner = runners.OnnxRuntime(path, SHAPE, threads=1)
    return accuracy.compare(runners.reference(net), runner, check, net)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("group", [None, 8])
def test_a_weights_only_file_computes_with_the_weights_that_it_stores(kind, group, tmp_path):
    net = random_net(seed=5, version=15, kind=kind, channels=16)
    stored = weights.nearest(net, kept=ends(net), group=group)
    onnx_graph.write(net, tmp_path / "net.onnx", SHAPE, "fp32", stored)
    rounded = {}
    for name, layer in layers(net).items():
        numbers = stored[name].numbers.astype(np.float32)
        if stored[name].scale is not None:
            numbers = numbers * stored[name].scale
        if layer.weights.ndim == 4:
            out, *rest = layer.weights.transpose(3, 2, 0, 1).shape
            numbers = numbers.reshape(out, *rest).transpose(2, 3, 1, 0)
        rounded[name] = numbers.reshape(layer.weights.shape)
        far = np.abs(rounded[name] - layer.weights).max()
        assert far <= np.abs(layer.weights).max() / 250
    batch = boards(9, 4).batches[-1]
    expected = sensitivity.Changed(net, 0.0, rounded)(batch.inputs)
    found = runners.OnnxRuntime(tmp_path / "net.onnx", SHAPE, threads=1)(batch.inputs)
    for name in OUTPUTS:
        a, b = getattr(expected, name), getattr(found, name)
        assert np.abs(a - b).max() <= 1e-4 * max(1, np.abs(a).max()), name


def test_small_weights_are_folded_when_the_file_is_loaded(tiny, tmp_path):
    stored = weights.nearest(tiny, kept=ends(tiny), group=8)
    model = onnx_graph.build(tiny, SHAPE, "fp32", stored)
    onnx.checker.check_model(model, full_check=True)
    full = onnx_graph.build(tiny, SHAPE)
    optimized = []
    for number, each in enumerate((model, full)):
        path = tmp_path / f"{number}.onnx"
        path.write_bytes(each.SerializeToString())
        options = runners.need("onnxruntime", "onnx").SessionOptions()
        options.optimized_model_filepath, options.log_severity_level = str(path), 4
        runners.need("onnxruntime", "onnx").InferenceSession(path.read_bytes(), options)
        optimized.append(sorted(node.op_type for node in onnx.load(path).graph.node))
    assert optimized[0] == optimized[1]


def test_inputs_of_layers_are_looked_at_on_the_board_alone():
    rng = np.random.default_rng(0)
    board = np.zeros((3, 4, 6), bool)
    board[:, :3, :5] = True
    look = weights._Rounding(board, frozenset(), None, rng, lambda done: None)
    conv = Conv("conv", rng.normal(size=(3, 3, 2, 4)).astype(np.float32), (2, 1))
    x = rng.normal(size=(3, 2, 4, 6)).astype(np.float32) * board[:, None]
    patches, _ = look._patches(x, x, conv)
    expected = NumpyOperations().conv(x, conv).transpose(0, 2, 3, 1)[board]
    assert patches @ conv.weights.reshape(-1, 4) == pytest.approx(expected, abs=1e-5)
    vectors, _ = look._vectors(*[x.reshape(3, 2, 24).transpose(0, 2, 1)] * 2)
    assert np.array_equal(vectors, x.transpose(0, 2, 3, 1)[board])
    pooled_rows = rng.normal(size=(3, 6))
    assert look._vectors(pooled_rows, pooled_rows)[0] is pooled_rows


def test_compensation_is_nearer_to_the_net_than_rounding_to_the_nearest(halves, tmp_path):
    net = random_net(seed=8, version=15, kind=KINDS[2], channels=32, blocks=3)
    kept = ends(net) | pooled(net)
    found = []
    for stored in (
        weights.nearest(net, kept=kept),
        weights.compensated(net, halves[0], kept=kept, group=None),
    ):
        onnx_graph.write(net, tmp_path / "net.onnx", SHAPE, "fp32", stored)
        found.append(errors(net, tmp_path / "net.onnx", halves[1]).metrics["policy_kl"].mean)
    assert found[1] < 0.8 * found[0]


def test_the_real_net_passes_the_gate_at_less_than_30_percent(tmp_path):
    net, path = read(nets.real_net(nets.B6C96)), tmp_path / "net.onnx"
    calibration, check = positions.halves(boards(9, 24))
    found = write_int8(net, path, SHAPE, calibration=calibration, check=check)
    assert gate.judge(errors(net, path, check)).passed
    assert path.stat().st_size < 0.30 * len(onnx_graph.build(net, SHAPE).SerializeToString())
    assert found.tried[-1].verdict.passed
    assert found.document()["mode"] == found.tried[-1].mode


@pytest.mark.parametrize("mode", modes.MODES)
def test_every_mode_writes_the_same_valid_file_twice(mode, tiny, halves, tmp_path):
    kept = [modes.write(source(tiny, halves), tmp_path / name, mode) for name in ("a", "b")]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert kept[0] == kept[1]
    assert ends(tiny) <= set(kept[0])
    model = onnx.load(tmp_path / "a")
    onnx.checker.check_model(model, full_check=True)
    assert list(model.metadata_props) == list(onnx_graph.build(tiny, SHAPE).metadata_props)
    assert not list(tmp_path.glob("a.*"))
    report = errors(tiny, tmp_path / "a", halves[1])
    assert report.not_finite == 0
    assert report.metrics["winrate"].mean < 0.05


def test_static_files_compute_blocks_with_integers(tiny, halves, tmp_path):
    kept = modes.write(source(tiny, halves), tmp_path / "net.onnx", "static-minmax")
    model = onnx.load(tmp_path / "net.onnx")
    made_by = {output: node.op_type for node in model.graph.node for output in node.output}
    for node in model.graph.node:
        if node.name in layers(tiny):
            integers = node.name not in kept
            reads = {made_by.get(name) for name in node.input}
            assert (reads == {"DequantizeLinear"}) == integers, node.name


def test_the_budget_holds_and_is_used_for_what_suffers_most(tiny, halves, tmp_path, monkeypatch):
    monkeypatch.setattr(modes, "BUDGET", 0.6)
    plain = modes.write(source(tiny, halves), tmp_path / "plain", "weights")
    mixed = modes.write(source(tiny, halves), tmp_path / "mixed", "weights-mixed")
    full = onnx_graph.build(tiny, SHAPE).ByteSize()
    assert set(plain) < set(mixed)
    sizes = [(tmp_path / name).stat().st_size / full for name in ("plain", "mixed")]
    assert sizes[0] < sizes[1] <= 0.6


def test_what_a_layer_costs_grows_with_what_it_is_rounded_to(tiny, halves):
    kept = ends(tiny)
    coarse = sensitivity.sensitivity(tiny, halves[0], kept=kept, group=None)
    fine = sensitivity.sensitivity(tiny, halves[0], kept=kept, group=4)
    assert coarse.keys() == fine.keys() == layers(tiny).keys() - kept
    assert all(cost > 0 for cost in coarse.values())
    both = sensitivity.sensitivity(tiny, halves[0], kept=kept, group=None, activations=True)
    assert sum(both.values()) > sum(coarse.values())
    assert sum(fine.values()) < sum(coarse.values())


def test_a_search_ends_at_the_first_that_passes(tiny, halves, tmp_path):
    path = tmp_path / "net.onnx"
    found = search.search(source(tiny, halves), path, halves[1])
    assert [trial.mode for trial in found.tried] == list(modes.WEIGHTS[: len(found.tried)])
    assert [trial.verdict.passed for trial in found.tried[:-1]] == [False] * len(found.tried[:-1])
    assert list(tmp_path.iterdir()) == [path]


def test_a_search_without_success_gives_what_comes_closest(tiny, halves, tmp_path, monkeypatch):
    strict = {name: gate.Limit(1e-9, 1e-9) for name in gate.FP16_LIMITS}
    monkeypatch.setattr(
        search.gate, "judge", lambda report, judge=gate.judge: judge(report, strict)
    )
    path = tmp_path / "net.onnx"
    tries = ("weights-groups", "static-minmax", "weights-nearest")
    found = search.search(source(tiny, halves), path, halves[1], tries=tries)
    assert [trial.mode for trial in found.tried] == list(tries)
    assert found.chosen == min(found.tried, key=lambda trial: trial.worst)
    again = tmp_path / "again.onnx"
    modes.write(source(tiny, halves), again, found.chosen.mode)
    assert path.read_bytes() == again.read_bytes()
    assert "fail" in {trial.document()["gate"] for trial in found.tried}


def test_as_many_layers_as_pass_compute_with_integers(tiny, halves, tmp_path):
    path = tmp_path / "net.onnx"
    options = {"calibration": halves[0], "check": halves[1], "mode": "static-mixed"}
    found = write_int8(tiny, path, SHAPE, **options)
    assert gate.judge(errors(tiny, path, halves[1])).passed
    integers = [len(layers(tiny)) - len(trial.kept) for trial in found.tried]
    passing = [n for n, trial in zip(integers, found.tried, strict=True) if trial.verdict.passed]
    failing = [n for n, trial in zip(integers, found.tried, strict=True) if n not in passing]
    assert len(layers(tiny)) - len(found.kept) == max(passing)
    assert not failing or min(failing) == max(passing) + 1
    assert ends(tiny) <= set(found.kept)


@pytest.mark.parametrize(("channels", "size"), [(192, 64), (96, 48), (40, 40), (97, 97), (8, 8)])
def test_groups_divide_the_channels_and_are_not_too_small(channels, size):
    conv = Conv("conv", np.ones((3, 3, channels, 2), np.float32))
    assert weights.group_of(conv, 64) == size
    assert weights.group_of(conv, None) is None


def test_layers_of_one_name_are_told(tiny):
    twin = replace(tiny.policy.g1_conv, name=tiny.policy.p1_conv.name)
    twins = replace(tiny, policy=replace(tiny.policy, g1_conv=twin))
    with pytest.raises(ModelError, match="two layers called"):
        layers(twins)


def test_progress_is_told(tiny, halves, tmp_path):
    told = []
    given = source(tiny, halves, progress=lambda *said: told.append(said))
    for mode in ("weights", "static-percentile"):
        modes.write(given, tmp_path / "net.onnx", mode)
    whats = {what for what, _, _ in told}
    assert whats == {"rounding", "calibrating by percentile"}
    assert all(0 < done <= total for _, done, total in told)
    assert ("rounding", len(layers(tiny)), len(layers(tiny))) in told


def test_bad_requests_are_told(tiny, halves, tmp_path):
    with pytest.raises(ModelError, match="no INT8 mode is called best"):
        modes.write(source(tiny, halves), tmp_path / "net.onnx", "best")
    exact = Shape(13, 13, masked=False)
    with pytest.raises(ModelError, match="no calibration row"):
        modes.write(source(tiny, halves, exact), tmp_path / "net.onnx", "static-minmax")
    with pytest.raises(ModelError, match="no position"):
        search.search(source(tiny, halves, exact), tmp_path / "net.onnx", halves[1])


def test_weights_of_a_humansl_net_and_of_an_optimistic_policy(halves, tmp_path):
    net = random_net(seed=2, version=15, kind="ordinary", channels=16, meta=True)
    meta = np.random.default_rng(0).random((len(halves[0].batches[-1]), 192), np.float32)
    batch = halves[0].batches[-1]
    batch = replace(batch, inputs=replace(batch.inputs, meta=meta))
    shape = replace(SHAPE, optimism=0.5)
    rows = Positions((batch,))
    for mode in ("weights", "static-minmax"):
        path = tmp_path / f"{mode}.onnx"
        modes.write(modes.Source(net, shape, rows), path, mode)
        runner = runners.OnnxRuntime(path, shape, threads=1)
        report = accuracy.compare(runners.reference(net, optimism=0.5), runner, rows, net)
        assert report.metrics["top_policy"].mean < 0.02
