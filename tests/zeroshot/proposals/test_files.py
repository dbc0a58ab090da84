"""Proposals from files and from a store's annotations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.tiny import tiny_store
from PIL import Image

from risctl.data.store.reader import Store
from risctl.errors import DataError, UsageError
from risctl.vision import rle
from risctl.zeroshot.proposals.base import InputImage
from risctl.zeroshot.proposals.files import open_proposal_files
from risctl.zeroshot.proposals.ground_truth import GroundTruth

MASKS = np.zeros((2, 6, 8), dtype=bool)
MASKS[0, 1:3, 2:5] = True
MASKS[1, 4:, :] = True
IMAGE = InputImage(pixels=np.zeros((6, 8, 3), dtype=np.uint8), name="COCO_train2014_000000000042.jpg")


def test_coco_results(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    path.write_text(
        json.dumps(
            [
                {"image_id": 42, "segmentation": rle.encode(MASKS[0]), "score": 0.5, "category_id": 3},
                {"image_id": 42, "segmentation": [[0, 4, 8, 4, 8, 6, 0, 6]], "score": 0.25},
                {"image_id": 7, "segmentation": rle.encode(MASKS[0]), "score": 0.5},
            ]
        )
    )
    found = open_proposal_files(path)(IMAGE)
    assert np.array_equal(found.masks, MASKS)
    assert found.scores.tolist() == [0.5, 0.25]
    assert found.categories.tolist() == [3, 0]
    assert len(open_proposal_files(path)(InputImage(pixels=IMAGE.pixels, name="9.jpg"))) == 0
    assert len(open_proposal_files(path)(InputImage(pixels=IMAGE.pixels, name="x.jpg", image_id=7))) == 1


def test_a_coco_dataset_by_file_name(tmp_path: Path) -> None:
    path = tmp_path / "set.json"
    images = [{"id": 1, "file_name": IMAGE.name}]
    entries = [{"image_id": 1, "segmentation": rle.encode(MASKS[1])}]
    path.write_text(json.dumps({"images": images, "annotations": entries}))
    assert np.array_equal(open_proposal_files(path)(IMAGE).masks, MASKS[1:])


def test_npz_and_pngs(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", masks=MASKS, scores=np.array([0.1, 0.2]))
    assert open_proposal_files(tmp_path / "one.npz")(IMAGE).scores.tolist() == np.float32([0.1, 0.2]).tolist()
    folder = tmp_path / "npz"
    folder.mkdir()
    np.savez(folder / "42.npz", masks=MASKS.astype(np.float32))
    assert np.array_equal(open_proposal_files(folder)(IMAGE).masks, MASKS)
    pngs = tmp_path / "png"
    (pngs / "42").mkdir(parents=True)
    for number, mask in enumerate(MASKS):
        Image.fromarray(mask.astype(np.uint8) * 255).save(pngs / "42" / f"{number}.png")
    assert np.array_equal(open_proposal_files(pngs)(IMAGE).masks, MASKS)
    numbered = tmp_path / "numbered"
    numbered.mkdir()
    Image.fromarray((MASKS[0] * 1 + MASKS[1] * 2).astype(np.uint8)).save(numbered / "42.png")
    assert np.array_equal(open_proposal_files(numbered)(IMAGE).masks, MASKS)
    assert len(open_proposal_files(numbered)(InputImage(pixels=IMAGE.pixels, name="other.jpg"))) == 0


def test_what_does_not_fit_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none at"):
        open_proposal_files(tmp_path / "absent")
    (tmp_path / "bad.json").write_text("[1]")
    with pytest.raises(DataError, match="a list of"):
        open_proposal_files(tmp_path / "bad.json")
    np.savez(tmp_path / "bad.npz", masks=np.zeros((1, 3, 3)))
    with pytest.raises(DataError, match=r"\(N, 6, 8\)"):
        open_proposal_files(tmp_path / "bad.npz")(IMAGE)
    (tmp_path / "size.json").write_text(json.dumps([{"image_id": 42, "segmentation": rle.empty(3, 3)}]))
    with pytest.raises(DataError, match=r"\[3, 3\] does not fit"):
        open_proposal_files(tmp_path / "size.json")(IMAGE)


def test_ground_truth_is_the_stores_own(tmp_path: Path) -> None:
    with Store(tiny_store(tmp_path, images=3, validation=1)) as store:
        source = GroundTruth(store)
        pixels = store.pixels(1)
        found = source(InputImage(pixels=pixels, row=1))
        assert len(found) == 2
        assert found.categories.tolist() == [1, 1]
        wanted = [rle.decode(store.annotation(int(row)).mask) for row in store.annotations_of(1)]
        assert np.array_equal(found.masks, np.stack(wanted))
        with pytest.raises(UsageError, match="a store only"):
            source(InputImage(pixels=pixels))


def packed(path: Path, **arrays: np.ndarray) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def test_an_npz_is_bounded_before_it_is_unpacked(tmp_path: Path) -> None:
    """Masks compress a thousandfold, so that their size is told by their shapes and not by the file."""
    many = packed(tmp_path / "many.npz", masks=np.zeros((20_000, 6, 8), dtype=bool))
    with pytest.raises(DataError, match=r"many\.npz has 20,000 proposals .*; at most 10,000"):
        open_proposal_files(many)(IMAGE)
    large = packed(tmp_path / "large.npz", masks=np.zeros((2, 6, 8), dtype=bool), other=np.zeros(2**26, dtype=bool))
    assert large.stat().st_size < 2**17
    assert len(open_proposal_files(large)(IMAGE)) == 2
    other = packed(tmp_path / "other.npz", masks=np.zeros((2, 9000, 9000), dtype=bool))
    with pytest.raises(DataError, match=r"masks of shape \(N, 6, 8\), got \(2, 9000, 9000\)"):
        open_proposal_files(other)(IMAGE)
    odd = packed(tmp_path / "odd.npz", masks=MASKS, scores=np.array([0.5, np.nan]))
    with pytest.raises(DataError, match="finite scores"):
        open_proposal_files(odd)(IMAGE)


def test_a_png_is_compared_with_its_image_before_it_is_decoded(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((6000, 9000), dtype=np.uint8)).save(tmp_path / "42.png")
    with pytest.raises(DataError, match="has 9000x6000 pixels, its image 8x6"):
        open_proposal_files(tmp_path)(IMAGE)


def test_the_name_of_an_image_leads_to_no_file_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "found"
    folder.mkdir()
    np.savez(tmp_path / "secret.npz", masks=MASKS)
    np.savez(folder / "1.npz", masks=MASKS)
    source = open_proposal_files(folder)
    for name in ("../secret", str(tmp_path / "secret"), "a\0b", "x" * 5000):
        assert len(source(InputImage(pixels=IMAGE.pixels, name=name))) == 0


@pytest.mark.parametrize(
    "entry",
    [{"score": "high"}, {"score": [1]}, {"score": float("nan")}, {"category_id": "cup"}, {"category_id": [2**70]}],
)
def test_an_entry_that_cannot_be_meant_is_refused(entry: dict[str, object], tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    path.write_text(json.dumps([{"image_id": 42, "segmentation": rle.encode(MASKS[0]), **entry}]))
    with pytest.raises(DataError, match=r'found\.json does not fit .*"(score|category_id)"'):
        open_proposal_files(path)(IMAGE)
    path.write_text(json.dumps({"images": [3], "annotations": []}))
    with pytest.raises(DataError, match="a list of images"):
        open_proposal_files(path)(IMAGE)
