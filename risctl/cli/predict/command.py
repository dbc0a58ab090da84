"""`risctl predict`: pictures and phrases in, masks out."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from risctl.cli import console
from risctl.cli.options import AnyModelOption, Device, DeviceOption, JsonOption, QuietOption
from risctl.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from risctl.inference.predictor import Predictor

EXAMPLE = 'Example: risctl predict photo.jpg "the red cup" "the chair on the left"'

app = typer.Typer()


class QueryScope(StrEnum):
    """Over what the answering query is chosen."""

    clip = "clip"
    video = "video"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Picture:
    """A picture to read: what to call it, what to name its files after, where it is."""

    shown: str
    name: str
    source: Path | bytes


@app.command("predict", epilog=EXAMPLE)
def predict(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE... TEXT...",
            help="First the pictures: a file, a folder, a quoted pattern ('photos/*.jpg'), or - for standard input; "
            "then the texts, each in quotes.",
            show_default=False,
        ),
    ],
    model: AnyModelOption = None,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", "-t", help="A further text; may be repeated.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write to; made if absent.")] = Path(
        "predictions"
    ),
    threshold: Annotated[
        float | None,
        typer.Option(help="A pixel is in the mask if its probability is above this; default: the recipe's."),
    ] = None,
    no_target_threshold: Annotated[
        float | None,
        typer.Option(
            help='Below this score a text is answered with "no match"; default: the model\'s. Of models that give no '
            "score of their own, every text is answered.",
            show_default=False,
        ),
    ] = None,
    always: Annotated[
        bool, typer.Option("--always", help='Answer every text with the best guess, never with "no match".')
    ] = False,
    video: Annotated[
        bool,
        typer.Option(
            "--video",
            help="What is named first is a video, whatever its name: a folder of its frames in the order of their "
            "names, an animated GIF, or any file that PyAV reads.",
        ),
    ] = False,
    clip_len: Annotated[
        int, typer.Option(min=1, max=1000, help="Video: frames that the model sees at once; memory grows with it.")
    ] = 8,
    overlap: Annotated[int, typer.Option(min=0, help="Video: frames of a clip that the clip before had, too.")] = 0,
    query: Annotated[
        QueryScope, typer.Option(help="Video: choose the answering query per clip, or over all frames, in two passes.")
    ] = QueryScope.clip,
    classes: Annotated[
        str | None,
        typer.Option(
            help='Find all things of these classes instead, by name: "dog, cup". With the model that comes with risctl '
            "(COCO's 80 classes) or a ZSI checkpoint.",
            show_default=False,
        ),
    ] = None,
    min_score: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="With --classes: what the score of a thing must exceed.")
    ] = 0.05,
    device: DeviceOption = Device.auto,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Segment what phrases refer to in pictures or a video.

    For each picture and text it writes three files into the folder of --out:
    PICTURE.TEXT.mask.png (0 and 255, at the picture's size),
    PICTURE.TEXT.overlay.jpg, and PICTURE.TEXT.json (score, box, COCO RLE).
    It prints a line for each: text, score, box (x,y,width,height), mask,
    separated by tabs. Where the model says that there is no such thing, "no
    match" stands for the box and the mask is empty.

    The first argument is a picture, and so are those right after it that are
    picture files (a pattern that the shell has expanded); all others are
    texts. A picture is encoded once for all its texts.

    Masks are of the picture as a viewer shows it: EXIF orientation is applied,
    and of an animation the first frame is taken. A picture that cannot be read
    is named; of several, the others are done, and the exit code is 4.

    A video (.mp4, .webm and so on, or what --video says is one: a folder of
    frames, a GIF) gives a folder of masks VIDEO.TEXT/FRAME.png,
    VIDEO.TEXT.overlay.mp4 and VIDEO.TEXT.json for each text. It is read in
    clips, so that memory does not grow with its length. Ctrl-C keeps the
    finished frames.

    With --classes all arguments are pictures, and each gives two files:
    PICTURE.classes.png, the things drawn, and PICTURE.classes.json, COCO's
    results: category, score, box, mask.
    """
    if always and no_target_threshold is not None:
        raise UsageError("--always answers every text and --no-target-threshold does not; give one of them")
    no_target_threshold = 0.0 if always else no_target_threshold
    thresholds = {"threshold": threshold, "no_target_threshold": no_target_threshold}
    with console.quiet_if(quiet):
        if classes is not None:
            if text or video or no_target_threshold is not None:
                raise UsageError(
                    "--classes finds things in pictures; it goes without --text, --video and --no-target-threshold"
                )
            _predict_classes(arguments, classes, model=model, out=out, score=min_score, device=device, as_json=as_json)
            return
        specs, texts = split_arguments(arguments, text or ())
        if video or _is_video(specs[0]):
            if len(specs) > 1:
                raise UsageError("one video at a time: name it first, then the texts")
            from risctl.cli.predict.video import open_video, predict_video

            opened = open_video(specs[0], out=out)
            from risctl.inference.predictor import Predictor

            predict_video(
                introduced(
                    Predictor.load(model, device=device.value, **thresholds),
                    texts,
                ),
                opened,
                texts,
                out=out,
                clip_length=clip_len,
                overlap=overlap,
                query=query.value,
                as_json=as_json,
            )
            return
        pictures = _pictures(specs, out=out)
        from risctl.inference.output_files import PredictionFolder
        from risctl.inference.predictor import Predictor

        predictor = introduced(
            Predictor.load(model, device=device.value, **thresholds),
            texts,
        )
        folder = PredictionFolder(out, model=_printable(predictor.path))
        records: list[dict[str, Any]] = []
        refused = 0
        for picture in console.progress(pictures, label="predict"):
            try:
                pixels = _read(picture)
            except DataError as error:
                if len(pictures) == 1:
                    raise
                refused += 1
                console.fail(str(error))
                continue
            predictor.set_image(pixels)
            for prediction in predictor.iter_predictions(texts):
                record = folder.write(prediction, image=picture.shown, name=picture.name)
                records.append(record)
                if not prediction.matched:
                    needed = predictor.system.no_target_threshold
                    console.say(
                        f"{prediction.text!r}: no match in {picture.shown}, score {prediction.score:.3f} of at least "
                        f"{needed:g}; --always shows the best guess"
                    )
                if not as_json:
                    console.result(_line(record), data=record, as_json=False)
        if as_json:
            console.result("", data=records, as_json=True)
        if refused:
            raise DataError(f"{refused} of {len(pictures)} pictures could not be read; they are named above")


