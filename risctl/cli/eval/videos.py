"""`risctl eval` on a store of videos: J and F."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from risctl.cli import console
from risctl.cli.report_option import write_reports
from risctl.errors import UsageError

if TYPE_CHECKING:
    import torch

    from risctl.data.store.reader import Store, TextField
    from risctl.evaluation.evaluated_model import EvaluatedModel
    from risctl.metrics.protocols import Protocol
    from risctl.output_files import OutputFiles


def evaluate_video_model(
    opened: EvaluatedModel,
    store: Store,
    *,
    tracker: str | None,
    split: str,
    text_field: TextField,
    device: torch.device,
    protocol: Protocol,
    threshold: float | None,
    limit: int | None,
    rows: Path | None,
    reports: list[Path] | None,
    pictures: int,
    beside: bool,
    checkpoint: str | None,
    submission: Path | None,
    clip_length: int | None,
    outputs: OutputFiles,
    is_main: bool,
    as_json: bool,
) -> None:
    """Evaluates a model and prints its figures, or writes a submission.

    Args:
        opened: The model.
        store: The store of videos.
        tracker: What carries the masks of the first frame on; None: the model answers in every frame.
        split: The split.
        text_field: The form of the text.
        device: The device of this process.
        protocol: The protocol of the figures.
        threshold: A pixel belongs to the mask if its probability exceeds this. Default: the recipe's, else 0.5.
        limit: The first so many expressions only.
        rows: A file for one JSON line per expression.
        reports: The files of the report.
        pictures: How many worst and how many best samples a page shows.
        beside: Whether the published figures stand beside.
        checkpoint: The checkpoint's hash, stated in the report.
        submission: The zip file of a submission, instead of figures.
        clip_length: Frames that the model sees at once.
        outputs: The guard of the command's output files.
        is_main: Whether this process prints and writes; each of several evaluates a share.
        as_json: Whether the figures are printed as JSON.
    """
    from risctl.evaluation.video_evaluator import evaluate_videos
    from risctl.inference.video_predictor import FramePredictor
    from risctl.systems.base import System

    system: System | FramePredictor
    if tracker is None:
        loaded = opened.own("a store of videos")
        protocol = protocol.at_threshold(given=threshold, recipe=loaded.recipe.eval.threshold)
        system, name, trained = loaded.system, opened.name, opened.trained
    else:
        if clip_length is not None:
            raise UsageError("--tracker goes from frame to frame; leave --clip-len out")
        # The threshold of a recipe is that of its model, which answers in the first frame only.
        protocol = protocol.at_threshold(given=threshold, recipe=None)
        system, name = opened.tracked(tracker, device=device, threshold=protocol.threshold)
        trained = replace(opened.trained, weights=f"{opened.trained.weights}, carried through the video by {tracker}")
    chosen = protocol.threshold
    if is_main:
        told = protocol.threshold_text()
        console.say(f"{name} on {store.path}, split {split}, {device}, mask where {told}")
    if submission is not None:
        if not is_main:
            return
        from risctl.evaluation.submission import write_submission
        from risctl.systems.protocols import takes_clips
        from risctl.vision.video_clips import CLIP_LENGTH

        if isinstance(system, System) and takes_clips(system):
            console.say(
                f"predicting in clips of {clip_length or CLIP_LENGTH} frames, with the query chosen over each video; "
                "results may differ from one pass over all frames, as ReferFormer was published with: see --clip-len"
            )
        with console.counting("predict") as progress:
            done = write_submission(
                system,
                store,
                submission,
                split=split,
                text_field=text_field,
                clip_length=clip_length or CLIP_LENGTH,
                threshold=chosen,
                progress=progress,
                outputs=outputs,
            )
        text = (
            f"{done.path}: {done.masks:,} masks of {done.expressions:,} expressions in {done.videos:,} videos, complete"
        )
        written = {**asdict(done), "path": str(done.path), "split": split, "complete": True}
        console.result(text, data=written, as_json=as_json)
        return
    with console.counting("evaluate") as progress:
        report = evaluate_videos(
            system,
            store,
            split=split,
            text_field=text_field,
            clip_length=clip_length,
            threshold=chosen,
            protocol=protocol,
            limit=limit,
            progress=progress,
        )
    if not is_main:
        return
    data = {
        "model": name,
        "data": str(store.path),
        "dataset": store.name,
        "fingerprint": store.fingerprint,
        "split": split,
        "text_field": text_field,
        "protocol": protocol.describe(),
        "threshold": chosen,
        "threshold_source": protocol.threshold_source,
        "figures": report.figures,
        "expressions": len(report.rows),
        "videos": report.videos,
        "clip_length": report.clip_length,
        "query": report.query,
        "frames": report.frames,
        "seconds": round(report.seconds, 1),
    }
    text = f"{report.to_text()}\n{protocol.describe()}"
    if rows is not None or reports or beside:
        from risctl.evaluation.video_report import MiddleFrames, report_of, row_dicts

        full_report = report_of(
            report,
            store,
            split=split,
            text_field=text_field,
            protocol=protocol,
            limit=limit,
            checkpoint=checkpoint,
            device=device,
            resamples=1000 if reports or beside else 0,
        )
        if rows is not None:
            outputs.write_json_lines(rows, row_dicts(full_report, report), allow_nan=True)
            data["rows"] = str(rows)
    if reports or beside:
        middle = MiddleFrames(system, store, report, text_field=text_field, threshold=chosen)
        if beside:
            full_report = full_report.beside_published(trained)
        if full_report.published is not None:
            text = f"{text}\n\n{full_report.published.to_text()}"
            data["published"] = full_report.published.to_dict()
        about = {"model": name, "data": str(store.path)}
        data |= write_reports(
            reports,
            full_report,
            trained=trained,
            about=about,
            store=store,
            masks_of=middle.masks_of,
            image_of=middle.image_of,
            pictures=pictures,
            outputs=outputs,
        )
    console.result(text, data=data, as_json=as_json)
