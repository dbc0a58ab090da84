"""`risctl predict`: segments what phrases refer to in images and videos."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.announce import announce_model
from risctl.cli.calibrated import CalibrationOption, put_calibration
from risctl.cli.options import (
    AnyModelOption,
    BatchOption,
    Device,
    DeviceOption,
    JsonOption,
    OutFolderOption,
    OverwriteOption,
    QuietOption,
    SurestOption,
    TrackerOption,
    WorkersOption,
    batch_of,
)
from risctl.cli.predict.formats import PNG, CopiesOption, FormatsOption, chosen_formats
from risctl.cli.predict.inputs import find_images, split_arguments
from risctl.cli.predict.skipped import Skipped, remark_on_phrases
from risctl.errors import UsageError

EXAMPLE = 'Example: risctl predict photo.jpg "the red cup" "the chair on the left"'

app = typer.Typer()


class Runtime(StrEnum):
    """What runs the model."""

    auto = "auto"
    torch = "torch"
    onnx = "onnx"


class QueryScope(StrEnum):
    """The frames over which a video model chooses the query that it answers with."""

    clip = "clip"
    video = "video"


@app.command("predict", epilog=EXAMPLE)
def predict(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE... PHRASE...",
            help="First the pictures: a file, a folder, a quoted pattern ('photos/*.jpg'), or - for standard input. "
            "Then the phrases, each in quotes.",
            show_default=False,
        ),
    ],
    model: AnyModelOption = None,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", "-t", help="A further phrase; may be repeated.", show_default=False),
    ] = None,
    out: OutFolderOption = Path("predictions"),
    overwrite: OverwriteOption = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="A pixel belongs to the mask if its probability exceeds this. Default: that of the recipe's protocol, "
            "if it fixes one, else the recipe's, else 0.5."
        ),
    ] = None,
    no_target_threshold: Annotated[
        float | None,
        typer.Option(
            help='A phrase that scores less is answered with "no match". Default: the model\'s. Models without such a '
            "score answer every phrase.",
            show_default=False,
        ),
    ] = None,
    always: Annotated[
        bool, typer.Option("--always", help='Answer every phrase with the best guess, never with "no match".')
    ] = False,
    surest: SurestOption = False,
    tracker: TrackerOption = None,
    calibration: CalibrationOption = None,
    video: Annotated[
        bool,
        typer.Option(
            "--video",
            help="Treat the first argument as a video, whatever its name: a folder of frames in the order of their "
            "names, an animated GIF, or any file that PyAV reads.",
        ),
    ] = False,
    clip_len: Annotated[
        int, typer.Option(min=1, max=1000, help="Video: frames that the model sees at once; memory grows with it.")
    ] = 8,
    overlap: Annotated[int, typer.Option(min=0, help="Video: frames that a clip shares with the clip before it.")] = 0,
    query: Annotated[
        QueryScope,
        typer.Option(help="Video: choose the answering query in each clip, or over all frames in a first pass."),
    ] = QueryScope.clip,
    classes: Annotated[
        str | None,
        typer.Option(
            help='Detect all objects of these categories instead: "dog, cup". Works with the model that comes with '
            "risctl (COCO's 80 categories) and with ZSI checkpoints.",
            show_default=False,
        ),
    ] = None,
    min_score: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=1.0,
            help="With --classes: only detections that score more than this; 0.05 for figures as COCO computes them.",
        ),
    ] = 0.3,
    formats: FormatsOption = "png",
    copies: CopiesOption = True,
    labels: Annotated[
        bool,
        typer.Option(
            "--labels/--no-labels",
            help="Draw phrases and categories on the overlays, below the picture where it has no room. Without them, "
            "overlays have the picture's size.",
        ),
    ] = True,
    device: DeviceOption = Device.auto,
    runtime: Annotated[
        Runtime,
        typer.Option(
            help="What computes: torch, or onnx (ONNX Runtime, on the CPU, with what `risctl export` wrote). auto "
            "takes onnx for exported models and, where it is installed, for up to 16 pictures with the model that "
            "comes with risctl; torch for all else.",
        ),
    ] = Runtime.auto,
    batch: BatchOption = "auto",
    workers: WorkersOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Segment what phrases refer to in pictures or a video.

    The pictures come first, then the phrases, each in quotes. For each
    picture and phrase, three files are written to the folder of --out:
    PICTURE.PHRASE.mask.png (0 and 255, at the picture's size),
    PICTURE.PHRASE.overlay.jpg, and PICTURE.PHRASE.json (score, box, COCO RLE).
    One line is printed for each: phrase, score, box (x,y,width,height) and
    mask, separated by tabs. If the model finds no such object, the box is "no
    match" and the mask is empty.

    The first argument is a picture, and so are those right after it that are
    picture files (a pattern that the shell has expanded); all others are
    phrases. A picture is encoded once for all its phrases.

    Masks match the picture as a viewer shows it: EXIF orientation is applied,
    and an animation is read at its first frame. A picture or phrase of several
    that cannot be read is reported; the others are still predicted, and the
    exit code is 4. Files that are there already are replaced only with
    --overwrite.

    A video (.mp4, .webm and so on, or with --video a folder of frames or a
    GIF) gives, for each phrase, a folder of masks VIDEO.PHRASE/FRAME.png,
    VIDEO.PHRASE.overlay.mp4 and VIDEO.PHRASE.json. It is read in clips, so
    memory does not grow with its length. Ctrl-C keeps the finished frames.
    With --tracker, the model finds the objects in the first frame, and the
    tracker carries their masks through the others.

    --format names what is written instead: png (the files above), and the
    formats that annotation tools open, each in a folder of --out, with the
    pictures in images/: coco, coco-results, labelme, yolo-seg, cvat,
    label-studio, davis. Of a video: png and davis.

    With --classes, all arguments are pictures, and each gives two files:
    PICTURE.classes.png, the detections drawn, and PICTURE.classes.json in
    COCO's results format: category, score, box, mask.
    """
    if always and no_target_threshold is not None:
        raise UsageError("--always answers every phrase, --no-target-threshold does not; give one of them")
    no_target = 0.0 if always else no_target_threshold
    names, images_together = chosen_formats(formats), batch_of(batch)
    with console.quiet_if(quiet):
        from risctl.output_files import OutputFiles

        if classes is not None:
            from risctl.cli.predict.classes import DetectionFolder, parse_names, predict_classes

            if text or video or always or no_target_threshold is not None or tracker is not None or names != [PNG]:
                raise UsageError(
                    "--classes detects by category; it goes without --text, --video, --tracker, --always, "
                    "--no-target-threshold, --format"
                )
            categories, images = parse_names(classes), find_images(arguments, out=out)
            outputs = OutputFiles(inputs=[*(image.path for image in images), model], overwrite=overwrite)
            detections = DetectionFolder(out, images, labels=labels, outputs=outputs)
            from risctl.cli.predict.opening import refuse_exported
            from risctl.models.open import open_predictor

            refuse_exported(model, runtime=runtime.value, job="--classes detects")
            predictor = announce_model(open_predictor(model, device=device.value), ())
            predict_classes(
                predictor,
                images,
                categories,
                folder=detections,
                skipped=Skipped(pictures=len(images)),
                score=min_score,
                as_json=as_json,
            )
            return
        specs, phrases = split_arguments(arguments, text or ())
        remark_on_phrases(phrases)
        if video or _is_video(specs[0]):
            from risctl.cli.predict.video import (
                check_video_formats,
                open_video,
                open_video_predictor,
                predict_video,
            )
            from risctl.inference.video_output_files import VideoPredictions

            if len(specs) > 1:
                raise UsageError("one video at a time: name the video first, then the phrases")
            opened = open_video(specs[0], out=out)
            outputs = OutputFiles(inputs=[opened.path, *opened.images, model], overwrite=overwrite)
            check_video_formats(names)
            if PNG in names:
                VideoPredictions.check(out, opened, texts=phrases, outputs=outputs)
            if "davis" in names:
                outputs.check_folder(out / "davis")
            skipped = Skipped(phrases=len(phrases))
            video_predictor, called, usable = open_video_predictor(
                model,
                opened,
                phrases,
                tracker=tracker,
                runtime=runtime.value,
                device=device.value,
                threshold=threshold,
                no_target_threshold=no_target,
                surest=surest,
                calibration=calibration,
                clip_length=clip_len,
                overlap=overlap,
                query=query.value,
                skipped=skipped,
            )
            predict_video(
                video_predictor,
                opened,
                usable,
                model=called,
                out=out,
                formats=names,
                labels=labels,
                outputs=outputs,
                skipped=skipped,
                as_json=as_json,
            )
            return
        if tracker is not None:
            raise UsageError(f"--tracker goes through a video; {specs[0]} is read as a picture (--video reads frames)")
        from risctl.cli.predict.images import check_outputs, predict_images
        from risctl.inference.output_files import PredictionFolder

        images = find_images(specs, out=out)
        outputs = OutputFiles(inputs=[*(image.path for image in images), model], overwrite=overwrite)
        folder = PredictionFolder(out, labels=labels, outputs=outputs) if PNG in names else None
        if folder is not None:
            check_outputs(folder, images, phrases)
        further = [name for name in names if name != PNG]
        files = None
        if further:
            from risctl.inference.format_files import PredictionFormats

            files = PredictionFormats(out, further, images=copies, outputs=outputs)
        from risctl.cli.predict.opening import open_any

        answering = open_any(
            model,
            runtime=runtime.value,
            device=device.value,
            threshold=threshold,
            no_target_threshold=no_target,
            surest=surest,
            calibration=calibration,
            images=len(images),
        )
        put_calibration(answering, model=model, option=calibration, given=no_target)
        skipped = Skipped(pictures=len(images), phrases=len(phrases))
        usable = skipped.usable_phrases(phrases, check=answering.warnings)
        predict_images(
            announce_model(answering, usable),
            images,
            usable,
            folder=folder,
            formats=files,
            skipped=skipped,
            as_json=as_json,
            workers=workers,
            batch=images_together,
        )


def _is_video(spec: str) -> bool:
    from risctl.vision.video_frames import is_video_name

    return is_video_name(spec)