def _predict_classes(
    specs: Sequence[str], classes: str, *, model: Path | None, out: Path, score: float, device: Device, as_json: bool
) -> None:
    from risctl.cli.predict.classes import names_of, predict_classes
    from risctl.inference.predictor import Predictor

    names, pictures = names_of(classes), _pictures(specs, out=out)
    predictor = introduced(Predictor.load(model, device=device.value), ())
    read = ((one.shown, one.name, _read(one)) for one in console.progress(pictures, label="predict"))
    predict_classes(predictor, read, names, out=out, score=score, as_json=as_json)


def introduced(predictor: Predictor, texts: Sequence[str]) -> Predictor:
    """Return the model, having told what it is and what to know of how it reads the texts."""
    console.say(predictor.describe())
    for one in texts:
        for remark in predictor.warnings(one):
            console.warn(f"{one!r}: {remark}")
    return predictor


def _is_video(spec: str) -> bool:
    from risctl.vision.video_frames import is_video_name

    return is_video_name(spec)


def split_arguments(arguments: Sequence[str], further: Sequence[str] = ()) -> tuple[list[str], list[str]]:
    """Return (what means pictures, texts) of the positional arguments and the texts of `--text`.

    Pictures are the first argument, and those right after it that are existing files named like pictures. Raises
    `UsageError` if there is no text, a text is empty, or a text is named like a picture: that is a mistyped path.
    """
    from risctl.vision.images import is_picture_name

    count = 1
    while count < len(arguments) and is_picture_name(arguments[count]) and Path(arguments[count]).is_file():
        count += 1
    pictures, positional = list(arguments[:count]), list(arguments[count:])
    for one in positional:
        if is_picture_name(one) and " " not in one:
            raise UsageError(
                f"{one!r} is named like a picture, but stands among the texts and is no file right after the first "
                f"picture; mend the path, or say --text {one!r} if it is meant as a text"
            )
    texts = list(dict.fromkeys(_decodable(one) for one in (*positional, *further)))
    if not texts:
        raise UsageError('no text: say what to look for, for instance "the red cup on the left"')
    if not all(one.strip() for one in texts):
        raise UsageError("a text is empty; say what to look for")
    return pictures, texts


def _pictures(specs: Sequence[str], *, out: Path) -> list[_Picture]:
    from risctl.vision.image_files import find_pictures

    pictures: list[_Picture] = []
    for spec in specs:
        if spec == "-":
            pictures.append(_from_stdin())
            continue
        found = find_pictures(spec)
        if not Path(spec).is_file() and any(path.parent.resolve() == out.resolve() for path in found):
            raise UsageError(f"{out} is also a folder of the pictures; name another with --out")
        pictures.extend(_Picture(shown=_printable(path), name=_decodable(path.stem), source=path) for path in found)
    return pictures


def _from_stdin() -> _Picture:
    if sys.stdin.isatty():
        raise UsageError("- reads a picture from standard input, which is a terminal; pipe or redirect one into it")
    data = sys.stdin.buffer.read()
    # Named after its content: the next picture that is piped in is another one.
    return _Picture(shown="-", name=f"stdin-{hashlib.sha256(data).hexdigest()[:8]}", source=data)


def _read(picture: _Picture) -> np.ndarray:
    from risctl.vision.images import read_picture

    try:
        read = read_picture(picture.source)
    except DataError as error:
        if picture.shown != "-":
            raise
        raise DataError(str(error).replace("the picture", "standard input", 1)) from error
    for note in read.notes:
        console.warn(f"{picture.shown} {note}")
    return read.pixels


def _line(record: dict[str, Any]) -> str:
    if not record["matched"]:
        box = "no match"
    elif record["box"] is None:
        box = "nothing found"
    else:
        box = ",".join(f"{side:g}" for side in record["box"])
    return "\t".join((" ".join(record["text"].split()), f"{record['score']:.3f}", box, record["mask"]))


def _printable(path: Path) -> str:
    return _decodable(str(path))


def _decodable(name: str) -> str:
    """Return a name as text that can be written: what is no UTF-8 in a file name becomes a replacement sign."""
    return os.fsencode(name).decode("utf-8", errors="replace")
