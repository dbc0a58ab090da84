"""`risctl predict VIDEO PHRASE`: the masks of phrases in every frame of a video."""

from __future__ import annotations

import contextlib
from collections import ChainMap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from risctl.cli import console
from risctl.cli.announce import announce_model
from risctl.cli.calibrated import put_calibration
from risctl.errors import DataError, UsageError

if TYPE_CHECKING:
    from risctl.cli.predict.skipped import Skipped
    from risctl.inference.video_predictor import FramePredictor
    from risctl.output_files import OutputFiles
    from risctl.results import Prediction
    from risctl.vision.video_frames import Video

_FORMATS = ("png", "davis")


def open_video(source: str, *, out: Path) -> Video:
    """Opens a video.

    Args:
        source: A video file or a folder of frames.
        out: The folder that predictions are written to.

    Raises:
        UsageError: `out` is the folder of the frames.
        DataError: The video cannot be read.
    """
    from risctl.vision.video_frames import Video

    video = Video.open(Path(source))
    if video.images and out.resolve() == video.path.resolve():
        raise UsageError(f"{out} is the folder of the frames; name another folder with --out")
    if video.missing is not None:
        console.warn(f"{source} breaks off: {video.missing}; the frames before are predicted")
    return video


def check_video_formats(names: Sequence[str]) -> None:
    """Raises `UsageError` if one of the formats cannot hold a video."""
    other = [name for name in names if name not in _FORMATS]
    if other:
        raise UsageError(f"{', '.join(other)} is of pictures; --format of a video takes {' and '.join(_FORMATS)}")


def open_video_predictor(
    model: Path | None,
    video: Video,
    phrases: Sequence[str],
    *,
    tracker: str | None,
    runtime: str,
    device: str,
    threshold: float | None,
    no_target_threshold: float | None,
    surest: bool,
    calibration: str | None,
    clip_length: int,
    overlap: int,
    query: Literal["clip", "video"],
    skipped: Skipped,
) -> tuple[FramePredictor, str, list[str]]:
    """Opens what predicts a video, and says what it is.

    Args:
        model: A name as `risctl.models.open.open_predictor` takes it; with a tracker also an exported folder.
        video: The video.
        phrases: The expressions.
        tracker: What carries the masks of the first frame on; None: the model answers in every frame.
        runtime: torch, onnx or auto.
        device: Where it computes.
        threshold: In place of the model's own.
        no_target_threshold: In place of the model's own.
        surest: Of a model of transformers: whether its surest instance alone is the answer.
        calibration: What --calibration says.
        clip_length: Without a tracker: frames that the model sees at once.
        overlap: Without a tracker: frames that consecutive clips share.
        query: Without a tracker: whether the answering query is chosen in each clip or over the whole video.
        skipped: Counts the expressions that are left out.

    Returns:
        What predicts, what records call it, and the expressions that can be read.

    Raises:
        UsageError: An option does not go with the tracker, or the model takes no videos without one.
        CheckpointError: There is no usable model or tracker.
        MachineError: The device is absent, or weights are neither here nor to be had.
    """
    from risctl.cli.predict.opening import open_any
    from risctl.runtime.manifest import is_exported
    from risctl.runtime.predictor import OnnxPredictor
    from risctl.vision.video_clips import CLIP_LENGTH

    if tracker is not None:
        if (clip_length, overlap, query) != (CLIP_LENGTH, 0, "clip"):
            raise UsageError("--tracker goes from frame to frame; leave --clip-len, --overlap and --query out")
        from risctl.devices import pick_device
        from risctl.models.tracked_video import TrackedVideoPredictor
        from risctl.models.tracking import open_tracker

        carrying = open_tracker(tracker, device=pick_device(device))
        answering = open_any(
            model,
            runtime=runtime,
            device=device,
            threshold=threshold,
            no_target_threshold=no_target_threshold,
            surest=surest,
        )
        put_calibration(answering, model=model, option=calibration, given=no_target_threshold)
        usable = skipped.usable_phrases(phrases, check=answering.warnings)
        announce_model(answering, usable)
        console.say(f"the masks of the first frame are carried on by {carrying.name}")

        def say(prediction: Prediction) -> None:
            why = f"score {prediction.score:.3f}" if not prediction.matched else "its mask is empty"
            console.say(f"{prediction.text!r}: no match in the first frame of {video.name}, {why}; it gets empty masks")

        tracked = TrackedVideoPredictor(
            answering, carrying, threshold=0.5 if threshold is None else threshold, on_no_match=say
        )
        return tracked, f"{answering.path} + {carrying.name}", usable
    if runtime == "onnx" or (model is not None and is_exported(model)):
        from risctl.runtime.video_predictor import OnnxVideoPredictor

        exported = open_any(
            model,
            runtime=runtime,
            device=device,
            threshold=threshold,
            no_target_threshold=no_target_threshold,
            surest=surest,
            calibration=calibration,
        )
        assert isinstance(exported, OnnxPredictor)
        in_clips = OnnxVideoPredictor(exported, clip_length=clip_length, overlap=overlap, query=query)
        usable = skipped.usable_phrases(phrases, check=exported.warnings)
        announce_model(exported, usable)
        _say_clips(exported.takes_clips, video, clip_length, query)
        return in_clips, str(exported.path), usable
    from risctl.inference.video_predictor import VideoPredictor
    from risctl.models.open import open_own
    from risctl.systems.protocols import takes_clips

    own = open_own(model, what="a video", device=device, threshold=threshold, no_target_threshold=no_target_threshold)
    put_calibration(own, model=model, option=calibration, given=no_target_threshold)
    usable = skipped.usable_phrases(phrases, check=own.warnings)
    announce_model(own, usable)
    _say_clips(takes_clips(own.system), video, clip_length, query)
    predictor = VideoPredictor(
        own.system, threshold=own.threshold, clip_length=clip_length, overlap=overlap, query=query
    )
    return predictor, str(own.path), usable


