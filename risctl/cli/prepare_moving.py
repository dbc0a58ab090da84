"""The video side of `risctl prepare scenes`: scenes in which things move."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from risctl.cli import console
from risctl.cli.storing import ability_counts, tell, write


def moving_scenes(
    *,
    count: int,
    frames: int,
    seed: int,
    size: tuple[int, int] | None,
    out: Path,
    workers: int | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make `count` videos, write them to the store `out`, and print what it holds."""
    import os

    from risctl.data.datasets.scenes.moving import make_moving_scenes

    with console.quiet_if(quiet):
        dataset = make_moving_scenes(
            count=count,
            frames=frames,
            seed=seed,
            size=size,
            workers=workers or (1 if count < 50 else min(4, os.cpu_count() or 1)),
            progress=partial(console.progress, label="videos", total=count),
        )
        info = write(dataset, out)
        abilities = ability_counts(dataset)
        needed = ", ".join(f"{name} {number}" for name, number in abilities.items())
        tell(
            info,
            counted={"refs": "objects", "sentences": "sentences"},
            lines=[f"{count} videos of {frames} frames", f"sentences that need {needed}"],
            also={"abilities": abilities},
            as_json=as_json,
        )
