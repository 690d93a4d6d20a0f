"""Positions by board size: their files, and how they come into an artifact's tensors and out."""

import io
import pickle
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ModelError
from orchestrator.pipeline import positions
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.position_files import Rows, read_rows
from orchestrator.pipeline.tensors import Inputs, Outputs
from tests import golden_sets

lengths = st.integers(2, 19)


def batch(height, width, count=2, *, seed=0, meta=False):
    rng = np.random.default_rng(seed)
    spatial = rng.integers(0, 2, (count, 22, height, width)).astype(np.float32)
    spatial[:, 0] = 1
    globals_ = rng.standard_normal((count, 19)).astype(np.float32)
    metas = rng.standard_normal((count, 192)).astype(np.float32) if meta else None
    return positions.Batch(height, width, Inputs(spatial, globals_, metas))


def training_rows(*batches):
    """The batches as KataGo's training files have them."""
    planes = []
    for part in batches:
        frame = np.zeros((len(part), 22, 19, 19), np.uint8)
        frame[:, :, : part.height, : part.width] = part.inputs.spatial
        planes.append(frame.reshape(len(part), 22, 361))
    return {
        "binaryInputNCHWPacked": np.packbits(np.concatenate(planes), axis=2),
        "globalInputNC": np.concatenate([part.inputs.global_ for part in batches]),
    }


def same(one, other):
    pairs = zip(
        (one.inputs.spatial, one.inputs.global_, one.inputs.meta),
        (other.inputs.spatial, other.inputs.global_, other.inputs.meta),
        strict=True,
    )
    return (one.height, one.width) == (other.height, other.width) and all(
        (a is None and b is None) or np.array_equal(a, b) for a, b in pairs
    )


def test_training_rows_are_split_by_board(tmp_path):
    small, wide = batch(9, 9, 3), batch(7, 10, 2, seed=1)
    mixed = training_rows(wide, small, batch(19, 19, 1))
    np.savez(tmp_path / "rows.npz", **mixed)
    found = positions.read(tmp_path / "rows.npz")
    assert found.boards == {"10x7": 2, "9x9": 3, "19x19": 1}
    assert found.count == 6
    first, second, _ = found
    assert same(first, wide)
    assert same(second, small)


def test_rows_of_one_board_need_not_be_neighbours(tmp_path):
    one, other = batch(9, 9, 1), batch(9, 9, 1, seed=1)
    np.savez(tmp_path / "rows.npz", **training_rows(one, batch(13, 13, 1), other))
    found = positions.read(tmp_path / "rows.npz").batches[0]
    assert same(found.rows(slice(0, 1)), one)
    assert same(found.rows(slice(1, 2)), other)


def test_humansl_inputs_are_kept(tmp_path):
    part = batch(9, 9, 2, meta=True)
    metas = {"metadataInputNC": part.inputs.meta}
    np.savez(tmp_path / "rows.npz", **training_rows(part), **metas)
    assert same(positions.read(tmp_path / "rows.npz").batches[0], part)


@pytest.mark.parametrize("name", golden_sets.NAMES)
def test_golden_sets_are_read(name):
    path = golden_sets.FOLDER / f"{name}.npz"
    found = positions.read(path)
    assert found.boards == {"7x7": 26, "9x9": 23, "13x13": 6, "19x19": 45}
    with np.load(path) as arrays:
        assert np.array_equal(found.batches[1].inputs.spatial, arrays["spatial9"])


def test_an_engines_dump_has_width_before_height(tmp_path):
    part = batch(14, 10, 1)
    dumped = part.inputs.spatial.reshape(1, 22, 10, 14)  # the numbers row by row, as they are
    path = tmp_path / "dump.npz"
    np.savez(path, binaryInputNCHW=dumped, globalInputNC=part.inputs.global_)
    assert same(positions.read(path).batches[0], part)


@settings(max_examples=20, deadline=None)
@given(sizes=st.sets(st.tuples(lengths, lengths), min_size=1, max_size=3), meta=st.booleans())
def test_what_is_written_is_read_back(tmp_path_factory, sizes, meta):
    folder = tmp_path_factory.mktemp("written")
    parts = [batch(h, w, 1 + h % 3, meta=meta) for h, w in sizes]
    made = positions.of_rows([Rows(p.height, p.width, p.inputs) for p in parts])
    for name in ("one.npz", "two.npz"):
        positions.write(folder / name, made)
    read = positions.read(folder / "one.npz")
    assert (folder / "one.npz").read_bytes() == (folder / "two.npz").read_bytes()
    assert read.sha256 == made.sha256
    assert all(same(a, b) for a, b in zip(read, made, strict=True))


