"""RLE against numpy and against pycocotools, and what is not RLE."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco_mask

from risctl.errors import DataError
from risctl.vision import rle

shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)
masks = shapes.flatmap(lambda shape: hnp.arrays(bool, shape))
# Masks of long runs, where the differences between runs need several groups of 5 bits and both signs.
blocks = st.tuples(
    st.integers(1, 300),
    st.integers(1, 40),
    st.lists(st.tuples(st.integers(0, 11999), st.integers(0, 11999)), max_size=6),
)


def blocky(height: int, width: int, runs: list[tuple[int, int]]) -> np.ndarray:
    flat = np.zeros(height * width, dtype=bool)
    for start, stop in runs:
        flat[start % flat.size : stop % flat.size] ^= True
    return flat.reshape(width, height).T


@given(masks)
def test_decode_undoes_encode(mask: np.ndarray) -> None:
    encoded = rle.encode(mask)
    assert json.loads(json.dumps(encoded)) == encoded
    np.testing.assert_array_equal(rle.decode(encoded), mask)
    rle.check(encoded)


@given(blocks)
def test_long_runs_fill_their_size(block: tuple[int, int, list[tuple[int, int]]]) -> None:
    mask = blocky(*block)
    encoded = rle.encode(mask)
    assert rle._run_total(encoded["counts"]) == mask.size
    np.testing.assert_array_equal(rle.decode(encoded), mask)
    rle.check(encoded)


@pytest.mark.parametrize("density", [0.0, 0.0005, 0.01, 0.5, 1.0])
def test_few_and_many_runs_are_decoded_as_pycocotools_does(density: float) -> None:
    mask = np.random.default_rng(0).random((480, 640)) < density
    encoded = rle.encode(mask)
    decoded = rle.decode(encoded)
    assert decoded.flags.f_contiguous and decoded.dtype == bool
    np.testing.assert_array_equal(decoded, mask)
    lengths = rle.runs(encoded)
    assert lengths.sum() == mask.size
    assert lengths[1::2].sum() == rle.area(encoded)


@given(masks, st.tuples(*[st.integers(0, 5)] * 4))
def test_a_patch_is_encoded_as_the_whole_around_it(patch: np.ndarray, around: tuple[int, int, int, int]) -> None:
    above, below, left, right = around
    whole = np.pad(patch, ((above, below), (left, right)))
    height, width = whole.shape
    assert rle.encode_patch(patch, x=left, y=above, height=height, width=width) == rle.encode(whole)
    with pytest.raises(ValueError, match="not within"):
        rle.encode_patch(patch, x=left + right + 1, y=above, height=height, width=width)


@given(masks)
def test_area_and_box_are_numpys(mask: np.ndarray) -> None:
    encoded = rle.encode(mask)
    assert rle.area(encoded) == mask.sum()
    if not mask.any():
        assert rle.box(encoded) == (0, 0, 0, 0)
        return
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    expected = (columns[0], rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)
    assert rle.box(encoded) == expected


@given(shapes.flatmap(lambda shape: st.lists(hnp.arrays(bool, shape), min_size=1, max_size=4)))
def test_union_and_overlap_are_numpys(several: list[np.ndarray]) -> None:
    encoded = [rle.encode(mask) for mask in several]
    np.testing.assert_array_equal(rle.decode(rle.union(encoded)), np.logical_or.reduce(several))
    first, last = several[0], several[-1]
    assert rle.overlap(encoded[0], encoded[-1]) == ((first & last).sum(), (first | last).sum())


def test_any_value_that_is_not_zero_is_set() -> None:
    mask = np.array([[255, 0], [2, 3]], dtype=np.uint8)
    np.testing.assert_array_equal(rle.decode(rle.encode(mask)), mask != 0)


def test_an_empty_mask() -> None:
    assert rle.area(rle.empty(7, 5)) == 0
    assert rle.decode(rle.empty(7, 5)).shape == (7, 5)


def test_what_has_no_meaning_is_refused() -> None:
    small, large = rle.empty(2, 3), rle.empty(3, 2)
    with pytest.raises(ValueError, match="size"):
        rle.union([])
    with pytest.raises(ValueError, match="differ in size"):
        rle.union([small, small, large])
    with pytest.raises(ValueError, match="differ in size"):
        rle.overlap(small, large)
    with pytest.raises(ValueError, match="H, W"):
        rle.encode(np.zeros((2, 3, 1), dtype=bool))


@given(st.text(alphabet=[chr(code) for code in range(40, 120)], max_size=12), st.integers(0, 40), st.integers(0, 40))
@settings(max_examples=300)
def test_no_text_gets_past_the_check_to_be_decoded_wrongly(counts: str, height: int, width: int) -> None:
    given_rle: rle.RLE = {"size": [height, width], "counts": counts}
    try:
        rle.check(given_rle)
    except DataError:
        return
    mask = rle.decode(given_rle)
    assert mask.shape == (height, width)
    assert mask.sum() == rle.area(given_rle)


@given(masks, st.data())
def test_damaged_counts_are_refused_or_still_fill_the_mask(mask: np.ndarray, data: st.DataObject) -> None:
    counts = rle.encode(mask)["counts"]
    place = data.draw(st.integers(0, len(counts) - 1))
    sign = chr(data.draw(st.integers(1, 127)))
    damaged: rle.RLE = {"size": list(mask.shape), "counts": counts[:place] + sign + counts[place + 1 :]}
    try:
        rle.check(damaged)
    except DataError:
        return
    assert rle.decode(damaged).shape == mask.shape


@pytest.mark.parametrize("counts", ["", "o", "0000", "P" * 30, "\0", "ÿÿ", "06\0", "1f", "09", "5N3"])
def test_counts_that_do_not_fill_the_mask(counts: str) -> None:
    with pytest.raises(DataError, match="do not fill 2x3"):
        rle.check({"size": [2, 3], "counts": counts})


@pytest.mark.parametrize("size", [None, [2], [2, 3, 1], [2.0, 3.5], [-2, -3], "23", [2**40, 1]])
def test_sizes_that_are_none(size: object) -> None:
    with pytest.raises(DataError, match="size"):
        rle.check({"size": size, "counts": "06"})  # type: ignore[typeddict-item]


@given(masks)
def test_uncompressed_and_bytes_forms_of_coco(mask: np.ndarray) -> None:
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flat)))).tolist()
    runs = np.diff([0, *edges, flat.size]).tolist()
    height, width = mask.shape
    expected = rle.encode(mask)
    listed = {"size": [height, width], "counts": [int(run) for run in runs]}
    packed = {"size": [height, width], "counts": expected["counts"].encode()}
    for form in (listed, packed, expected, [listed, packed]):
        read = rle.from_segmentation(form, height=height, width=width)
        np.testing.assert_array_equal(rle.decode(read), mask)


def test_polygons_are_united() -> None:
    left, right = [1, 1, 5, 1, 5, 5, 1, 5], [4, 4, 9, 4, 9, 9, 4, 9]
    both = rle.decode(rle.from_segmentation([left, right], height=10, width=12))
    apart = [rle.decode(rle.from_segmentation([one], height=10, width=12)) for one in (left, right)]
    np.testing.assert_array_equal(both, apart[0] | apart[1])
    assert apart[0][2, 2] and apart[1][7, 7] and not both[9, 11]
    summed = rle.from_segmentation([left, right], height=10, width=12, overlaps="background")
    np.testing.assert_array_equal(rle.decode(summed), apart[0] ^ apart[1])
    assert rle.from_segmentation([left], height=10, width=12, overlaps="background") == rle.encode(apart[0])
    outside = rle.from_segmentation([[-20, -20, 40, -20, 40, 40, -20, 40]], height=10, width=12)
    assert rle.area(outside) == 120


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        [],
        "06",
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5]],
        [[1, 2, 3, 4, 5, 6, 7]],
        [[1, 2, 3, float("nan"), 5, 6]],
        [[1, 2, 3, float("inf"), 5, 6]],
        [[1, 2, 3, 1e9, 5, 6]],
        [[1, 2, "x", 4, 5, 6]],
        [[1, 2, None, 4, 5, 6]],
        [[1, 1, 5, 1, 5, 5], {"size": [4, 4], "counts": [16]}],
        {},
        {"size": [4, 4]},
        {"size": None, "counts": [16]},
        {"size": [4, 5], "counts": [20]},
        {"size": [4, 4], "counts": [15]},
        {"size": [4, 4], "counts": [17, -1]},
        {"size": [4, 4], "counts": [8.0, 8.0]},
        {"size": [4, 4], "counts": "\xff"},
        {"size": [4, 4], "counts": b"\xff\xfe"},
    ],
)
def test_malformed_segmentations_are_refused(segmentation: object) -> None:
    with pytest.raises(DataError):
        rle.from_segmentation(segmentation, height=4, width=4)


def test_real_annotations_are_read_as_pycocotools_reads_them(refer_mini) -> None:  # type: ignore[no-untyped-def]
    published = json.loads((refer_mini / "refcoco" / "instances.json").read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in published["images"]}
    assert published["annotations"]
    for annotation in published["annotations"]:
        height, width = sizes[annotation["image_id"]]
        segmentation = annotation["segmentation"]
        read = rle.from_segmentation(segmentation, height=height, width=width)
        theirs = coco_mask.frPyObjects(segmentation, height, width)
        theirs = coco_mask.merge(theirs) if isinstance(theirs, list) else theirs
        assert read["counts"] == theirs["counts"].decode()
        rle.check(read)


@given(blocks, st.data())
def test_sound_counts_are_told_from_others_as_the_check_tells_them(
    block: tuple[int, int, list[tuple[int, int]]], data: st.DataObject
) -> None:
    encoded = rle.encode(blocky(*block))
    counts = list(encoded["counts"])
    for _ in range(data.draw(st.integers(0, 2))):
        place = data.draw(st.integers(0, len(counts)))
        counts[place : place + data.draw(st.integers(0, 1))] = data.draw(st.text("0PQoq_4é\x00", max_size=40))
    changed: rle.RLE = {"size": encoded["size"], "counts": "".join(counts)}
    try:
        rle.check(changed)
        sound = True
    except DataError:
        sound = False
    assert rle.is_sound(changed) is (rle._sound_runs(changed) is not None) is sound
    decoded = rle.decode_checked(changed)
    assert (decoded is not None) is sound
    if decoded is not None:
        np.testing.assert_array_equal(decoded, coco_mask.decode({**changed, "counts": changed["counts"].encode()}))
