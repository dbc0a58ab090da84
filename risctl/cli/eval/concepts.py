"""`risctl eval --protocol cgf1` and `pbench`: evaluates the instances that a detector finds for each phrase."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from risctl.cli import console
from risctl.cli.report_option import Results
from risctl.cli.score_concepts import print_concepts

if TYPE_CHECKING:
    import torch

    from risctl.checkpoints.loaded_model import LoadedModel
    from risctl.data.store.reader import Store


def evaluate_instances(
    loaded: LoadedModel,
    store: Store,
    *,
    split: str,
    protocol: str,
    device: torch.device,
    limit: int | None,
    results: Results,
    is_main: bool,
) -> None:
    """Evaluates a detector and prints its figures.

    Args:
        loaded: The checkpoint.
        store: The store.
        split: The split.
        protocol: "cgf1" or "pbench".
        device: The device of this process.
        limit: The first so many pairs only.
        results: What is printed and written.
        is_main: Whether this process prints and writes; each of several evaluates a share.
    """
    from risctl.evaluation.concept_evaluator import detected_masks, evaluate_concepts

    if is_main:
        console.say(f"{loaded.path} on {store.path}, split {split}, {device}")
    began = time.monotonic()
    with console.counting("evaluate") as progress:
        report = evaluate_concepts(loaded.system, store, split=split, protocol=protocol, limit=limit, progress=progress)
    if not is_main:
        return
    page = None
    if results.reports or results.beside:
        from risctl.evaluation.concept_page import page_report

        page = page_report(report, store, seconds=time.monotonic() - began, device=str(device))
    print_concepts(
        report,
        data={"model": str(loaded.path), "data": str(store.path)},
        told=f"model {loaded.path}",
        page=page,
        store=store,
        masks_of=partial(detected_masks, loaded.system, store, protocol=protocol),
        results=results,
    )