def test_the_digest_tells_positions_apart():
    digests = {
        positions.Positions((part,)).sha256
        for part in (batch(9, 9), batch(9, 9, seed=1), batch(9, 9, meta=True), batch(9, 9, 3))
    }
    assert len(digests) == 4


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_a_board_in_a_frame_comes_out_as_it_went_in(data):
    height, width = data.draw(lengths), data.draw(lengths)
    shape = Shape(data.draw(st.integers(height, 19)), data.draw(st.integers(width, 19)))
    part = batch(height, width)
    inputs = positions.framed(part, shape)
    assert inputs.spatial.shape == (2, 22, shape.height, shape.width)
    assert np.array_equal(inputs.spatial[:, :, :height, :width], part.inputs.spatial)
    assert inputs.spatial.sum() == part.inputs.spatial.sum()
    # A net that answers with what lies at each point, and with -1 for the pass.
    policy = np.concatenate([inputs.spatial[:, 1].reshape(2, -1), [[-1], [-1]]], axis=1)
    outputs = Outputs(policy, np.zeros((2, 3)), np.zeros((2, 6)), inputs.spatial[:, 2:3])
    found = positions.cropped(outputs, part, shape)
    assert np.array_equal(found.policy[:, :-1], part.inputs.spatial[:, 1].reshape(2, -1))
    assert np.array_equal(found.policy[:, -1], [-1, -1])
    assert np.array_equal(found.ownership, part.inputs.spatial[:, 2:3])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (Shape(13, 9), "the net is for any board up to 9x13, not 10x12"),
        (Shape(13, 13, masked=False), "the net is for boards of 13x13, not 10x12"),
    ],
)
def test_a_board_that_does_not_fit_is_refused(shape, message):
    with pytest.raises(ModelError, match=f"^{message}$"):
        positions.framed(batch(12, 10), shape)


def test_fitting_positions():
    made = positions.Positions((batch(9, 9), batch(14, 10), batch(19, 19)))
    assert list(made.fitting(Shape(19, 13)).boards) == ["9x9", "10x14"]
    assert list(made.fitting(Shape(9, 9, masked=False)).boards) == ["9x9"]
    assert list(made.fitting(None).boards) == ["9x9", "10x14", "19x19"]


def test_the_standard_positions():
    found = positions.standard()
    assert {"9x9", "10x14", "13x13", "19x19"} <= set(found.boards)
    assert 120 <= found.count <= 160
    for part in found:
        stones = part.inputs.spatial[:, 1:3].sum((1, 2, 3)) / (part.height * part.width)
        assert stones.min() < 0.15, part.board
        assert stones.max() > 0.35, part.board
    rules = np.concatenate([part.inputs.global_ for part in found])[:, [6, 7, 8, 9, 10, 11, 17]]
    assert len(np.unique(rules, axis=0)) >= 5
    assert positions.standard().sha256 == found.sha256


def test_halves_have_nothing_in_common():
    found = positions.standard()
    first, second = positions.halves(found)
    assert first.count + second.count == found.count
    assert abs(first.count - second.count) <= len(found)
    for one, other in zip(first, second, strict=True):
        rows = [{row.tobytes() for row in half.inputs.spatial} for half in (one, other)]
        assert not rows[0] & rows[1]


def test_what_is_among_others_is_taken_out():
    standard = positions.standard()
    first, second = positions.halves(standard)
    assert positions.without(standard, second).sha256 == first.sha256
    assert positions.without(first, second).sha256 == first.sha256
    with pytest.raises(ModelError, match="every position to calibrate with is also one to check"):
        positions.without(positions.with_profiles(first), standard)


