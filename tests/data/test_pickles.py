"""Reading pickles without running them: plain data come through, anything else is refused by name."""

from __future__ import annotations

import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risctl.data.pickles import parse_pickle, read_pickle
from risctl.errors import DataError

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=300)
keys = st.integers() | st.text() | st.tuples(st.integers(), st.text())
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(keys, inner, max_size=5)
        | st.tuples(inner)
        | st.tuples(inner, inner, inner, inner)
    ),
    max_leaves=20,
)


@given(tree=trees, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
@settings(max_examples=200, deadline=None)
def test_plain_data_come_back_as_the_standard_library_reads_them(tree: Any, protocol: int) -> None:
    data = pickle.dumps(tree, protocol=protocol)
    if protocol < 3 and (b"_codecs\nencode\n" in data or b"__builtin__\nbytes\n" in data):
        # Python 3's bytes are no plain data to Python 2, but a call.
        with pytest.raises(DataError, match=r"_codecs\.encode|__builtin__\.bytes"):
            parse_pickle(data, source="x")
    else:
        assert parse_pickle(data, source="x") == tree


@pytest.mark.parametrize("protocol", [4, 5])
def test_sets_come_back(protocol: int) -> None:
    tree = {"a": {1, 2}, "b": frozenset({"x"})}
    assert parse_pickle(pickle.dumps(tree, protocol=protocol), source="x") == tree


def test_shared_and_self_containing_lists_keep_their_identity() -> None:
    shared = [1]
    loop: list[Any] = [shared, shared]
    loop.append(loop)
    found = parse_pickle(pickle.dumps(loop, protocol=2), source="x")
    assert found[0] is found[1] and found[2] is found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"(lp0\nS'caf\\xc3\\xa9'\np1\na.", ["café"]),  # Python 2, protocol 0, UTF-8
        (b"(lp0\nS'caf\\xe9'\np1\na.", ["café"]),  # Latin-1
        (b"S'it\\'s \\\\ \\n'\n.", "it's \\ \n"),
        (b'S"it\'s"\n.', "it's"),
        (b"\x80\x02]q\x00U\x03manq\x01a.", ["man"]),  # protocol 2, SHORT_BINSTRING
        (b"\x80\x02T\x05\x00\x00\x00caf\xc3\xa9.", "café"),
        (b"\x80\x02X\x05\x00\x00\x00caf\xc3\xa9.", "café"),
        (b"V\\u00e9\n.", "é"),
        (b"(dp0\nS'ref_id'\np1\nI7\nsS'big'\nL12345678901234567890L\nsS'on'\nI01\ns.", None),
    ],
)
def test_python_2_pickles_load(data: bytes, expected: Any) -> None:
    found = parse_pickle(data, source="x")
    assert found == (expected if expected is not None else {"ref_id": 7, "big": 12345678901234567890, "on": True})


class _Runs:
    """Runs a command when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_crafted_pickle_is_refused_by_name_and_runs_nothing(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "ran"
    file = tmp_path / "refs(unc).p"
    file.write_bytes(pickle.dumps([{"ref_id": 1, "raw": _Runs(marker)}], protocol=protocol))
    with pytest.raises(DataError, match=r"(posix|nt)\.system") as caught:
        read_pickle(file)
    assert str(file) in str(caught.value)
    assert not marker.exists()
    pickle.loads(file.read_bytes())
    assert marker.exists(), "the crafted pickle must be able to run something, or this test shows nothing"


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"cbuiltins\neval\n(S'1+1'\ntR.", "builtins.eval"),
        (b"(S'touch x'\nios\nsystem\n.", "os.system"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04exec\x93.", "builtins.exec"),
        (b"\x80\x02]q\x00(h\x00R.", "a function call"),
        (b"\x80\x02}(K\x01K\x02ub.", "an object's state"),
        (b"ccopy_reg\n_reconstructor\n.", "copy_reg._reconstructor"),
        (b"Ptoken\n.", "persistent"),
        (b"\x80\x02\x82\x01.", "extension"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.", "bytearray"),
        (pickle.dumps(OrderedDict(a=1)), "collections.OrderedDict"),
        (pickle.dumps(np.float64(1.0)), "numpy"),
    ],
)
def test_every_way_to_build_an_object_is_refused(data: bytes, named: str) -> None:
    with pytest.raises(DataError, match="is refused") as caught:
        parse_pickle(data, source="x.p")
    assert named in str(caught.value)


def with_byte(tree: Any, place: int, byte: int) -> bytes:
    """A pickle of `tree` with one byte of it changed."""
    data = bytearray(pickle.dumps(tree))
    data[place % len(data)] = byte
    return bytes(data)


@given(st.binary(max_size=200) | st.builds(with_byte, trees, st.integers(0), st.integers(0, 255)))
@settings(max_examples=300, deadline=None)
def test_any_bytes_give_plain_data_or_a_data_error(data: bytes) -> None:
    try:
        left, seen = [parse_pickle(data, source="x")], set()
    except DataError:
        return
    while left:
        value = left.pop()
        assert type(value) in (type(None), bool, int, float, str, bytes, list, tuple, dict, set, frozenset)
        if isinstance(value, list | tuple | dict | set | frozenset) and id(value) not in seen:
            seen.add(id(value))
            left += [*value, *value.values()] if isinstance(value, dict) else value


def test_a_pickle_cut_anywhere_is_refused() -> None:
    whole = pickle.dumps([{"ref_id": 1, "sentences": [{"raw": "the left man", "tokens": ["the", "left"]}]}] * 3)
    for length in range(len(whole)):
        with pytest.raises(DataError):
            parse_pickle(whole[:length], source="x")


def test_a_huge_memo_index_or_length_costs_nothing() -> None:
    assert parse_pickle(b"K\x01r\xff\xff\xff\xff.", source="x") == 1
    with pytest.raises(DataError, match="truncated"):
        parse_pickle(b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"x.", source="x")


def test_a_file_over_the_limit_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "big.p"
    file.write_bytes(pickle.dumps(list(range(1000))))
    with pytest.raises(DataError, match="at most 100"):
        read_pickle(file, max_bytes=100)
    with pytest.raises(DataError, match="cannot read"):
        read_pickle(tmp_path / "absent.p")


def test_the_published_pickles_read_as_the_standard_library_reads_them(refer_mini: Path) -> None:
    files = sorted(refer_mini.glob("*/refs(*).p"))
    assert len(files) == 3
    for file in files:
        assert read_pickle(file) == pickle.loads(file.read_bytes())
