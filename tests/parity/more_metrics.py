"""Parity of figures for reasoning, concepts and expressions of videos: LISA, SAM 3, PBench, MeViS, Long-RVOS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from risctl.metrics.accumulator import Accumulator
from risctl.metrics.concept import (
    SCORE_THRESHOLD,
    ConceptSample,
    concept_figures,
    concept_sample,
    favourable,
    pairwise_ious,
    pbench_figures,
    suppressed,
)
from risctl.metrics.protocols import get_protocol
from risctl.metrics.video_expressions import (
    NO_PREDICTION,
    long_rvos_figures,
    measure_expression,
    mevis_figures,
)

Run = tuple[str, Mapping[str, Any], Mapping[str, Any], float]
"""Name, our figures, the stated ones, the tolerance."""


def runs(case: dict[str, Any], arrays: Mapping[str, np.ndarray]) -> Iterator[Run]:
    """Yield every run of every protocol of `case` that is of this module."""
    for name, stated in case["protocols"].items():
        if name == "lisa":
            for number, run in enumerate(stated["runs"]):
                found = _lisa(case, arrays, run)
                yield f"{name}.{number}", found, run["figures"], stated["tolerance"]
                yield f"{name}.{number}.float64", found, run["figures_float64"], stated["tolerance_float64"]
        elif name == "cgf1":
            for number, run in enumerate(stated["runs"]):
                samples = _concepts(case, arrays, run["annotators"])
                found = concept_figures(samples) | {"evaluated_samples": len(samples)}
                sums = {
                    "TPs": sum(one.hits for one in samples),
                    "FPs": sum(one.false for one in samples),
                    "positive_micro_FPs": sum(one.false for one in samples if one.true),
                    "FNs": sum(one.misses for one in samples),
                }
                stated_figures = run["figures"] | {"evaluated_samples": run["evaluated_samples"]} | run["counts"]
                yield f"{name}.{number}", found | sums, stated_figures, stated["tolerance"]
        elif name == "pbench":
            for number, run in enumerate(stated["runs"]):
                found = pbench_figures(_pbench(case, arrays, run["iou_thresholds"]))
                yield f"{name}.{number}", found, run["figures"], stated["tolerance"]
        elif name in ("mevis", "long_rvos"):
            yield from _videos(name, case, arrays, stated)


def is_mine(case: dict[str, Any]) -> bool:
    """Return whether a case of figures is of this module."""
    return bool({"lisa", "cgf1", "pbench", "mevis", "long_rvos"} & set(case["protocols"]))


def _lisa(case: dict[str, Any], arrays: Mapping[str, np.ndarray], run: dict[str, Any]) -> dict[str, float]:
    accumulator = Accumulator(get_protocol("lisa"))
    key = 0
    for image in run["images"]:
        truth = arrays[f"gt_{image}"]
        predictions = _unpacked(arrays[f"pred_bits_{image}"], case["shapes"][image])
        count = 1 if run["sentences"] == "first" else len(truth)
        for true, prediction in zip(truth[:count], predictions[:count], strict=True):
            changed = true.copy()
            change = run["gt_change"]
            if change is not None and change.startswith("255 becomes"):
                changed[true == 255] = int(change.split()[-1])
            elif change is not None:
                columns = np.arange(true.shape[1])[None] < true.shape[1] // 2
                changed[(true == 1) & columns] = 2
            accumulator.add(prediction, changed == 1, ignored=changed == 255, key=key, image_id=image)
            key += 1
    return {name: value / 100 for name, value in accumulator.figures().items()}


def _unpacked(bits: np.ndarray, shape: list[int]) -> np.ndarray:
    return np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(bool)


def _truth(pair: dict[str, Any], arrays: Mapping[str, np.ndarray], number: int, annotator: str) -> np.ndarray:
    masks = _unpacked(arrays[f"gt_{annotator}_{number}"], [pair[f"gt_{annotator}"], *pair["size"]])
    kept = [place for place in range(len(masks)) if place not in pair[f"crowd_{annotator}"]]
    return masks[kept]


def _concepts(case: dict[str, Any], arrays: Mapping[str, np.ndarray], annotators: list[str]) -> list[ConceptSample]:
    samples = []
    for number, pair in enumerate(case["pairs"]):
        if not all(pair["is_instance_exhaustive"][one] for one in annotators):
            continue
        masks = _unpacked(arrays[f"pred_{number}"], [pair["pred"], *pair["size"]])
        counted = masks[np.array(pair["scores"], dtype=float) >= SCORE_THRESHOLD]
        samples.append(
            favourable(
                [concept_sample(pairwise_ious(counted, _truth(pair, arrays, number, one))) for one in annotators]
            )
        )
    return samples


def _pbench(case: dict[str, Any], arrays: Mapping[str, np.ndarray], thresholds: list[float]) -> list[ConceptSample]:
    samples = []
    for number, pair in enumerate(case["pairs"]):
        masks = _unpacked(arrays[f"pred_{number}"], [pair["pred"], *pair["size"]])
        ious = pairwise_ious(masks[suppressed(masks)], _truth(pair, arrays, number, "a"))
        samples.append(concept_sample(ious, thresholds=thresholds))
    return samples


def _videos(name: str, case: dict[str, Any], arrays: Mapping[str, np.ndarray], stated: dict[str, Any]) -> Iterator[Run]:
    measures, kinds = [], []
    for number, expression in enumerate(case["expressions"]):
        kinds.append(expression["type"])
        if expression["prediction_missing"]:
            measures.append(NO_PREDICTION)
            continue
        shape = expression["shape"]
        predictions, targets = (_unpacked(arrays[f"{side}_bits_{number}"], shape) for side in ("pred", "gt"))
        measures.append(measure_expression(predictions, targets))
    tolerance = stated["tolerance"]
    every = [[one.j, one.f] for one in measures]
    if name == "mevis":
        yield name, mevis_figures(measures), stated["figures"], tolerance
    else:
        for kind, figures in stated["figures"].items():
            yield f"{name}.{kind}", long_rvos_figures(measures, kinds)[kind], figures, tolerance
        every = [[one.j, one.f, one.temporal, one.spatiotemporal] for one in measures]
    yield f"{name}.expressions", {"measures": every}, {"measures": stated["per_expression"]}, tolerance
