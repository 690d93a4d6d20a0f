"""Whatever a file says, the reader gives a net or one clear error, in little memory and time."""

from __future__ import annotations

import gzip
import os
import re
import time
import tracemalloc
import zlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import ModelError
from orchestrator.pipeline.katago.net import Net
from orchestrator.pipeline.katago.random_net import random_net
from orchestrator.pipeline.katago.reader import read
from orchestrator.pipeline.katago.writer import write

MIB = 2**20
EVERYTHING = "gpool+nested+transformer-learned+transformer-fixed"


@pytest.fixture(scope="session")
def contents(tmp_path_factory):
    """The bytes of one net with every kind of record, by suffix, not packed."""
    folder = tmp_path_factory.mktemp("net")
    net = random_net(
        seed=1, version=17, kind=EVERYTHING, blocks=4, channels=8, tip="rms", meta=True
    )
    for suffix in (".bin", ".txt"):
        write(net, folder / f"net{suffix}")
    return {suffix: (folder / f"net{suffix}").read_bytes() for suffix in (".bin", ".txt")}


SMALL = {"seed": 1, "version": 17, "kind": "transformer-learned", "channels": 8, "blocks": 1}


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """The bytes of a net of a few thousand weights, not packed."""
    path = tmp_path_factory.mktemp("net") / "net.bin"
    write(random_net(**SMALL), path)
    return path.read_bytes()


@pytest.fixture(scope="session")
def small_text(tmp_path_factory):
    """The same as text, the weights of a layer on one line."""
    path = tmp_path_factory.mktemp("net") / "net.txt"
    write(random_net(**SMALL), path)
    return path.read_bytes()


@pytest.fixture(scope="session")
def reads(tmp_path_factory):
    """`reads(data, suffix)`: the net that these bytes are, or the error."""
    folder = tmp_path_factory.mktemp("hostile")

    def run(data, suffix=".bin"):
        path = folder / f"hostile{suffix}"
        path.write_bytes(data)
        try:
            return read(path)
        except ModelError as exc:
            return exc

    return run


def refused(found, message):
    assert isinstance(found, ModelError), "was read"
    assert found.message.startswith("hostile.")
    assert found.hint
    assert re.search(message, found.message), found.message


# What is cut short or goes on.


@pytest.mark.parametrize("suffix", [".bin", ".txt"])
def test_cut_short_at_every_word(reads, small, small_text, suffix):
    data = small if suffix == ".bin" else small_text
    ends = [match.end() for match in re.finditer(rb"\n|@BIN@", data)]
    for end in [0, 1, *ends[:-1]]:
        refused(reads(data[:end], suffix), "byte [0-9]+: .*(the file ends|found|hold)")


@pytest.mark.parametrize("share", [0, 0.001, 0.5, 0.99, 0.9999])
def test_a_packed_file_that_is_cut_short(reads, contents, share):
    packed = gzip.compress(contents[".bin"])
    refused(reads(packed[: int(share * len(packed))], ".bin.gz"), "cut short")


def test_a_packed_file_whose_checksum_is_cut_off_or_wrong(reads, contents):
    packed = gzip.compress(contents[".bin"])
    refused(reads(packed[:-8], ".bin.gz"), "cut short")
    refused(reads(packed[:-8] + bytes(8), ".bin.gz"), "incorrect data check")


@pytest.mark.parametrize("rest", [b"x", b"\n\n0\n", b"\0", b"@BIN@", b" " * 100_000 + b"!"])
def test_what_goes_on_after_the_net(reads, contents, rest):
    for suffix in (".bin", ".txt"):
        refused(reads(contents[suffix] + rest, suffix), "the net ends here, but the file goes on")
    packed = gzip.compress(contents[".bin"])
    refused(reads(gzip.compress(contents[".bin"] + rest), ".bin.gz"), "the file goes on")
    refused(reads(packed + rest, ".bin.gz"), "the file goes on after what was packed")
    refused(reads(packed + packed, ".bin.gz"), "the file goes on after what was packed")


def test_whitespace_after_the_net_is_none_of_it(reads, contents):
    assert isinstance(reads(contents[".bin"] + b" \r\n\t" * 50_000), Net)


# What is no net.


