r"""Evaluates mini against simple baselines on the same expressions.

    python benchmarks/mini.py MODEL --refer refer_mini --phrases data/coco-phrases.h5 --scenes scenes-11.h5 \
        --boxes refcoco_eval --json mini.json

MODEL is a run folder or a checkpoint. Each option is a part that can be left out:

--refer    a folder in REFER's published layout with refcoco, refcoco+ and refcocog: human expressions, also by set and
           by the kinds of words in them, with the reasons of failures;
--phrases  a store of `risctl prepare coco-phrases`: held-out images with generated expressions (split test);
--scenes   a store of `risctl prepare scenes` of another seed than in training: by ability (split test);
--boxes    a folder with RefCOCO's evaluation splits and all boxes of their images: the selection alone, no pixels.

Protocol `original`; 95 % intervals by bootstrap over images, differences paired. No-target expressions do not count in
mIoU; how well they are refused is shown for several thresholds, which are chosen on the val splits. Takes some minutes
on one core.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from box_accuracy import right_choices
from mini_peers import BEST, PEERS, draw_all, peers

from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.data.box_grounding.samples import chance_accuracy
from risctl.data.datasets.refcoco_boxes import EVALUATION_SPLITS, read_evaluation
from risctl.data.datasets.refer.reader import read_refer
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.inference.batched_inference import prepared_images
from risctl.language.ability_words import ABILITIES, abilities_in
from risctl.metrics.accumulator import Accumulator
from risctl.metrics.bootstrap import intervals, paired_differences, share_interval, subset_intervals
from risctl.metrics.figures import figures, sample_ious
from risctl.metrics.protocols import get_protocol
from risctl.metrics.rows import Rows
from risctl.systems.mini.model import Mini
from risctl.vision import rle

MODEL = "mini"
SETS = ("refcoco", "refcoco+", "refcocog")
THRESHOLDS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PROTOCOL = get_protocol("original")
_TEXTS = 64
_STORE = 1_000_000  # offset between the sample keys of two stores


def main() -> int:
    """Runs the measurements, prints and writes them; returns the exit code."""
    arguments = _parsed()
    began = time.monotonic()
    system = load_checkpoint(arguments.model).system
    if not isinstance(system, Mini):
        sys.exit(f"{arguments.model} is not a mini model")
    system.eval()
    presence = system.no_target_threshold if arguments.no_target_threshold is None else arguments.no_target_threshold
    system.no_target_threshold = 0.0  # predict a mask for every expression; refusals are computed from the scores
    report: dict[str, Any] = {
        "model": str(arguments.model),
        "parameters": sum(parameter.numel() for parameter in system.parameters()),
        "protocol": PROTOCOL.describe(),
        "presence": presence,
        "threads": torch.get_num_threads(),
    }

    def emit(lines: Sequence[str]) -> None:
        print("\n".join(lines), flush=True)
        report["seconds"] = round(time.monotonic() - began, 1)
        if arguments.json is not None:
            arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")

    emit(
        [
            f"{arguments.model}: {report['parameters']:,} parameters, no-target threshold {presence:g}",
            report["protocol"],
        ]
    )
    options = {"presence": presence, "resamples": arguments.resamples}
    if arguments.refer is not None:
        with tempfile.TemporaryDirectory() as folder:
            stores = [_stored(arguments.refer, name, Path(folder)) for name in SETS]
            rows_of = measure(system, stores, split="all")
        report["human expressions"] = report_of(rows_of, by="words", **options)
        emit(part_lines("human expressions", report["human expressions"]))
        sets = np.array([SETS[key // _STORE] for key in rows_of[MODEL].key.tolist()])
        apart = {part: report_of(_subset(rows_of, sets == part), by="words", **options) for part in SETS}
        report["human expressions by set"] = apart
        emit([line for part in SETS for line in part_lines(part, apart[part])[: 2 + len(PEERS)]])
    for name, path in (("generated expressions", arguments.phrases), ("scenes", arguments.scenes)):
        if path is not None:
            with Store(path) as store:
                on_val = measure(system, [store], split="val", beside=False)[MODEL]
                report[f"presence of {name} on val"] = by_threshold(on_val)
                emit(["", f"presence, {name}, split val", *presence_lines(by_threshold(on_val))])
                report[name] = report_of(measure(system, [store], split="test"), by="abilities", **options)
                emit(part_lines(name, report[name]))
    if arguments.boxes is not None:
        report["box choice"] = box_choice(system, arguments.boxes, resamples=arguments.resamples)
        emit(box_lines(report["box choice"]))
    emit(["", f"{report['seconds']:.0f} s with {report['threads']} threads"])
    return 0


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    for part in ("refer", "phrases", "scenes", "boxes"):
        parser.add_argument(f"--{part}", type=Path)
    parser.add_argument("--no-target-threshold", type=float, help="instead of the model's own threshold")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--json", type=Path, help="where to write all figures")
    return parser.parse_args()


def _stored(refer: Path, name: str, folder: Path) -> Store:
    """Returns a set of the published files `refer` as a store in `folder`."""
    dataset = read_refer(refer, name=name, split_by="umd" if name == "refcocog" else "unc")
    write_store(dataset, folder / f"{name}.h5")
    return Store(folder / f"{name}.h5")


@torch.inference_mode()
def measure(system: Mini, stores: Sequence[Store], *, split: str, beside: bool = True) -> dict[str, Rows]:
    """Returns the rows of the model and, if `beside`, of each baseline, on the same samples of all `stores`."""
    names = (MODEL, *PEERS) if beside else (MODEL,)
    scored = {name: Accumulator(PROTOCOL) for name in names}
    for number, store in enumerate(stores):
        of_image: dict[int, list[int]] = {}
        for row in store.sentences(split):
            of_image.setdefault(store.sentence(int(row)).image, []).append(int(row))
        for prepared in prepared_images(store, list(of_image), system.preprocess, workers=0):
            sentences = [store.sentence(row) for row in of_image[prepared.row]]
            refs = [store.ref(one.ref) for one in sentences]
            targets = [np.ascontiguousarray(rle.decode(store.mask(one.ref))) for one in sentences]
            visual = system.encode_image(prepared.tensor[None], prepared.geometry.padding()[None])
            masks_by_sentence: list[dict[str, np.ndarray]] = []
            scores: list[float] = []
            detections = draw_all(system, visual, prepared.geometry) if beside else None
            for start in range(0, len(sentences), _TEXTS):
                texts = [one.sent for one in sentences[start : start + _TEXTS]]
                ids, masks = (torch.stack(part) for part in zip(*map(system.preprocess.text, texts), strict=True))
                repeated = visual.select(torch.zeros(len(texts), dtype=torch.int64))
                output = system.decode(repeated, system.encode_text(ids, masks))
                predictions = system.predict(
                    output, geometries=[prepared.geometry] * len(texts), texts=texts, threshold=PROTOCOL.threshold
                )
                own_masks = [{MODEL: prediction.mask} for prediction in predictions]
                if detections is not None:
                    others = peers(detections, output.extras["choice"], texts, targets[start : start + _TEXTS])
                    own_masks = [mine | theirs for mine, theirs in zip(own_masks, others, strict=True)]
                masks_by_sentence.extend(own_masks)
                scores.extend(prediction.score for prediction in predictions)
            for sentence, ref, target, masks_by_name, score in zip(
                sentences, refs, targets, masks_by_sentence, scores, strict=True
            ):
                for name, accumulator in scored.items():
                    accumulator.add(
                        masks_by_name[name],
                        target,
                        key=number * _STORE + sentence.row,
                        image_id=ref.image_id,
                        ref_id=ref.ref_id,
                        sentence_id=sentence.sentence_id,
                        text=sentence.sent,
                        abilities=sentence.abilities,
                        score=score,
                        targeted=bool(ref.annotations),
                    )
    return {name: accumulator.rows() for name, accumulator in scored.items()}


def refusing(rows: Rows, threshold: float) -> Rows:
    """Returns `rows` with an empty mask for each expression whose score is below `threshold`."""
    none = rows.score < threshold
    return replace(
        rows,
        intersection=np.where(none, 0, rows.intersection),
        union=np.where(none, rows.target, rows.union),
        predicted=np.where(none, 0, rows.predicted),
        predicted_none=rows.predicted_none | none,
    )


def by_threshold(rows: Rows) -> dict[str, dict[str, float]]:
    """Returns the model's figures at each of `THRESHOLDS`, and without refusals."""
    names = ("mIoU", "gIoU", "N-acc", "T-acc")
    return {
        f"{threshold:g}": {
            name: _round(value) for name, value in figures(refusing(rows, threshold), PROTOCOL).items() if name in names
        }
        for threshold in (0.0, *THRESHOLDS)
    }


