"""The whole text sets at their full size: 57,457 expressions of RefCOCO's evaluation splits, 120,081 of ReferItGame.

Their images are not at hand. RefCOCO's are written in the published layout with black images of the right sizes and
boxes in place of outlines, and prepared as a user would prepare them.
"""

from __future__ import annotations

import io
import json
import pickle
import re
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from risctl.data.datasets.refcoco_boxes import read_referitgame
from risctl.data.datasets.registry import find_dataset
from risctl.data.loading.image_dataset import ReferringImageDataset
from risctl.data.prepare import prepare_dataset
from risctl.data.stats import stats_of
from risctl.data.store.reader import Store
from risctl.data.transforms.preprocess import ShortSidePreprocess
from risctl.language.flips import swap_left_right
from risctl.language.vocabulary import Vocabulary
from risctl.vision import rle

SETS = {
    "refcoco": ("unc", ("val", "testA", "testB"), 21_586),
    "refcoco+": ("unc", ("val", "testA", "testB"), 21_373),
    "refcocog": ("umd", ("val", "test"), 14_498),
}


def test_the_sets_together_are_the_whole() -> None:
    assert sum(sentences for _, _, sentences in SETS.values()) == 57_457


@cache
def _black(height: int, width: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (width, height)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _published(folder: Path, name: str, root: Path) -> list[tuple[str, str, list[float]]]:
    """Write the expressions of a set in REFER's layout; return (split, text, box) of each in their order."""
    images: dict[int, dict[str, Any]] = {}
    annotations: list[dict[str, Any]] = []
    refs: dict[str, dict[str, Any]] = {}
    expressions = []
    split_by, splits, _ = SETS[name]
    for split in splits:
        for row in json.loads((folder / f"{name}_{split}.json").read_bytes()):
            image_id = int(row["img_id"].split("_")[2])
            file_name = f"COCO_train2014_{image_id:012d}.jpg"
            size = {"height": row["height"], "width": row["width"]}
            images.setdefault(image_id, {"id": image_id, "file_name": file_name, **size})
            if row["img_id"] not in refs:
                x, y, width, height = row["bbox"]
                polygon = [x, y, x + width, y, x + width, y + height, x, y + height]
                thing = {"id": len(refs), "image_id": image_id, "category_id": 1, "segmentation": [polygon]}
                annotations.append(thing)
                ref = {"ref_id": len(refs), "ann_id": len(refs), "category_id": 1, "image_id": image_id}
                refs[row["img_id"]] = {**ref, "split": split, "sentences": []}
            sentence = {"sent_id": len(expressions), "raw": row["sents"], "sent": row["sents"]}
            refs[row["img_id"]]["sentences"].append({**sentence, "tokens": row["sents"].split()})
            expressions.append((split, row["sents"], row["bbox"]))
    (root / name).mkdir(parents=True)
    (root / name / f"refs({split_by}).p").write_bytes(pickle.dumps(list(refs.values()), protocol=2))
    instances = {
        "images": list(images.values()), "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]
    }  # fmt: skip
    (root / name / "instances.json").write_text(json.dumps(instances))
    (root / "train2014").mkdir()
    for image in images.values():
        (root / "train2014" / image["file_name"]).write_bytes(_black(image["height"], image["width"]))
    return expressions


@pytest.mark.parametrize("name", SETS)
def test_every_evaluation_expression_is_prepared(shared: Path, tmp_path: Path, name: str) -> None:
    split_by, splits, sentences = SETS[name]
    expressions = _published(shared / "data" / "refcoco_eval", name, tmp_path / "root")
    assert len(expressions) == sentences
    prepared = prepare_dataset(
        find_dataset(name), source=tmp_path / "root", split_by=split_by, out=tmp_path / "s.h5", link=True
    )
    # The splits are whole: they have exactly the published counts; only train is not there.
    for split in splits:
        assert prepared.counts[split] == find_dataset(name).published[split_by][split], split
    assert [line.split(";")[0] for line in prepared.differences if "no split" in line] == [
        f"{name} ({split_by}): no split train"
    ]
    with Store(tmp_path / "s.h5") as store:
        assert Counter(store.texts("all", "raw")) == Counter(text for _, text, _ in expressions)
        for split in splits:
            assert Counter(store.texts(split)) == Counter(text for own, text, _ in expressions if own == split)
        rows = {store.sentence(row).sentence_id: row for row in range(0, sentences, 997)}
        for number, row in rows.items():
            found = rle.box(store.mask(store.sentence(row).ref))
            assert np.abs(np.subtract(found, expressions[number][2])).max() <= 2.0
        stats = stats_of(store)
        preprocess = ShortSidePreprocess(short=32, longest=None, max_words=4, vocabulary=Vocabulary([]))
        for split in splits:  # an epoch has an item per sentence, in the order of the file, or one per ref
            published = find_dataset(name).published[split_by][split]
            every = ReferringImageDataset(store, split, preprocess, sentences="all")
            assert len(every) == published["sentences"]
            assert [row for (row,) in every._choices] == store.sentences(split).tolist()
            by_ref = ReferringImageDataset(store, split, preprocess, sentences="random")
            assert len(by_ref) == published["refs"]
            assert sorted(row for rows in by_ref._choices for row in rows) == sorted(store.sentences(split).tolist())
    assert sum(row["sentences"] for row in stats.counts.values()) == sentences
    assert stats.words is not None and 3 < stats.words.mean < 9


def test_every_expression_of_referitgame_is_read(shared: Path) -> None:
    folder = shared / "data" / "referitgame"
    sizes = {"train": 54_134, "val": 5_842, "test": 60_105}
    texts = []
    for split, size in sizes.items():
        queries = json.loads((folder / f"referit_query_{split}.json").read_bytes())
        samples = read_referitgame(folder, split=split)
        assert len(samples) == size == sum(len(own) for own in queries.values())
        assert Counter(sample.text for sample in samples) == Counter(text for own in queries.values() for text in own)
        assert all(0 <= sample.targets[0] < len(sample.boxes.corners) for sample in samples)
        texts += [sample.text for sample in samples]
    assert len(texts) == 120_081
    vocabulary = Vocabulary.from_texts(texts)
    assert not any(vocabulary.unknown(text) for text in texts[::7])
    sided = [text for text in texts if re.search(r"\b(left|right)\b", text, re.IGNORECASE)]
    assert len(sided) > 20_000
    for text in sided[::11]:
        swapped = swap_left_right(text)
        assert swap_left_right(swapped).lower() == text.lower() != swapped.lower()