def test_names_that_no_net_has(tmp_path):
    (tmp_path / "folder.bin.gz").mkdir()
    os.mkfifo(tmp_path / "pipe.bin.gz")
    (tmp_path / "net.onnx").write_bytes(b"")
    for name, message in (
        ("missing.bin.gz", "no file"),
        ("folder.bin.gz", "no file"),
        ("pipe.bin.gz", "no file"),
        (f"{'x' * 300}.bin.gz", "File name too long"),
        ("missing/net.bin", "no file"),
        ("net.onnx", "does not say what kind"),
    ):
        with pytest.raises(ModelError, match=message):
            read(tmp_path / name)


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"PK\x03\x04", b"\x1f\x8b", pytest.param(os.urandom(1000), id="noise")]
)
@pytest.mark.parametrize("suffix", [".bin.gz", ".bin", ".txt.gz", ".txt", ".gz"])
def test_files_of_something_else(reads, data, suffix):
    assert isinstance(reads(data, suffix), ModelError)


def test_a_net_under_the_name_of_the_other_kind(reads, contents):
    found = reads(contents[".txt"], ".bin")
    refused(found, "convolution 'stem', byte .*expected a block of floats")
    assert "name it .txt" in found.hint
    found = reads(contents[".bin"], ".txt")
    refused(found, "convolution 'stem', byte .*expected floats as text, found b'@BIN@")
    assert "name it .bin" in found.hint
    refused(reads(contents[".bin"], ".bin.gz"), "cannot be unpacked: .*incorrect header")


# Sizes and words that lie. The left side stands once in the file.

LIES = {
    "no version": ("random\n17\n", "random\nx\n", "expected the version"),
    "an old version": ("random\n17\n", "random\n7\n", "is of version 7"),
    "a future version": ("random\n17\n", "random\n18\n", "is of version 18"),
    "a negative version": ("random\n17\n", "random\n-8\n", "expected the version"),
    "other planes": ("17\n22\n19\n", "17\n13\n19\n", "spatial inputs to be 22, found 13"),
    "other globals": ("17\n22\n19\n", "17\n22\n18\n", "global inputs to be 19, found 18"),
    "a factor of 0": ("40.0\n0.25", "40.0\n0", "a factor of the outputs, .* found '0'"),
    "a factor of NaN": ("40.0\n0.25", "40.0\nnan", "found 'nan'"),
    "an infinite factor": ("40.0\n0.25", "40.0\n1e999", "found '1e999'"),
    "a newer meta encoder": ("150.0\n1\n0", "150.0\n2\n0", "version of the meta encoder"),
    "an unknown option": ("150.0\n1\n0\n0", "150.0\n1\n0\n1", "unused number to be 0, found 1"),
    "no blocks": ("trunk\n6\n8\n", "trunk\n0\n8\n", "number of blocks, 1 to 4096, found '0'"),
    "too few blocks": ("trunk\n6\n8\n", "trunk\n5\n8\n", "batch norm|RMS norm"),
    "too many blocks": ("trunk\n6\n8\n", "trunk\n7\n8\n", "a block of unknown kind 'tip'"),
    "countless blocks": ("trunk\n6\n8\n", "trunk\n99999999999\n8\n", "number of blocks"),
    "no channels": ("trunk\n6\n8\n", "trunk\n6\n0\n", "the trunk's channels"),
    "negative channels": ("trunk\n6\n8\n", "trunk\n6\n-8\n", "the trunk's channels"),
    "a fraction": ("trunk\n6\n8\n", "trunk\n6\n8.0\n", "the trunk's channels"),
    "underscores": ("trunk\n6\n8\n", "trunk\n6\n0_8\n", "the trunk's channels"),
    "channels that differ": (
        "trunk\n6\n8\n",
        "trunk\n6\n16\n",
        "output channels to be 16, found 8",
    ),
    "an unknown last norm": ("4\n4\n4\n1\n0", "4\n4\n4\n2\n0", "the trunk's last norm"),
    "the other last norm": ("4\n4\n4\n1\n0", "4\n4\n4\n0\n0", "batch norm 'tip'.*"),
    "an even kernel": ("stem\n3\n3\n", "stem\n3\n4\n", "odd sizes, found 3 x 4"),
    "a huge kernel": ("stem\n3\n3\n", "stem\n3\n99\n", "the kernel, 1 to 37, found '99'"),
    "no dilation": ("stem\n3\n3\n22\n8\n1\n1", "stem\n3\n3\n22\n8\n1\n0", "the dilation"),
    "a wrong input": ("stem\n3\n3\n22", "stem\n3\n3\n21", "input channels to be 22, found 21"),
    "other meta inputs": ("meta\n192\n", "meta\n191\n", "meta inputs to be 192, found 191"),
    "an unknown block": (
        "gpool_block\nblock0\n",
        "dilated_block\nblock0\n",
        "unknown kind 'dilated",
    ),
    "an unknown activation": (
        "block0_pre_act\nACTIVATION_SILU",
        "block0_pre_act\nACTIVATION_GELU",
        "activation 'block0_pre_act', .*unknown kind 'ACTIVATION_GELU'",
    ),
    "an epsilon of 0": ("block0_pre_norm\n8\n0.001", "block0_pre_norm\n8\n0.0", "epsilon"),
    "a negative epsilon": ("block0_pre_norm\n8\n0.001", "block0_pre_norm\n8\n-1", "epsilon"),
    "an odd flag": (
        "block0_pre_norm\n8\n0.001\n1",
        "block0_pre_norm\n8\n0.001\n2",
        "whether it scales, 0 to 1, found '2'",
    ),
    "a pooled matrix": ("block0_gpool_bias\n12", "block0_gpool_bias\n4", "to be 12, found 4"),
    "no inner blocks": ("block1\n2\nblock1_pre", "block1\n0\nblock1_pre", "inner blocks"),
    "heads that share unevenly": (
        "block2\n4\n2\n8\n4\n",
        "block2\n4\n3\n8\n4\n",
        "attention block 'block2', .*4 heads cannot share 3",
    ),
    "other heads": ("block2\n4\n2\n8\n4\n", "block2\n8\n2\n8\n4\n", "output channels to be 64"),
    "other dimensions": ("block2\n4\n2\n8\n4\n", "block2\n4\n2\n8\n5\n", "to be 10, found 8"),
    "an odd rope": ("block2_rope\n2\n4\n2\n", "block2_rope\n2\n3\n2\n", "pairs to be 4, found 3"),
    "a rope of other heads": ("block2_rope\n2\n4\n", "block2_rope\n4\n4\n", "to be 2, found 4"),
    "no theta": ("block4_rope\n100.0\n", "block4_rope\n0\n", "theta"),
    "another width": ("block3\n8\n16\n1\n", "block3\n16\n16\n1\n", "channels to be 8, found 16"),
    "a gate that is missing": ("block3\n8\n16\n1\n", "block3\n8\n16\n0\n", "matrix 'block3_gate'"),
    "groups of channels": ("tip\n8\n1e-06\n0\n0\n", "tip\n8\n1e-06\n0\n2\n", "norms groups of"),
    "three policies": ("policy\n2\n0\n", "policy\n3\n0\n", "expected 2 or 4 policies, found 3"),
    "other policies": ("policy\n2\n0\n", "policy\n4\n0\n", "output channels to be 4, found 2"),
    "a four-way result": ("v3\n8\n3\n", "v3\n8\n4\n", "output channels to be 3, found 4"),
    "two ownerships": ("ownership\n1\n1\n8\n1\n", "ownership\n1\n1\n8\n2\n", "to be 1, found 2"),
}