def report_of(rows_of: dict[str, Rows], *, presence: float, by: str, resamples: int) -> dict[str, Any]:
    """Returns the figures of all rows, their differences from the model, and the model's figures by kind of expression.

    Args:
        rows_of: Rows by name, those of the model among them.
        presence: The no-target threshold of the model.
        by: "abilities" as tagged in the store, or the "words" of the expressions.
        resamples: Bootstrap resamples.
    """
    rows_of = rows_of | {MODEL: refusing(rows_of[MODEL], presence)}
    own = rows_of[MODEL]
    report: dict[str, Any] = {
        "phrases": len(own),
        "without a target": int((~own.targeted).sum()),
        "pictures": len(np.unique(own.image_id)),
        "figures": {},
    }
    for name, rows in rows_of.items():
        spans = intervals(rows, PROTOCOL, resamples=resamples)
        report["figures"][name] = {
            figure: {"value": _round(value), **_span(spans.get(figure))}
            for figure, value in figures(rows, PROTOCOL).items()
        }
        if name != MODEL:
            gain = paired_differences(rows, own, PROTOCOL, resamples=resamples)["mIoU"]
            report["figures"][name]["mIoU"]["mini better by"] = {"value": _round(gain.value), **_span(gain)}
    report["by kind"] = _by_kind(own, rows_of[BEST], by=by, resamples=resamples)
    report["outcomes"] = outcomes(own, rows_of[BEST])
    if (~own.targeted).any():
        report["by presence"] = by_threshold(rows_of[MODEL])
    return report


