"""Word vectors: the public formats, the lookup, the conversion kept, hostile files."""

from __future__ import annotations

import gzip
import os
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risctl.errors import DataError, MachineError
from risctl.language.vector_files import read_file
from risctl.language.word_vectors import WordVectors

TABLE = {
    "the": [1.0, 0.0, 0.0],
    "man": [0.0, 1.0, 0.0],
    "'s": [0.0, 0.0, 1.0],
    "The": [9.0, 9.0, 9.0],
    "zebra": [0.5, 0.25, -2.0],
    "shirt": [1.0, 2.0, 3.0],
}


def as_text(table: dict[str, list[float]] = TABLE) -> str:
    return "".join(f"{word} {' '.join(map(str, values))}\n" for word, values in table.items())


def as_binary(table: dict[str, list[float]] = TABLE, *, feed: bytes = b"\n") -> bytes:
    records = [word.encode() + b" " + struct.pack("<3f", *values) + feed for word, values in table.items()]
    return f"{len(table)} 3\n".encode() + b"".join(records)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RISCTL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write(folder: Path, kind: str) -> Path:
    """Write the table in one of the public formats."""
    path = folder / f"vectors{kind}"
    if kind == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("glove.2d.txt", "the 1 2\n")
            archive.writestr("glove.3d.txt", as_text())
    elif kind == ".txt.gz":
        path.write_bytes(gzip.compress(as_text().encode()))
    elif kind == ".vec":
        path.write_text(f"{len(TABLE)} 3\n{as_text()}")
    elif kind == ".bin":
        path.write_bytes(as_binary())
    elif kind == ".bin.gz":
        path.write_bytes(gzip.compress(as_binary(feed=b"")))
    else:
        path.write_text(as_text())
    return path


@pytest.mark.parametrize("kind", [".txt", ".txt.gz", ".zip", ".vec", ".bin", ".bin.gz"])
def test_every_format_gives_the_same_table(tmp_path: Path, kind: str) -> None:
    vectors = WordVectors.open(write(tmp_path, kind), dim=3)
    assert vectors.words == ("the", "man", "'s", "zebra", "shirt")
    assert np.array_equal(vectors.vectors, np.array([TABLE[word] for word in vectors.words], np.float32))


def test_spacy_model_by_folder(tmp_path: Path) -> None:
    import spacy

    model = spacy.blank("en")
    for word, values in TABLE.items():
        model.vocab.set_vector(word, np.array(values, np.float32))
    model.to_disk(tmp_path / "model")
    found = WordVectors.open(str(tmp_path / "model"))
    assert np.array_equal(found.lookup(["man", "zebra"])[0], np.array([TABLE["man"], TABLE["zebra"]], np.float32))


def test_lookup_averages_the_pieces_of_a_word(tmp_path: Path) -> None:
    vectors, found = WordVectors.open(write(tmp_path, ".txt")).lookup(["man's", "t-shirt", "xyzzy", "<pad>", "man"])
    assert found.tolist() == [True, True, False, False, True]
    assert vectors.dtype == np.float32
    assert vectors[0] == pytest.approx([0, 0.5, 0.5])
    assert vectors[1] == pytest.approx([1 / 3, 2 / 3, 1])  # of "t", "-" and "shirt", two unknown
    assert not vectors[2:4].any()


def test_only_needed_words_their_pieces_and_the_first_are_kept(tmp_path: Path) -> None:
    vectors = WordVectors.open(write(tmp_path, ".txt"), needed=["man's"], first=1)
    assert vectors.words == ("the", "man", "'s")


