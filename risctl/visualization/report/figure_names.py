"""Explains the names of figures, and selects those that a breakdown's table has room for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

MEANINGS = {
    "oIoU": "overall IoU: sum of intersections / sum of unions (elsewhere also cIoU)",
    "mIoU": "mean of the samples' IoU",
    "gIoU": "mean over all samples; one without a target scores 1 if nothing is predicted, else 0",
    "cIoU": "sum of intersections / sum of unions over all samples; false pixels of no-target samples add to the union",
    "T-acc": "share of samples with a target in which something is predicted: TN / (TN + FP)",
    "N-acc": "share of samples without a target in which nothing is predicted: TP / (TP + FN)",
    "J&F": "mean of J and F",
    "J": "region similarity: mean IoU",
    "F": "boundary measure",
    "cgF1": "pmF1 x IL_MCC, mean over IoU .50 to .95",
    "cgF1@0.5": "the same at IoU .5",
    "cgF1@0.75": "the same at IoU .75",
    "positive_micro_F1": "pmF1: F1 of all instances of pairs that have any",
    "positive_macro_F1": "mean F1 of pairs with both true and predicted instances",
    "IL_MCC": "Matthews' correlation of 'something is there': truth and prediction",
    "IL_F1": "F1 of 'something is there'",
    "f1": "mean F1 of the instances of each pair that has any",
    "mAP_0.5:0.95": "average precision by COCO's evaluator, mean over IoU .5 to .95",
}

_IN_BREAKDOWNS = (
    "oIoU", "mIoU", "Pr@0.5", "Pr@0.50", "Pr@0.7", "Pr@0.70", "Pr@0.9", "Pr@0.90",
    "gIoU", "cIoU", "T-acc", "N-acc", "J&F", "J", "F", "cgF1", "positive_micro_F1", "IL_MCC", "f1",
)  # fmt: skip


def meaning(figure: str, *, compare: str | None) -> str:
    """Returns the meaning of `figure`; `compare` is how Pr@X compares, ">=" or ">"."""
    if figure.startswith("Pr@"):
        return f"share of samples with IoU {compare or '>='} {figure[3:]}"
    if figure.endswith("supervised)"):
        return "DAVIS 2017's own: objects compete for each pixel; mean over the four annotators"
    return MEANINGS.get(figure, "average precision by COCO's evaluator" if "AP" in figure else "")


def curve_name(result: Mapping[str, Any]) -> str:
    """Returns the name of a result's curve: Pr@X only where the protocol reports such figures."""
    if any(figure.startswith("Pr@") for figure in result["figures"]):
        return "Pr@X"
    return f"Share of samples with IoU {result['precision_comparison'] or '>='} X"


def figures_in_breakdowns(figures: Iterable[str], *, headline: str) -> list[str]:
    """Returns which of `figures` a breakdown's table shows, `headline` first."""
    there = set(figures)
    return [name for name in (headline, *(one for one in _IN_BREAKDOWNS if one != headline)) if name in there]


def dataset_name(report: Mapping[str, Any]) -> str:
    """Returns the name of an evaluation's dataset, with whose division into splits it is."""
    dataset = report["dataset"]
    return f"{dataset['name']} ({dataset['split_by']})" if dataset["split_by"] else str(dataset["name"])


def report_title(report: Mapping[str, Any]) -> str:
    """Returns the title of an evaluation: the model, where it is known, and what it was evaluated on."""
    data = f"{dataset_name(report)}, split {report['split']}"
    model = str(report.get("model") or "")
    if not model:
        return data
    path = PurePath(model)
    if path.suffix != ".safetensors":
        # A zero-shot model is described in words, its name first.
        return f"{model.partition(',')[0]} on {data}"
    # A run is known by its folder, another checkpoint by its own name.
    return f"{path.parent.name if path.stem in ('best', 'last') and path.parent.name else path.stem} on {data}"


def beside_protocols(report: Mapping[str, Any]) -> str:
    """Returns in one line the figures of an evaluation's JSON that belong to no protocol; "" if it has none."""
    figures = report.get("zeroshot") or {}
    listed = ", ".join(f"{name} {value:.2f}%" for name, value in figures.items() if value is not None)
    return f"{listed} ({report['definitions']})" if listed and report.get("definitions") else listed
