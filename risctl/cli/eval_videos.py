"""The video side of `risctl eval`: J and F on a store of videos."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from risctl.cli import console

if TYPE_CHECKING:
    import torch

    from risctl.data.store.reader import Store, TextField
    from risctl.engine.checkpoint import Loaded


def evaluate_video_model(
    loaded: Loaded,
    store: Store,
    *,
    split: str,
    text_field: TextField,
    place: torch.device,
    threshold: float | None,
    limit: int | None,
    rows: Path | None,
    submission: Path | None,
    clip_length: int | None,
    is_first: bool,
    as_json: bool,
) -> None:
    """Measure a loaded model and print its figures; `rows`: a file for a JSON line an expression.

    Of several processes each measures a share, and the first tells and writes; a submission is the first one's alone.
    """
    from risctl.data.atomic import replacing
    from risctl.engine.video_evaluator import evaluate_videos

    chosen = threshold or loaded.recipe.eval.threshold or 0.5
    if is_first:
        console.say(f"{loaded.path} on {store.path}, split {split}, {place}, mask where probability > {chosen:g}")
    if submission is not None:
        if not is_first:
            return
        from risctl.engine.submission import write_submission
        from risctl.engine.video_predictor import CLIP_LENGTH

        if loaded.system.takes_clips:
            console.say(
                f"in clips of {clip_length or CLIP_LENGTH} frames, the query chosen over each video; one pass over all "
                "frames, as ReferFormer was published with, may differ and is had with --clip-len"
            )
        with console.counting("predict") as progress:
            done = write_submission(
                loaded.system,
                store,
                submission,
                split=split,
                text_field=text_field,
                device=place,
                clip_length=clip_length or CLIP_LENGTH,
                threshold=chosen,
                progress=progress,
            )
        told = (
            f"{done.path}: {done.masks:,} masks of {done.expressions:,} expressions in {done.videos:,} videos, complete"
        )
        written = {**asdict(done), "path": str(done.path), "split": split, "complete": True}
        console.result(told, data=written, as_json=as_json)
        return
    with console.counting("evaluate") as progress:
        report = evaluate_videos(
            loaded.system,
            store,
            split=split,
            text_field=text_field,
            device=place,
            clip_length=clip_length,
            threshold=chosen,
            limit=limit,
            progress=progress,
        )
    if not is_first:
        return
    data = {
        "model": str(loaded.path),
        "data": str(store.path),
        "dataset": store.name,
        "fingerprint": store.fingerprint,
        "split": split,
        "text_field": text_field,
        "threshold": chosen,
        "figures": report.figures,
        "expressions": len(report.rows),
        "videos": report.videos,
        "clip_length": report.clip_length,
        "query": report.query,
        "frames": report.frames,
        "seconds": round(report.seconds, 1),
    }
    if rows is not None:
        with replacing(rows) as beside:
            beside.write_text("".join(f"{json.dumps(asdict(row))}\n" for row in report.rows), encoding="utf-8")
        data["rows"] = str(rows)
    console.result(report.to_text(), data=data, as_json=as_json)