@pytest.mark.parametrize("lie", LIES)
def test_sizes_and_words_that_lie(reads, contents, lie):
    old, new, message = LIES[lie]
    data = contents[".bin"]
    # Between two words no float can be mistaken for them.
    assert data.count(b"\n" + old.encode()) + data.startswith(old.encode()) == 1
    refused(reads(data.replace(old.encode(), new.encode(), 1)), message)


@pytest.mark.parametrize("weight", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers(reads, contents, weight):
    sizes = b"p2\n1\n1\n8\n2\n1\n1\n@BIN@"
    start = contents[".bin"].index(sizes) + len(sizes) + 4
    data = bytearray(contents[".bin"])
    data[start : start + 4] = np.float32(weight).tobytes()
    end = start - 4 + 4 * 16
    refused(reads(bytes(data)), f"'p2', byte {end}: holds a weight that is NaN or infinite")


@pytest.mark.parametrize(
    "word", ["nan", "inf", "-Infinity", "0x10", "1_0", "1,5", "--1", "1e", "."]
)
def test_words_that_are_no_floats(reads, contents, word):
    first = re.search(rb"stem\n3\n3\n22\n8\n1\n1\n(\S+)", contents[".txt"])
    data = contents[".txt"][: first.start(1)] + word.encode() + contents[".txt"][first.end(1) :]
    refused(reads(data, ".txt"), "'stem', byte .*expected floats as text")


def test_a_float_too_big_for_its_kind(reads, contents):
    first = re.search(rb"stem\n3\n3\n22\n8\n1\n1\n(\S+)", contents[".txt"])
    data = contents[".txt"][: first.start(1)] + b"1e39" + contents[".txt"][first.end(1) :]
    refused(reads(data, ".txt"), "'stem', byte .*NaN or infinite")


def test_a_gap_before_floats(reads, contents):
    mark, kernel = b"@BIN@", b"stem\n3\n3\n22\n8\n1\n1\n"
    for length, fits in ((100, True), (101, False)):
        data = contents[".bin"].replace(kernel + mark, kernel[:-1] + b" " * length + mark)
        assert isinstance(reads(data), Net if fits else ModelError)
    refused(reads(contents[".bin"].replace(kernel + mark, kernel + b"x" + mark)), "block of floats")
    refused(reads(contents[".bin"].replace(kernel + mark, kernel + b"@BIN!")), "before a block")


def test_words_that_are_no_words(reads):
    refused(reads("ネット\n17\n".encode()), "no ASCII text")
    refused(reads(b"net\x00\n17\n"), "no ASCII text")
    refused(reads(b"x" * 1001 + b"\n17\n"), "a word longer than 1000 bytes")


def test_blocks_inside_blocks_without_end(reads, contents):
    """Each level is well-formed, so nothing but the depth is wrong."""
    data = contents[".bin"]
    inner = data.index(b"ordinary_block\nblock1.0\n")
    norm = data[data.index(b"block1_post_norm\n") : data.index(b"block1_post_act\n")]
    level = b"nested_bottleneck_block\ndeep\n1\n" + norm + b"act\nACTIVATION_SILU\n"
    level += b"conv\n1\n1\n4\n4\n1\n1\n@BIN@" + np.ones((4, 4), "<f4").tobytes() + b"\n"
    refused(reads(data[:inner] + level * 7), "the file ends")
    refused(reads(data[:inner] + level * 8), "blocks are nested more than 8 deep")
    refused(reads(data[:inner] + level * 2000), "blocks are nested more than 8 deep")


def test_blocks_without_number(tmp_path):
    net = random_net(seed=1, kind="nested-transformer", channels=8, blocks=1)
    (nested,) = net.trunk.blocks
    many = replace(nested, blocks=nested.blocks[1:] * 100)
    write(replace(net, trunk=replace(net.trunk, blocks=(many,) * 41)), tmp_path / "net.bin")
    with pytest.raises(ModelError, match="there are more than 4096 blocks"):
        read(tmp_path / "net.bin")


# Memory and time.

HEAD = b"net\n8\n22\n19\ntrunk\n1\n%d\n8\n8\n8\n8\nstem\n37\n37\n22\n%d\n1\n1\n@BIN@"


BOMBS = {
    "floats that are there": (".bin.gz", HEAD % (1000, 1000), b"\0"),
    "floats that are not all there": (".bin.gz", HEAD % (600, 600), b"\0"),
    "more floats than fit a computer": (".bin.gz", HEAD % (1_000_000, 1_000_000), b"\0"),
    "floats as text": (".txt.gz", HEAD[:-5] % (200, 200), b" 0." + b"0" * 97),
    "whitespace": (".bin.gz", b"net\n", b" "),
    "a word": (".bin.gz", b"net", b"t"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_small_file_that_asks_for_much(reads, bomb):
    suffix, head, filling = BOMBS[bomb]
    packed = zlib.compress(head + filling * (40 * MIB // len(filling)), 1, wbits=31)
    assert len(packed) < MIB // 2
    tracemalloc.start()
    started = time.process_time()
    found = reads(packed, suffix)
    took = time.process_time() - started
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    refused(found, "more than [0-9]+ bytes|longer than")
    assert peak < 48 * MIB
    assert took < 10


def test_whitespace_without_end_after_the_net(reads, small):
    packed = zlib.compress(small + b" " * 40 * MIB, 1, wbits=31)
    refused(reads(packed, ".bin.gz"), "unpacks to more than [0-9]+ bytes")


def test_a_plain_file_gives_no_more_floats_than_it_has(reads):
    tracemalloc.start()
    refused(
        reads(HEAD % (1000, 1000) + bytes(1000)), "30118000 floats, more than 1006 bytes can hold"
    )
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < MIB


# Chance.


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_any_byte_may_be_wrong(reads, small, data):
    changed = bytearray(small)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(small) - 1))] = data.draw(st.integers(0, 255))
    assert isinstance(reads(bytes(changed)), (Net, ModelError))


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_byte_of_a_packed_file_may_be_wrong(reads, small, data):
    changed = bytearray(gzip.compress(small, mtime=0))
    changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert isinstance(reads(bytes(changed), ".bin.gz"), (Net, ModelError))


WORDS = ["0", "-1", "1", "2", "3", "1000000", "99999999999", "1e9", "nan", "x", "+", "1_0", "٣"]


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_any_word_may_be_another(reads, small_text, data):
    words = small_text.split(b"\n")
    number = data.draw(st.integers(0, len(words) - 2))
    words[number] = data.draw(st.sampled_from(WORDS)).encode()
    assert isinstance(reads(b"\n".join(words), ".txt"), (Net, ModelError))


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200))
def test_anything_may_follow_the_version(reads, rest):
    assert isinstance(reads(b"net\n17\n22\n19\n" + rest), ModelError)