class TestFilesThatAreWrong:
    """Each is one ModelError that names the file."""

    @pytest.fixture
    def refused(self, tmp_path):
        path = tmp_path / "positions.npz"

        def check(message, arrays=None, data=None):
            if data is None:
                np.savez(path, **arrays)
            else:
                path.write_bytes(data)
            with pytest.raises(ModelError, match=message) as caught:
                positions.read(path)
            assert str(path) in caught.value.message
            assert "\n" not in caught.value.message

        return check

    def test_no_such_file(self, tmp_path):
        with pytest.raises(ModelError, match=r"cannot read .*none.npz: No such file"):
            positions.read(tmp_path / "none.npz")

    @pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"(;GM[1])", b"PK" + bytes(4000)])
    def test_no_archive(self, refused, data):
        refused("is no .npz file", data=data)

    def test_nothing_in_it(self, refused):
        out = io.BytesIO()
        zipfile.ZipFile(out, "w").close()
        refused("holds no positions: it has nothing", data=out.getvalue())

    def test_other_arrays(self, refused):
        refused("holds no positions: it has x, y", {"x": np.zeros(2), "y": np.zeros(2)})

    def test_pickled_objects_are_not_loaded(self, refused):
        rows = np.array([pickle.dumps(1)], dtype=object)
        refused("is damaged: Object arrays", {"binaryInputNCHWPacked": rows})

    def test_no_globals(self, refused):
        rows = training_rows(batch(9, 9))
        del rows["globalInputNC"]
        refused("has no globalInputNC: it has binaryInputNCHWPacked", rows)

    @pytest.mark.parametrize(
        "planes",
        [
            np.zeros((0, 22, 46), np.uint8),
            np.zeros((2, 21, 46), np.uint8),
            np.zeros((2, 22, 46), np.float32),
            np.zeros((), np.uint8),
        ],
    )
    def test_planes_of_another_shape(self, refused, planes):
        rows = {"binaryInputNCHWPacked": planes, "globalInputNC": np.zeros((2, 19))}
        refused("was expected", rows)

    def test_numbers_that_are_not_finite(self, refused):
        rows = training_rows(batch(9, 9))
        rows["globalInputNC"][1, 3] = np.nan
        refused("not finite", rows)

    @pytest.mark.parametrize("at", [(0, slice(0, 3), 5), (1, 1, 18), (1, 18, 1)])
    def test_a_row_whose_board_is_no_rectangle(self, refused, at):
        row, y, x = at
        frame = np.zeros((2, 22, 19, 19), np.uint8)
        frame[:, 0, :9, :9] = 1
        frame[row, 0, y, x] ^= 1
        packed = np.packbits(frame.reshape(2, 22, 361), axis=2)
        arrays = {"binaryInputNCHWPacked": packed, "globalInputNC": np.zeros((2, 19))}
        refused(f"row {row} of .* has no board", arrays)

    @pytest.mark.parametrize(
        ("name", "planes"),
        [
            ("spatial9", np.ones((1, 22, 9, 8))),
            ("spatial9x10", np.ones((1, 22, 9, 9))),
            ("spatial9", np.full((1, 22, 9, 9), 0.5)),
            ("spatial9", np.zeros((1, 22, 9, 9))),
            ("spatial9", np.ones((1, 22, 10), np.uint8)),
            ("spatial99", np.ones((1, 22, 99, 99))),
            ("binaryInputNCHW", np.ones((1, 22, 81))),
            ("binaryInputNCHW", np.ones((1, 21, 9, 9))),
        ],
    )
    def test_planes_that_are_none(self, refused, name, planes):
        size = name.removeprefix("spatial")
        globals_ = "globalInputNC" if "NCHW" in name else f"global{size}"
        refused(r"expected|bytes a plane|not \[N, 22", {name: planes, globals_: np.zeros((1, 19))})

    def test_a_file_that_was_cut(self, refused, tmp_path):
        np.savez_compressed(tmp_path / "whole.npz", **training_rows(batch(19, 19, 40)))
        data = bytearray((tmp_path / "whole.npz").read_bytes())
        data[300:400] = bytes(100)
        refused("is damaged", data=bytes(data))

    def test_a_header_that_does_not_parse(self, refused):
        out = io.BytesIO()
        header = b"\x93NUMPY\x01\x00\x08\x00{(((   \n"
        with zipfile.ZipFile(out, "w") as archive:
            archive.writestr("binaryInputNCHWPacked.npy", header)
        refused("is damaged", data=out.getvalue())

    def test_more_rows_than_are_wanted(self, tmp_path):
        np.savez(tmp_path / "rows.npz", **training_rows(batch(9, 9, 4)))
        with pytest.raises(ModelError, match="holds 4 positions, more than 3"):
            read_rows(tmp_path / "rows.npz", 3)

    def test_rows_beyond_the_limit_are_not_unpacked(self, tmp_path):
        rows = training_rows(batch(9, 9))
        many = {name: np.repeat(values, 20_000, axis=0) for name, values in rows.items()}
        np.savez_compressed(tmp_path / "rows.npz", **many)
        tracemalloc.start()
        with pytest.raises(ModelError, match="holds 40000 positions, more than 20000"):
            positions.read(tmp_path / "rows.npz")
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 20

    def test_planes_that_are_too_many_to_look_at(self, tmp_path):
        planes = {"spatial9": np.zeros((900, 22, 9, 9)), "global9": np.zeros((900, 19))}
        np.savez_compressed(tmp_path / "rows.npz", **planes)
        with pytest.raises(ModelError, match=r"spatial9 in .* is larger than"):
            read_rows(tmp_path / "rows.npz", 3)
