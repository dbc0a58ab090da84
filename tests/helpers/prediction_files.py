"""Writes the masks of a split in every form that `risctl score` takes."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from risctl.data.store.reader import Store
from risctl.evaluation.scoring.template import template
from risctl.vision import rle

Expressions = list[dict[str, Any]]
Masks = Sequence[np.ndarray]


def expressions(store: Path, split: str) -> Expressions:
    """Returns what names each expression of a split."""
    with Store(store) as opened:
        return list(template(opened, split=split))


def shifted_targets(store: Path, split: str, *, by: int = 3) -> list[np.ndarray]:
    """Returns a mask (H, W) a sentence: its target, shifted by a few pixels that differ from sentence to sentence."""
    with Store(store) as opened:
        rows = opened.sentences(split).tolist()
        targets = [rle.decode(opened.mask(opened.sentence(row).ref)) for row in rows]
    return [np.roll(target, (place % by, (place * 7) % by), (0, 1)) for place, target in enumerate(targets)]


def _lines(path: Path, records: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def json_lines(folder: Path, expressions: Expressions, masks: Masks) -> Path:
    """JSON Lines by sentence id, compressed RLE."""
    return _lines(
        folder / "a.jsonl",
        [
            {"sent_id": one["sent_id"], "segmentation": rle.encode(mask)}
            for one, mask in zip(expressions, masks, strict=True)
        ],
    )


def shuffled_lines(folder: Path, expressions: Expressions, masks: Masks) -> Path:
    """JSON Lines by image and text, in any order, uncompressed RLE."""
    records = [
        {
            "image_id": one["image_id"],
            "text": f"  {one['text'].upper()} ",
            "segmentation": {"size": list(mask.shape), "counts": rle.runs(rle.encode(mask)).tolist()},
        }
        for one, mask in zip(expressions, masks, strict=True)
    ]
    return _lines(folder / "b.jsonl", [records[place] for place in np.random.default_rng(0).permutation(len(records))])


def coco_results(folder: Path, expressions: Expressions, masks: Masks) -> Path:
    """COCO results by ref and index, written over several lines."""
    records = [
        {
            "image_id": one["image_id"],
            "ref_id": one["ref_id"],
            "sent_index": one["sent_index"],
            "category_id": 7,
            "score": 0.9,
            "note": "café ]},[{",
            "segmentation": rle.encode(mask),
        }
        for one, mask in zip(expressions, masks, strict=True)
    ]
    (folder / "c.json").write_text(json.dumps(records, indent=1, ensure_ascii=False), encoding="utf-8")
    return folder / "c.json"


def png_folder(folder: Path, expressions: Expressions, masks: Masks) -> Path:
    """A folder of `SENTID.png`, 0 and 255."""
    (folder / "d").mkdir()
    for one, mask in zip(expressions, masks, strict=True):
        Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "d" / f"{one['sent_id']}.png")
    return folder / "d"


def palette_zip(folder: Path, expressions: Expressions, masks: Masks) -> Path:
    """A zip of `REFID_INDEX.png`, palette files whose colours are dark."""
    with zipfile.ZipFile(folder / "e.zip", "w") as file:
        for one, mask in zip(expressions, masks, strict=True):
            image = Image.fromarray(mask.astype(np.uint8), mode="P")
            image.putpalette([0, 0, 0, 1, 0, 0])
            stream = io.BytesIO()
            image.save(stream, "PNG")
            file.writestr(f"masks/{one['ref_id']}_{one['sent_index']}.png", stream.getvalue())
    return folder / "e.zip"


def npz(folder: Path, expressions: Expressions, masks: Masks) -> Path:
    """A .npz of bool arrays by sentence id."""
    np.savez_compressed(
        folder / "f.npz", **{str(one["sent_id"]): mask for one, mask in zip(expressions, masks, strict=True)}
    )
    return folder / "f.npz"


def named_files(folder: Path, expressions: Expressions, masks: Masks) -> Path:
    """JSON Lines by the file of the image, in another folder, and the phrase."""
    return _lines(
        folder / "g.jsonl",
        [
            {"image": f"else/where/{one['file_name']}", "phrase": one["text"], "segmentation": rle.encode(mask)}
            for one, mask in zip(expressions, masks, strict=True)
        ],
    )


def parquet_parts(folder: Path, expressions: Expressions, masks: Masks) -> Path:
    """A folder of parquet in parts, as `risctl label` writes it: by file and phrase, in small row groups."""
    import pyarrow
    from pyarrow import parquet

    (folder / "h" / "parts").mkdir(parents=True)
    records = [
        {
            "image": one["file_name"],
            "phrase": one["text"],
            "matched": bool(mask.any()),
            "score": 0.9,
            "segmentation": rle.encode(mask),
        }
        for one, mask in zip(expressions, masks, strict=True)
    ]
    half = len(records) // 2
    for part, own in enumerate((records[:half], records[half:])):
        table = pyarrow.Table.from_pylist(own)
        parquet.write_table(table, folder / "h" / "parts" / f"part-{part}.parquet", row_group_size=3)
    return folder / "h"


FORMS: dict[str, Callable[[Path, Expressions, Masks], Path]] = {
    "lines": json_lines,
    "shuffled": shuffled_lines,
    "results": coco_results,
    "folder": png_folder,
    "zip": palette_zip,
    "npz": npz,
    "files": named_files,
    **({"parquet": parquet_parts} if find_spec("pyarrow") else {}),
}