def test_pieces_of_the_first_words_are_kept_too(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_text(as_text({"t-shirt": [1.0, 1.0, 1.0], **TABLE}))
    assert "shirt" in WordVectors.open(path, needed=[], first=1).words


def test_the_conversion_is_kept_and_follows_the_source(tmp_path: Path, cache: Path) -> None:
    path = write(tmp_path, ".txt")
    WordVectors.open(path)
    (kept,) = (cache / "vectors").iterdir()
    stat = path.stat()
    path.write_text(as_text().replace("1.0", "7.0"))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert WordVectors.open(path).vectors.max() == 3.0, "the same size and time is read from the cache"
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert WordVectors.open(path).vectors.max() == 7.0
    kept.write_bytes(b"damaged")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert WordVectors.open(path).vectors.max() == 7.0


def test_save_and_open(tmp_path: Path) -> None:
    vectors = WordVectors.open(write(tmp_path, ".txt"))
    vectors.save(tmp_path / "compact.safetensors")
    again = WordVectors.open(tmp_path / "compact.safetensors")
    assert again.words == vectors.words
    assert np.array_equal(again.vectors, vectors.vectors)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("the 1 2 3\nman 1 2\n", "line 2: expected a word and 3 numbers, got 2"),
        ("the 1 2 3\nman 1 2 3 4\n", "line 2: expected a word and 3 numbers, got 4"),
        ("the 1 2 3\nman 1 nan 3\n", "line 2: .*no finite"),
        ("the 1 2 3\nman 1 1e300 3\n", "line 2: .*no finite"),
        ("the 1 2 3\nman 1 x 3\n", "line 2: expected 3 numbers"),
        ("3 2\nthe 1 2\nman 1\n", "line 3"),
        ("", "none of the words"),
        ("hello\n", "expected a word and 1 to"),
        ("5 99999999\nthe 1\n", "expected a word and 1 to"),
    ],
)
def test_hostile_texts(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "hostile.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        WordVectors.open(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (as_binary()[:-9], "ends early: expected 6 words of 3 numbers, got 5"),
        (b"99999999999 3\n" + as_binary()[4:], "ends early"),
        (b"garbage without a header" * 10, "word2vec's header"),
        (b"2 3\n" + b"x" * 3_000_000, "expected a word and a space"),
        (as_binary({"the": [float("nan"), 0.0, 0.0]}), "word 1: .*no finite"),
    ],
)
def test_hostile_binaries(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "hostile.bin"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        WordVectors.open(path)


def test_words_of_several_tokens_and_broken_encodings_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_bytes(b"the 1 2 3\n. . . 4 5 6\n\xff\xfe 1 2 3\nman 7 8 9\n")
    assert WordVectors.open(path).words == ("the", "man")


def test_cut_archives_missing_files_and_unknown_names(tmp_path: Path) -> None:
    whole = write(tmp_path, ".zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    packed = write(tmp_path, ".txt.gz").read_bytes()
    (tmp_path / "cut.txt.gz").write_bytes(packed[:-12])
    for name in ("cut.zip", "cut.txt.gz", "absent.txt", "absent.safetensors"):
        with pytest.raises(DataError, match=name):
            WordVectors.open(tmp_path / name)
    with pytest.raises(DataError, match="unpack the one"):
        WordVectors.open(tmp_path / "vectors.zip")
    with pytest.raises(MachineError, match="spacy download"):
        WordVectors.open("no_such_model")
    (tmp_path / "vectors.csv").write_text("x")
    with pytest.raises(DataError, match=r"\.safetensors, got"):
        WordVectors.open(tmp_path / "vectors.csv")


def test_a_model_without_vectors_is_refused(tmp_path: Path) -> None:
    import spacy

    spacy.blank("en").to_disk(tmp_path / "model")
    with pytest.raises(DataError, match="no word vectors"):
        WordVectors.open(str(tmp_path / "model"))


@settings(max_examples=50, deadline=None)
@given(data=st.binary(max_size=300), kind=st.sampled_from([".txt", ".bin", ".zip", ".gz"]))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes, kind: str) -> None:
    path = tmp_path_factory.mktemp("any") / f"v{kind}"
    path.write_bytes(data)
    try:
        table = read_file(path, dim=None, selection=None)
    except DataError:
        return
    assert len(table.words) == len(table.vectors)
