"""Files made to do harm, beyond those that each reader's own tests have: bombs, absurd sizes, numbers that are none.

Where each kind is tested (paths below `tests/data` unless they name more):
crafted pickles: `test_pickles`, by the command in `tests/cli/prepare/test_dataset_command`;
names that lead out of an archive, links in it, more than it says: `download/test_archives`; links to links: here;
decompression bombs: here (images, archives, word vectors), `datasets/test_custom`, `tests/vision/test_images`;
absurd sizes: here, `test_pickles`, `datasets/test_refer` (lists without end), `store/test_store` (layouts);
wrong checksums: `download/test_mirrors`, `store/test_store`, `features/test_features`, `tests/environment/test_caches`;
polygons with NaN or two points, RLE that does not fit: here, `datasets/test_published_sets`, `tests/vision/test_rle`;
duplicate ids: here, `datasets/test_refer`, `datasets/test_custom`, `store/test_store`;
files cut at any byte: `store/test_store`, `features/test_features` (alone, and joined of shards), `test_pickles`;
a disk that fills: `store/test_store_writing`, `features/test_features`, `download/test_archives`;
two writers at once: `store/test_store_writing`, `features/test_features`, `download/test_mirrors`.
"""

from __future__ import annotations

import gzip
import json
import stat
import struct
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import refer_files, store_files

from risctl.data.datasets.refer.reader import read_refer
from risctl.data.download.archives import unpack
from risctl.data.store.reader import Store
from risctl.data.store.verify import verify_store
from risctl.data.store.writer import write_store
from risctl.errors import DataError
from risctl.language.word_vectors import WordVectors

NAN = float("nan")

SEGMENTATIONS: dict[str, Any] = {
    "NaN": [[1, 1, NAN, 2, 3, 3]],
    "infinite": [[1, 1, float("-inf"), 2, 3, 3]],
    "two points": [[1, 1, 9, 9]],
    "far away": [[1, 1, 1e300, 2, 3, 3]],
    "RLE of an absurd size": {"size": [10**9, 10**9], "counts": [10**18]},
    "RLE of another size": {"size": [3, 3], "counts": [4, 5]},
    "RLE beyond the mask": {"size": [50, 30], "counts": [10**12]},
    "RLE of negative runs": {"size": [50, 30], "counts": [-5, 1505]},
    "RLE that is no text": {"size": [50, 30], "counts": "\x00\x01"},
    "endless nesting": [[[[[[1]]]]]],
    "a name": "mask.png",
}


@pytest.mark.parametrize("which", SEGMENTATIONS)
def test_a_mask_that_is_none_is_refused_or_left_out_by_name(tmp_path: Path, which: str) -> None:
    refs, instances = refer_files.published()
    instances["annotations"][2]["segmentation"] = SEGMENTATIONS[which]
    root = refer_files.write(tmp_path, refs=refs, instances=instances)
    with pytest.raises(DataError, match="1 refs to an annotation without a valid mask"):
        read_refer(root, name="refcoco")
    kept = read_refer(root, name="refcoco", on_missing="drop")
    assert [record.ref_id for record in kept.records] == [10, 11, 13]


@pytest.mark.parametrize("side", [0, -1, 10**9, 2**63, 2**70, NAN, 1.5, "9", None])
def test_an_image_of_an_absurd_size_is_refused(tmp_path: Path, side: Any) -> None:
    refs, instances = refer_files.published()
    instances["images"][1]["height"] = side
    with pytest.raises(DataError, match=r"height|size"):
        read_refer(refer_files.write(tmp_path, refs=refs, instances=instances), name="refcoco")


