"""`risctl prepare scenes`: a synthetic dataset, made without any download."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, OverwriteOption, QuietOption, RootOption
from risctl.cli.prepare.store_output import (
    OBJECTS,
    ShardsOption,
    ability_counts,
    check_output,
    out_option,
    report_store,
    sharding_of,
    write,
)
from risctl.errors import UsageError

EPILOG = "Example: risctl prepare scenes -n 2000 --seed 0 --pictures pictures"


def scenes(
    count: Annotated[
        int | None,
        typer.Option(
            "-n", "--count", min=10, help="How many scenes. Default: 2000; with --video 200.", show_default=False
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Scene i of a seed is the same on every run.")] = 0,
    out: Annotated[Path | None, out_option("scenes.h5")] = None,
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Width x height of all pictures; default: several near 320x240."),
    ] = None,
    pictures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write some test scenes there as PNG, their expressions beside as JSON."),
    ] = None,
    picture_count: Annotated[int, typer.Option("--picture-count", min=1, help="How many such pictures.")] = 3,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that draw; the result is the same. Default: up to 4.")
    ] = None,
    video: Annotated[
        bool, typer.Option("--video", help="Make short videos of moving objects: DATA_ROOT/moving-scenes.h5.")
    ] = False,
    frames: Annotated[int, typer.Option(min=2, max=500, help="With --video: frames of a video.")] = 8,
    shards: ShardsOption = None,
    overwrite: OverwriteOption = False,
    data_root: RootOption = Path("data"),
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Make scenes of everyday objects with expressions for them, in train, val and test. Needs no download."""
    import os

    from risctl.data.datasets.scenes.export import check_images, write_images
    from risctl.data.datasets.scenes.generate import make_scenes
    from risctl.data.datasets.scenes.moving import make_moving_scenes
    from risctl.output_files import OutputFiles

    shape, sharding = _size(size), sharding_of(shards)
    count = count or (200 if video else 2000)
    out = check_output(out or data_root / ("moving-scenes.h5" if video else "scenes.h5"), overwrite=overwrite)
    if video and pictures is not None:
        raise UsageError("--pictures writes single pictures; leave it out with --video")
    outputs = OutputFiles(overwrite=overwrite)
    if pictures is not None:
        check_images(pictures, count=picture_count, outputs=outputs)
    # The processes take seconds to start, which a few scenes do not repay.
    processes = workers or (1 if count < (50 if video else 200) else min(4, os.cpu_count() or 1))
    make = partial(make_moving_scenes, frames=frames) if video else make_scenes
    with console.quiet_if(quiet):
        bar = partial(console.progress, label="videos" if video else "scenes", total=count)
        dataset = make(count=count, seed=seed, size=shape, workers=processes, progress=bar)
        info = write(dataset, out, shards=sharding)
        abilities = ability_counts(dataset)
        needed = "sentences that need " + ", ".join(f"{name} {number}" for name, number in abilities.items())
        if video:
            lines = [f"{count} videos of {frames} frames", needed]
            report_store(info, counted=OBJECTS, lines=lines, more={"abilities": abilities}, as_json=as_json)
        else:
            shown = []
            if pictures is not None:
                shown = write_images(pictures, count=picture_count, seed=seed, size=shape, outputs=outputs)
            paths = [str(path) for path in shown]
            more = {"abilities": abilities, "pictures": paths}
            report_store(info, lines=[needed, *paths], more=more, as_json=as_json)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise UsageError(f"--size takes width x height in pixels, as in 320x240; got {text!r}")
    return int(width), int(height)
