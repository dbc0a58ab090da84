"""Evaluates a model by the protocol and the options of its own recipe, unless others are named."""

from __future__ import annotations

from pathlib import Path

from risctl.data.store.clips import is_video_store
from risctl.data.store.reader import Store, TextField
from risctl.devices import pick_device
from risctl.evaluation.evaluated_model import open_evaluated
from risctl.evaluation.expression_rows import video_protocol_of
from risctl.evaluation.image_evaluator import evaluate as evaluate_images
from risctl.evaluation.report import Report
from risctl.evaluation.video_evaluator import evaluate_videos
from risctl.evaluation.video_report import report_of


def evaluate(
    model: str | Path | None,
    data: str | Path,
    *,
    split: str = "val",
    protocol: str | None = None,
    text_field: TextField | None = None,
    threshold: float | None = None,
    limit: int | None = None,
    workers: int = 0,
    device: str = "auto",
) -> Report:
    """Evaluates a model on a split of a store, with confidence intervals over images (or videos).

    Args:
        model: As `load` takes it.
        data: A store that `risctl prepare` made, of images or of videos.
        split: A split of the store, or `all`.
        protocol: Names of protocols between commas; None takes the model's own.
        text_field: `sent`, `raw` or `raw_lower`; None takes the model's own.
        threshold: A pixel belongs to the mask if its probability is above it; None takes the protocol's, if it fixes
            one, else the model's own, else 0.5. The report says which.
        limit: Evaluates the first so many expressions only.
        workers: Processes that decode images; 0 decodes them in this one.
        device: `auto` (CUDA, else MPS, else CPU), `cpu`, `cuda` or `mps`.

    Returns:
        The report: `figures` in percent, and `to_text()`, `to_dict()`, `rows()` for all of it.

    Raises:
        UsageError: The split or the protocol is unknown.
        DataError: The store is damaged, or the split is empty.

    Example:
        >>> report = risctl.evaluate("runs/first", "data.h5", split="val", device="cpu")
        >>> sorted(report.figures)
        ['Pr@0.5', 'Pr@0.6', 'Pr@0.7', 'Pr@0.8', 'Pr@0.9', 'mIoU', 'oIoU']
    """
    with Store(data) as store:
        store.sentences(split)  # an unknown split is an error before a model is loaded
        place = pick_device(device)
        opened = open_evaluated(model, place)
        field = text_field or opened.text_field
        if is_video_store(store):
            loaded = opened.own("a store of videos")
            chosen = video_protocol_of(store, protocol).at_threshold(
                given=threshold, recipe=loaded.recipe.eval.threshold
            )
            figures = evaluate_videos(
                loaded.system,
                store,
                split=split,
                text_field=field,
                threshold=chosen.threshold,
                protocol=chosen,
                limit=limit,
            )
            return report_of(
                figures,
                store,
                split=split,
                text_field=field,
                protocol=chosen,
                limit=limit,
                checkpoint=opened.checkpoint(),
                device=place,
            )
        return evaluate_images(
            opened.model,
            store,
            split=split,
            protocols=opened.protocols(names=protocol, threshold=threshold),
            text_field=field,
            device=place,
            text_batch=opened.text_batch,
            limit=limit,
            workers=workers,
            checkpoint=opened.checkpoint(),
        )