def test_repeated_ids_are_told_and_no_ref_is_given_anothers_mask(tmp_path: Path) -> None:
    refs, instances = refer_files.published()
    plain = read_refer(refer_files.write(tmp_path / "plain"), name="refcoco")
    instances["annotations"].append(refer_files.square(100, 3, 0, 0, 9))
    instances["images"].append(dict(instances["images"][0]))
    refs.append(dict(refs[0]))
    dataset = read_refer(refer_files.write(tmp_path / "repeated", refs=refs, instances=instances), name="refcoco")
    assert any("repeated" in note for note in dataset.notes)
    assert dataset.annotations[100].mask == plain.annotations[100].mask
    sentences = [expression.sentence_id for record in dataset.records for expression in record.expressions]
    assert len(set(sentences)) == len(sentences)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _enormous_png(side: int) -> bytes:
    """A PNG of side x side pixels in a few hundred kilobytes."""
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    row = bytes(1 + (side + 7) // 8)
    squeezed = zlib.compress(row * 64, 9)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", squeezed) + _chunk(b"IEND", b"")


def test_an_image_that_is_a_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    dataset = store_files.dataset()
    first = next(iter(dataset.images))
    bomb = replace(dataset.images[first], data=_enormous_png(100_000))
    write_store(replace(dataset, images={**dataset.images, first: bomb}), tmp_path / "store.h5")
    with Store(tmp_path / "store.h5") as store:
        with pytest.raises(DataError, match="pixels"):
            store.pixels(0)
        assert any(str(first) in failure for failure in verify_store(store).failures)


def test_links_that_lead_to_links_are_refused_and_none_is_made(tmp_path: Path) -> None:
    archive = tmp_path / "links.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for number in range(200):
            entry = zipfile.ZipInfo(f"{number}")
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            file.writestr(entry, f"{number + 1}/{number + 1}")
    with pytest.raises(DataError, match="link or device"):
        unpack(archive, tmp_path / "out")
    assert not list((tmp_path / "out").rglob("*"))


def test_entries_that_share_their_bytes_are_bounded_by_what_they_unpack_to(tmp_path: Path) -> None:
    archive = tmp_path / "bomb.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a", bytes(1_000_000))
        first = file.infolist()[0]
        for number in range(50):
            again = zipfile.ZipInfo(f"{number}")
            for field in ("compress_type", "CRC", "compress_size", "file_size", "header_offset", "flag_bits"):
                setattr(again, field, getattr(first, field))
            file.filelist.append(again)
            file.NameToInfo[again.filename] = again
    assert archive.stat().st_size < 10_000
    with pytest.raises(DataError):
        unpack(archive, tmp_path / "out", max_bytes=10_000_000)
    assert not list((tmp_path / "out").rglob("*"))


@pytest.mark.parametrize("first", [b"", b"2 3\n"])
def test_word_vectors_of_one_endless_line_are_refused_with_little_read(tmp_path: Path, first: bytes) -> None:
    file = tmp_path / "bomb.txt.gz"
    with gzip.open(file, "wb", compresslevel=1) as out:
        out.write(first + b"word ")
        for _ in range(40):
            out.write(b"1" * 1_000_000)
    with pytest.raises(DataError, match=r"bomb\.txt\.gz"):
        WordVectors.open(file, cached=False)


def test_json_without_end_is_refused(tmp_path: Path) -> None:
    root = refer_files.write(tmp_path)
    instances = root / "refcoco" / "instances.json"
    for text in (
        "[" * 200_000,
        json.dumps({"images": [1]})[:-3],
        '{"images": ' * 5000,
        "NaN",
    ):
        instances.write_text(text)
        with pytest.raises(DataError, match=r"instances\.json"):
            read_refer(root, name="refcoco")


def test_numbers_that_are_none_do_not_pass_for_boxes(tmp_path: Path) -> None:
    refs, instances = refer_files.published()
    instances["annotations"][0]["bbox"] = [NAN, 1, 2, 3]
    try:
        dataset = read_refer(
            refer_files.write(tmp_path, refs=refs, instances=instances), name="refcoco", on_missing="drop"
        )
    except DataError:
        return
    assert all(np.isfinite(annotation.box).all() for annotation in dataset.annotations.values())