def _by_kind(rows: Rows, best: Rows, *, by: str, resamples: int) -> dict[str, Any]:
    """Returns mIoU and Pr@0.5 of the expressions of each kind."""
    tags = [abilities_in(text) for text in rows.text] if by == "words" else list(rows.abilities)
    kinds = ABILITIES if by == "words" else rows.known_abilities()
    chosen = {kind: np.array([kind in tag for tag in tags]) & rows.targeted for kind in kinds}
    chosen["none of these"] = np.array([not tag for tag in tags]) & rows.targeted
    chosen = {kind: which for kind, which in chosen.items() if which.any()}
    spans = subset_intervals(rows, PROTOCOL, list(chosen.values()), figure="mIoU", resamples=resamples)
    iou, reachable = sample_ious(rows, PROTOCOL), sample_ious(best, PROTOCOL)
    return {
        kind: {
            "phrases": int(which.sum()),
            "mIoU": {"value": _round(100 * float(iou[which].mean())), **_span(span)},
            "Pr@0.5": _round(100 * float((iou[which] >= 0.5).mean())),
            "Pr@0.5 of the best detection": _round(100 * float((reachable[which] >= 0.5).mean())),
        }
        for (kind, which), span in zip(chosen.items(), spans, strict=True)
    }


def outcomes(rows: Rows, best: Rows) -> dict[str, int]:
    """Counts the expressions with a target that were segmented correctly (IoU at least 0.5), and why others not."""
    targeted = rows.targeted
    right = targeted & (sample_ious(rows, PROTOCOL) >= 0.5)
    detected = sample_ious(best, PROTOCOL) >= 0.5
    refused = targeted & rows.predicted_none
    return {
        "right": int(right.sum()),
        "refused": int(refused.sum()),
        "not detected, or a poor mask": int((targeted & ~right & ~detected & ~refused).sum()),
        "detected, but another instance selected": int((targeted & ~right & detected & ~refused).sum()),
    }


