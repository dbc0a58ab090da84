"""`risctl convert`: writes the masks of a store in the formats of annotation tools."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from risctl.cli import console
from risctl.cli.options import (
    JsonOption,
    OverwriteOption,
    QuietOption,
    SplitOption,
    StoreArgument,
    StoredTextFieldOption,
    text_field_of,
)

if TYPE_CHECKING:
    pass

EXAMPLE = "Example: risctl convert data/scenes.h5 --split test --to coco,labelme --out converted"
NAMES = ("coco", "coco-results", "labelme", "yolo-seg", "cvat", "label-studio", "davis")

app = typer.Typer()


def complete_format(incomplete: str) -> list[str]:
    """Returns the completions of a list of formats."""
    named, comma, begun = incomplete.rpartition(",")
    return [f"{named}{comma}{name}" for name in NAMES if name.startswith(begun)]


@app.command("convert", epilog=EXAMPLE)
def convert(
    store: StoreArgument,
    to: Annotated[
        str,
        typer.Option(
            "--to",
            metavar="FORMAT[,FORMAT…]",
            help="coco, coco-results, labelme, yolo-seg, cvat, label-studio, davis (palette PNG): each in a folder of "
            "its own.",
            autocompletion=complete_format,
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write to; created if absent.")] = Path(
        "converted"
    ),
    split: SplitOption = "all",
    images: Annotated[bool, typer.Option("--images/--no-images", help="Write the images too, into images/.")] = True,
    text_field: StoredTextFieldOption = "sent",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a store's images, masks and phrases in the formats that annotation tools open.

    The phrase travels with its mask: as an attribute (coco, cvat), as a description (labelme), as the task's data
    (label-studio), or in phrases.jsonl where the format has no place for it (yolo-seg, davis).
    """
    from risctl.data.formats.of_store import annotated_images, image_files
    from risctl.data.formats.registry import FORMATS
    from risctl.data.store.clips import is_video_store
    from risctl.data.store.reader import Store
    from risctl.errors import UsageError, unknown_name
    from risctl.files import link_or_copy
    from risctl.output_files import OutputFiles

    field = text_field_of(text_field)
    names = list(dict.fromkeys(name.strip() for name in to.split(",") if name.strip()))
    for name in names:
        if name not in FORMATS:
            raise UsageError(unknown_name("format", name, FORMATS))
    if not names:
        raise UsageError(f"name a format with --to; known: {', '.join(FORMATS)}")
    outputs = OutputFiles(inputs=[store], overwrite=overwrite)
    for folder in (*names, *(["images"] if images else [])):
        outputs.check_folder(out / folder)
    with console.quiet_if(quiet), Store(store) as opened:
        if is_video_store(opened):
            raise UsageError(f"{store} holds videos; the formats here are of images")
        files = image_files(opened, split)
        written: dict[str, Any] = {}
        for name in names:
            (out / name).mkdir(parents=True, exist_ok=True)
            shown = console.progress(
                annotated_images(opened, split, files, text_field=field), label=name, total=len(files)
            )
            written[name] = len(FORMATS[name](shown, out / name, outputs))
        if images:
            for row, file in console.progress(files.items(), label="images", total=len(files)):
                path = out / "images" / file
                path.parent.mkdir(parents=True, exist_ok=True)
                with outputs.writing(path) as part:
                    part.write_bytes(opened.image_bytes(row))
            written["images"] = len(files)
            if "yolo-seg" in names:
                # Its readers look for images beside the labels. The same file under another name takes no space.
                for file in files.values():
                    linked = out / "yolo-seg" / "images" / file
                    linked.parent.mkdir(parents=True, exist_ok=True)
                    with outputs.writing(linked) as part:
                        link_or_copy(out / "images" / file, part)
    lines = [f"{out / name}: {count} file{'s' if count != 1 else ''}" for name, count in written.items()]
    console.result(lines, data={"out": str(out), "split": split, "files": written}, as_json=as_json)
