r"""Compares five models in the same seat on the same 20 pictures, on one page: what could be had without a network.

    python benchmarks/five_seats.py refer_mini coco_mini --nanodet-m nanodet_m.onnx --out out/five-seats

The pictures: the 14 of an extract of RefCOCO, RefCOCO+ and RefCOCOg (a folder in REFER's layout) with their human
expressions, and 6 of COCO val2017 (`coco_mini`: instances.json, images/) with generated ones. Protocol `original`. The
seats, all of them opened, asked and measured as `risctl eval --model NAME --rows` does it:

- mini: the model that comes with risctl;
- nanodet-m-chooser: the boxes of NanoDet-m (ONNX, needs onnxruntime), mini's chooser among them, mini's masks in them;
- nanodet-m: its surest box of the category that the head noun names, mini's mask in it;
- nanodet-plus: the same of NanoDet-Plus-m 480, the detector within mini;
- largest-named: of NanoDet-Plus-m's boxes of that category with a score of 0.3 or more, the largest.

The last three answer every phrase whose noun is among COCO's categories and for which they find a box. Writes the
store, the rows of each seat, and `five-seats.html`: figures of all with intervals, paired differences from mini, and
the answers of all five to the first expression about each picture. `risctl compare` of the rows gives the same figures.
Takes a minute on one core.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from chooser import NanoDetM, of_mini
from mini import SETS
from PIL import Image

from risctl.core.heads.instance_masks import paste_logits
from risctl.data.datasets.coco_phrases.generate import make_coco_phrases
from risctl.data.datasets.refer.reader import read_refer
from risctl.data.records import Dataset
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.evaluation.comparison import compare_runs
from risctl.evaluation.evaluated_model import open_evaluated
from risctl.evaluation.image_evaluator import evaluate
from risctl.evaluation.saved_rows import read_run
from risctl.inference.encoded_image import encode, prepare
from risctl.inference.store_predictor import PredictorOnStore, predicted_masks
from risctl.language.coco_classes import CLASSES
from risctl.models.chooser import ChosenByCategory, load_chooser
from risctl.models.instances import Instances
from risctl.models.networks import ByCategory, DrawnFinder, FoundImage
from risctl.models.predictor import PromptedPredictor
from risctl.output_files import OutputFiles
from risctl.systems.mini.model import STRIDE, Mini
from risctl.vision import rle
from risctl.vision.drawing.overlays import overlay
from risctl.vision.drawing.palette import colour
from risctl.visualization.comparison import as_text
from risctl.visualization.report.comparison_page import Answer, ShownSample, as_page
from risctl.zeroshot.text_prompted import Candidates

SEATS = ("mini", "nanodet-m-chooser", "nanodet-m", "nanodet-plus", "largest-named")
_FURTHER = (139, 802, 5001, 6818, 10764, 11813, 17627, 18575)  # of val2017; the first six that are there
_COUNT = 20
_SPLIT = "test"
_EVEN_SCORE, _CERTAIN = (
    0.4,
    0.3,
)  # at which half of the detections are true; from which one counts
_SIDE, _QUALITY = 220, 80
_NAMES = tuple(CLASSES[number] for number in sorted(CLASSES))
_NOTE = (
    "The first expression about each picture, and what each seat answers: blue is the annotated object, orange an "
    "answer. All that could be had without a network is here; no published weights of CLIPSeg, SAM 3, OWLv2, Grounding "
    "DINO, RF-DETR, SAM or CLIP could, and random weights would show nothing."
)


def main() -> None:
    """Writes the store, the rows and the page, and prints the comparison as text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("refer", type=Path)
    parser.add_argument("coco", type=Path)
    parser.add_argument("--nanodet-m", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("out/five-seats"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    path = given.out / "pictures.h5"
    write_store(pictures_of(given.refer, given.coco), path)
    files = OutputFiles(overwrite=True)
    with Store(path) as store:
        seats = seats_of(given.nanodet_m)
        runs = []
        for name, seat in seats.items():
            report = evaluate(seat, store, split=_SPLIT, protocols="original")
            report.write_rows(given.out / f"{name}.jsonl", outputs=files)
            runs.append(read_run(given.out / f"{name}.jsonl"))
        shown = _shown(store, seats)
    comparison = compare_runs(runs).to_dict()
    page = given.out / "five-seats.html"
    files.write_text(page, as_page(comparison, shown=shown, note=_NOTE))
    files.write_text(given.out / "five-seats.json", json.dumps(comparison, indent=1) + "\n")
    print(as_text(comparison))
    print(f"\npage: {page}")


def pictures_of(refer: Path, coco: Path) -> Dataset:
    """Returns the 20 pictures with their expressions, all in one split."""
    parts = [read_refer(refer, name=name, split_by="umd" if name == "refcocog" else "unc") for name in SETS]
    human = {number for part in parts for number in part.images}
    every = {int(one["id"]) for one in json.loads((coco / "instances.json").read_text(encoding="utf-8"))["images"]}
    further = [number for number in _FURTHER if number in every - human][: _COUNT - len(human)]
    made = make_coco_phrases(
        coco / "instances.json", images=coco / "images", exclude=every - set(further), held_out=set(further)
    )
    parts.append(made)
    records = []
    sentence = 0
    for record in (record for part in parts for record in part.records):
        expressions = []
        for expression in record.expressions:
            expressions.append(replace(expression, sentence_id=sentence))
            sentence += 1
        records.append(replace(record, ref_id=len(records), split=_SPLIT, expressions=tuple(expressions)))
    return Dataset(
        name="five-seats",
        split_by="image",
        categories={key: name for part in parts for key, name in part.categories.items()},
        images={key: image for part in parts for key, image in part.images.items()},
        annotations={key: one for part in parts for key, one in part.annotations.items()},
        records=records,
    )


def seats_of(nanodet_m: Path) -> dict[str, Any]:
    """Returns what answers, by the names of `SEATS`."""
    chooser = load_chooser()
    masks = MiniMasks(chooser.system)
    other = DrawnFinder(_Seated(NanoDetM(nanodet_m), name="NanoDet-m"), masks)
    own = DrawnFinder(_Seated(of_mini(chooser), name="NanoDet-Plus-m"), masks)
    networks = {
        "nanodet-m-chooser": ChosenByCategory(other, chooser),
        "nanodet-m": ByCategory(other),
        "nanodet-plus": ByCategory(own),
        "largest-named": LargestNamed(own),
    }
    seats = {"mini": open_evaluated("mini", torch.device("cpu")).model}
    for name, network in networks.items():
        options: dict[str, Any] = {} if name.endswith("chooser") else {"surest": True, "no_target_threshold": 0.0}
        seats[name] = PredictorOnStore(PromptedPredictor(network, name=name, **options))
    return {name: seats[name] for name in SEATS}


class _Seated:
    """A detector as a function, in the seat of an `InstanceFinder`."""

    labels = _NAMES
    min_score = _EVEN_SCORE
    draws = False

    def __init__(self, find: Any, *, name: str) -> None:
        self.name = name
        self._find = find

    def find(self, pixels: np.ndarray) -> Instances:
        """Returns the boxes in an RGB image, uint8 (H, W, 3), best first."""
        found: Instances = self._find(pixels, 0)
        return found


class MiniMasks:
    """The mask head of mini as what segments the boxes of any detector."""

    name = "mini's masks"

    def __init__(self, system: Mini) -> None:
        self._system = system

    @torch.inference_mode()
    def encode(self, pixels: np.ndarray) -> Any:
        """Encodes an RGB image, uint8 (H, W, 3)."""
        return encode(self._system, prepare(self._system.preprocess, pixels))

    @torch.inference_mode()
    def masks(self, encoded: Any, boxes: np.ndarray) -> np.ndarray:
        """Returns probabilities, float32 (N, H, W), of the objects in `boxes` (N, 4), x1 y1 x2 y2 in pixels."""
        geometry = encoded.geometry
        scale = torch.tensor([geometry.inner_width / geometry.width, geometry.inner_height / geometry.height] * 2)
        corners = torch.from_numpy(boxes) * scale + torch.tensor([geometry.left, geometry.top] * 2)
        coarse, finer = encoded.features.maps
        rows = torch.zeros(len(boxes), dtype=torch.int64)
        squares = self._system.detector.masks(coarse, corners, rows, finer=finer)
        height, width = coarse.shape[-2:]
        logits = paste_logits(squares, corners, height=height, width=width, stride=STRIDE)
        found: np.ndarray = geometry.invert(logits.float().sigmoid()).numpy()
        return found


class LargestNamed(ByCategory):
    """Answers with the largest instance of the category that the head noun names."""

    def find(self, encoded: FoundImage, texts: Sequence[str]) -> list[Candidates]:
        """Returns the instances of each text's category, each scored by its area; unlikely ones score 0."""
        boxes, likely = encoded.instances.boxes, encoded.instances.scores >= _CERTAIN
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        found = []
        for one in super().find(encoded, texts):
            # Where none is likely, the surest.
            sized = np.where((one.scores > 0) & likely, areas / max(areas.max(initial=0), 1), 0)
            found.append(replace(one, scores=(sized if sized.any() else one.scores).astype(np.float32)))
        return found


def _shown(store: Store, seats: dict[str, Any]) -> list[ShownSample]:
    """Returns the first expression about each picture with the answers of all seats."""
    rows: dict[int, int] = {}
    for row in store.sentences(_SPLIT).tolist():
        rows.setdefault(store.sentence(row).image, row)
    masks: dict[str, dict[int, np.ndarray]] = {
        name: dict(predicted_masks(seat, store, list(rows.values()), text_field="sent", threshold=0.5))
        for name, seat in seats.items()
    }
    shown = []
    for image, row in rows.items():
        sentence = store.sentence(row)
        pixels, target = store.pixels(image), rle.decode(store.mask(sentence.ref))
        answers = [_answer("annotated", pixels, target, number=0)]
        for name in SEATS:
            mask = masks[name][row]
            union = int((mask | target).sum())
            iou = f"IoU {(mask & target).sum() / union:.2f}" if union else "both empty"
            answers.append(_answer(name, pixels, mask, number=1, note="no match" if not mask.any() else iou))
        shown.append(ShownSample(text=sentence.sent, image_id=store.ref(sentence.ref).image_id, answers=answers))
    return shown


def _answer(name: str, pixels: np.ndarray, mask: np.ndarray, *, number: int, note: str = "") -> Answer:
    picture = Image.fromarray(overlay(pixels, [mask], colours=[colour(number)]))
    picture.thumbnail((_SIDE, _SIDE))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return Answer(title=name, note=note, jpeg=file.getvalue(), width=picture.width, height=picture.height)


if __name__ == "__main__":
    main()