def box_choice(system: Mini, folder: Path, *, resamples: int) -> dict[str, Any]:
    """Returns the accuracy of the selection among all boxes for each evaluation split, and that of chance."""
    report = {}
    for split in EVALUATION_SPLITS:
        questions = read_evaluation(folder, split)
        right = right_choices(system, questions)
        # Numbered as they appear: the order of addresses would give other intervals in every run.
        numbers: dict[int, int] = {}
        pictures_of = np.array([numbers.setdefault(id(question.boxes), len(numbers)) for question in questions])
        report[split] = {
            "phrases": len(questions),
            "right": {
                "value": _round(100 * float(right.mean())),
                **_span(share_interval(right, pictures_of, resamples=resamples)),
            },
            "chance": _round(100 * chance_accuracy(questions)),
        }
    return report


def box_lines(report: dict[str, Any]) -> list[str]:
    """Formats the figures of the selection alone."""
    return [
        "",
        "selection among all annotated boxes, no pixels",
        *(
            f"  {split:<16} {one['phrases']:>8,} expressions right {_shown(one['right'])}  chance {one['chance']:.1f}"
            for split, one in report.items()
        ),
    ]


def part_lines(name: str, report: dict[str, Any]) -> list[str]:
    """Formats the figures of a part."""
    absent = report["without a target"]
    counts = f"{report['phrases']} expressions ({absent} without a target), {report['pictures']} images"
    lines = ["", f"{name}: {counts}"]
    for who, own in report["figures"].items():
        gain = own["mIoU"].get("mini better by")
        beside = f"  mini better by {_shown(gain)}" if gain else ""
        lines.append(
            f"  {who:<28} mIoU {_shown(own['mIoU'])}  oIoU {own['oIoU']['value']:5.1f}  "
            f"Pr@0.5 {own['Pr@0.5']['value']:5.1f}{beside}"
        )
    lines.append("  " + ", ".join(f"{what}: {count}" for what, count in report["outcomes"].items()))
    for kind, one in report["by kind"].items():
        lines.append(
            f"    {kind:<14} {one['phrases']:>5} expressions  mIoU {_shown(one['mIoU'])}  Pr@0.5 {one['Pr@0.5']:5.1f} "
            f"of {one['Pr@0.5 of the best detection']:5.1f}"
        )
    return lines + ([] if "by presence" not in report else presence_lines(report["by presence"]))


def presence_lines(rows: dict[str, dict[str, float]]) -> list[str]:
    """Formats the figures by threshold."""
    return [
        f"    below {threshold:>4} refused:  " + "  ".join(f"{name} {value:5.1f}" for name, value in one.items())
        for threshold, one in rows.items()
    ]


def _subset(rows_of: dict[str, Rows], chosen: np.ndarray) -> dict[str, Rows]:
    return {name: rows.subset(chosen) for name, rows in rows_of.items()}


def _span(span: Any) -> dict[str, float]:
    return {} if span is None else {"low": _round(span.low), "high": _round(span.high)}


def _shown(one: dict[str, float]) -> str:
    return f"{one['value']:5.1f} ({one['low']:.1f} to {one['high']:.1f})" if "low" in one else f"{one['value']:5.1f}"


def _round(value: float) -> float:
    return round(float(value), 2)


if __name__ == "__main__":
    sys.exit(main())
