"""`risctl convert`: writes the masks of a store, or those of predictions, in the formats of annotation tools."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from risctl.cli import console
from risctl.cli.formats_option import NAMES, complete_format
from risctl.cli.options import (
    JsonOption,
    OverwriteOption,
    QuietOption,
    SplitOption,
    StoredTextFieldOption,
    text_field_of,
)
from risctl.cli.score import KeyName, ResizeRule

if TYPE_CHECKING:
    from risctl.data.formats.annotated import AnnotatedImage
    from risctl.data.store.reader import Store, TextField

EXAMPLE = "Example: risctl convert data/scenes.h5 --split test --to coco,labelme --out converted"

app = typer.Typer()


@app.command("convert", epilog=EXAMPLE)
def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="STORE|PREDICTIONS",
            help="A store made by `risctl prepare`; with --data, predictions that `risctl score` takes.",
            show_default=False,
        ),
    ],
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORMAT[,FORMAT…]",
            help=f"{', '.join(NAMES)} (palette PNG): each in a folder of its own.",
            autocompletion=complete_format,
            show_default=False,
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option("--data", "-d", help="The store that predictions are of.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write to; created if absent.")] = Path(
        "converted"
    ),
    split: SplitOption = "all",
    images: Annotated[bool, typer.Option("--images/--no-images", help="Write the images too, into images/.")] = True,
    key: Annotated[
        KeyName | None,
        typer.Option("--key", help="Of predictions: what names the expressions, as in `score`.", show_default=False),
    ] = None,
    resize: Annotated[
        ResizeRule | None,
        typer.Option(
            "--resize", help="Of predictions: bring masks of another size to that of their image.", show_default=False
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", min=0.0, max=1.0, help="Of probabilities: a mask is where they exceed it."),
    ] = None,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Leave out predictions that cannot be read, instead of refusing the file.")
    ] = False,
    text_field: StoredTextFieldOption = "sent",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write images, masks and phrases in the formats that annotation tools open.

    The masks are those of a store, or, with --data STORE, predictions in any form that `risctl score` takes. Videos are
    written frame by frame.

    The phrase travels with its mask: as an attribute (coco, cvat), as a description (labelme), as the task's data
    (label-studio), or in phrases.jsonl where the format has no place for it (yolo-seg, davis). `risctl prepare custom`
    reads each format back.
    """
    from risctl.data.formats.of_store import annotated_images, image_files
    from risctl.data.formats.write import IMAGES, check_folders, parse_formats, write_formats, write_images
    from risctl.data.store.clips import is_video_store
    from risctl.data.store.reader import Store
    from risctl.errors import UsageError
    from risctl.output_files import OutputFiles

    field = text_field_of(text_field)
    names = parse_formats(to, option="--to")
    if data is None and (key is not None or resize is not None or threshold is not None or lenient):
        raise UsageError("--key, --resize, --threshold and --lenient are for predictions; name their store with --data")
    outputs = OutputFiles(inputs=[source, data], overwrite=overwrite)
    check_folders(out, names, images=images, outputs=outputs)
    with console.quiet_if(quiet), Store(data or source) as opened:
        about: dict[str, Any] = {}
        predicted: list[AnnotatedImage] | None = None
        frames: Callable[[], Iterable[AnnotatedImage]] | None = None
        closing = ExitStack()
        if is_video_store(opened):
            if key is not None or resize is not None or threshold is not None or lenient:
                raise UsageError("masks of videos are named VIDEO/EXPRESSION/FRAME.png and have their frames' sizes")
            files, frames, about = _frames(
                source if data is not None else None, opened, split=split, text_field=field, closing=closing
            )
        else:
            files = image_files(opened, split)
        if data is not None and frames is None:
            predicted, about = _predicted(
                source,
                opened,
                split=split,
                files=files,
                text_field=field,
                key=None if key is None else key.value,
                resize=resize,
                threshold=threshold,
                lenient=lenient,
            )

        def annotated(name: str) -> Iterable[AnnotatedImage]:
            if frames is not None:
                masks = frames()
            elif predicted is not None:
                masks = predicted
            else:
                masks = annotated_images(opened, split, files, text_field=field)
            return console.progress(masks, label=name, total=len(files))

        with closing:
            written = write_formats(names, annotated, out, outputs=outputs)
        if images:
            encoded = ((file, partial(opened.image_bytes, row)) for row, file in files.items())
            shown = console.progress(encoded, label=IMAGES, total=len(files))
            written[IMAGES] = write_images(shown, out, names=names, outputs=outputs)
    lines = [f"{out / name}: {count} file{'s' if count != 1 else ''}" for name, count in written.items()]
    console.result(lines, data={"out": str(out), "split": split, **about, "files": written}, as_json=as_json)


def _frames(
    path: Path | None, store: Store, *, split: str, text_field: TextField, closing: ExitStack
) -> tuple[dict[int, str], Callable[[], Iterable[AnnotatedImage]], dict[str, Any]]:
    """Returns the frames' files, what yields the frames with their masks, and what the result says of predictions.

    Every mask of `path`, or of the store if it is None, is read once before, so that a broken one is an error before
    anything is written; `closing` closes the predictions.
    """
    from risctl.evaluation.scoring.annotated_frames import annotated_frames, frame_files, stored_masks, submitted_masks
    from risctl.evaluation.scoring.video_submission import open_video_masks

    files = frame_files(store, split)
    if path is None:
        own = stored_masks(store, split=split, text_field=text_field)
        return files, lambda: annotated_frames(store, files, own), {}
    submission = open_video_masks(path)
    closing.callback(submission.close)
    masks, converted, count = submitted_masks(submission, store, split=split, text_field=text_field)
    console.say(f"{path}, {submission.kind}: {converted:,} of {count:,} expressions")
    for _ in console.progress(annotated_frames(store, files, masks), label="read", total=len(files)):
        pass
    about = {"predictions": str(path), "expressions": count, "converted": converted}
    return files, lambda: annotated_frames(store, files, masks), about


def _predicted(
    path: Path,
    store: Store,
    *,
    split: str,
    files: dict[int, str],
    text_field: TextField,
    key: str | None,
    resize: ResizeRule | None,
    threshold: float | None,
    lenient: bool,
) -> tuple[list[AnnotatedImage], dict[str, Any]]:
    """Reads predictions, says on stderr what was left out, and returns the images and what the result says of it."""
    from risctl.evaluation.scoring.annotated import predicted_images
    from risctl.evaluation.scoring.open_source import open_predictions

    source = open_predictions(path)
    try:
        images, matches, broken = predicted_images(
            source,
            store,
            split=split,
            names=files,
            text_field=text_field,
            key=key,
            resize=None if resize is None else "nearest",
            threshold=threshold,
            lenient=lenient,
        )
    finally:
        source.close()
    unread = matches.broken.count + broken.count
    count = len(matches.rows) - len(matches.missing) - broken.count
    console.say(f"{path}, {source.kind}, by {matches.key.describe()}: {count:,} of {len(matches.rows):,} sentences")
    if unread:
        first = ", ".join([*matches.broken.first, *broken.first][:3])
        console.warn(f"{unread:,} predictions could not be read and are left out ({first})")
    if matches.unknown.count:
        console.warn(f"{matches.unknown.text()} predictions are of no sentence of the split")
    coverage = {
        "key": matches.key.describe(),
        "sentences": len(matches.rows),
        "converted": count,
        "broken": unread,
        "unknown": matches.unknown.count,
    }
    return images, {"predictions": str(path), **coverage}
