"""The video side of `risctl eval`: J and F on a store of videos."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from risctl.cli import console
from risctl.cli.report_option import write_reports

if TYPE_CHECKING:
    import torch

    from risctl.checkpoints.checkpoint import Loaded
    from risctl.data.store.reader import Store, TextField


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
    reports: list[Path] | None,
    pictures: int,
    checkpoint: str | None,
    submission: Path | None,
    clip_length: int | None,
    is_first: bool,
    as_json: bool,
) -> None:
    """Measure a loaded model and print its figures; `rows`: a file for a JSON line an expression; `reports`,
    with so many `pictures` of each kind, and the hash of the `checkpoint` to state: files of the report.

    Of several processes each measures a share, and the first tells and writes; a submission is the first one's alone.
    """
    from risctl.evaluation.video_evaluator import evaluate_videos
    from risctl.files import replacing
    from risctl.metrics.protocols import VIDEOS

    chosen = threshold or loaded.recipe.eval.threshold or 0.5
    VIDEOS.with_threshold(chosen)  # Nonsense is told before anything is computed.
    if is_first:
        console.say(f"{loaded.path} on {store.path}, split {split}, {place}, mask where probability > {chosen:g}")
    if submission is not None:
        if not is_first:
            return
        from risctl.evaluation.submission import write_submission
        from risctl.inference.video_predictor import CLIP_LENGTH
        from risctl.systems.protocols import takes_clips

        if takes_clips(loaded.system):
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
    if reports:
        from risctl.evaluation.video_report import MiddleFrames, report_of

        drawn = MiddleFrames(loaded.system, store, report, text_field=text_field, threshold=chosen)
        whole = report_of(
            report,
            store,
            split=split,
            text_field=text_field,
            threshold=chosen,
            limit=limit,
            checkpoint=checkpoint,
            device=place,
        )
        about = {"model": str(loaded.path), "data": str(store.path)}
        data |= write_reports(
            reports, whole, about=about, store=store, find=drawn.find, look=drawn.look, pictures=pictures
        )
    console.result(report.to_text(), data=data, as_json=as_json)