def _say_clips(in_clips: bool, video: Video, length: int, query: str) -> None:
    """Says so where a model of clips sees a video in parts."""
    if in_clips and (video.count is None or video.count > length):
        console.say(
            f"predicting in clips of {length} frames, with the query chosen per {query}; results may differ from one "
            "pass over the whole video, as ReferFormer was published with"
        )


def predict_video(
    predictor: FramePredictor,
    video: Video,
    phrases: list[str],
    *,
    model: str,
    out: Path,
    formats: Sequence[str],
    labels: bool,
    outputs: OutputFiles,
    skipped: Skipped,
    as_json: bool,
) -> None:
    """Writes the predictions of a video and prints one line per phrase.

    Args:
        predictor: What predicts.
        video: The video.
        phrases: The expressions.
        model: What records call the model.
        out: The folder to write to.
        formats: What is written: `png` (masks, overlay and record of each phrase), `davis`.
        labels: Whether overlays show the expression.
        outputs: The guard of the command's output files.
        skipped: Counts the expressions that were left out, and the frames that are.
        as_json: Whether the records are printed as JSON.

    Raises:
        KeyboardInterrupt: Ctrl-C or SIGTERM; the finished frames are kept.
        DataError: The video breaks off, or frames could not be read; the finished frames are kept.
    """
    from risctl.inference.davis_files import DavisPredictions
    from risctl.inference.video_output_files import VideoPredictions

    writers: list[VideoPredictions | DavisPredictions] = []
    if "png" in formats:
        writers.append(
            VideoPredictions(
                out,
                video,
                texts=phrases,
                model=model,
                threshold=predictor.threshold,
                labels=labels,
                outputs=outputs,
            )
        )
    if "davis" in formats:
        writers.append(DavisPredictions(out, video, texts=phrases, outputs=outputs))
    stopped: BaseException | None = None
    try:
        with contextlib.ExitStack() as stack:
            for writer in writers:
                stack.enter_context(writer)
            progress = stack.enter_context(console.counting(video.name))
            for answers in predictor.predict(video, phrases, progress=progress, on_damaged=skipped.frame):
                for writer in writers:
                    writer.add(answers)
            if not skipped.frames:
                for writer in writers:
                    writer.done()
    except (KeyboardInterrupt, DataError) as error:
        if not writers[0].frames:
            raise
        stopped = error
    # A record a phrase, which has what all writers tell of it.
    records = [dict(ChainMap(*several)) for several in zip(*(one.records() for one in writers), strict=True)]
    for record in records:
        if not as_json:
            places = (record[key] for key in ("masks", "overlay", "davis") if key in record)
            line = console.line_of((record["text"], f"{record['frames']} frames", *places))
            console.result(line, data=record, as_json=False)
    if as_json:
        console.result("", data=records, as_json=True)
    if stopped is not None:
        console.say(f"stopped before the end; the {writers[0].frames} finished frames are kept in {out}")
        raise stopped
    skipped.raise_if_any()
