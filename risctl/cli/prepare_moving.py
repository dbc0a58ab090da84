"""The video side of `risctl prepare scenes`: scenes in which things move."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from risctl.cli import console


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
    from collections import Counter

    from risctl.data.datasets.scenes.moving import make_moving_scenes
    from risctl.data.store.writer import write_store

    with console.quiet_if(quiet):
        dataset = make_moving_scenes(
            count=count,
            frames=frames,
            seed=seed,
            size=size,
            workers=workers or (1 if count < 50 else min(4, os.cpu_count() or 1)),
            progress=partial(console.progress, label="videos", total=count),
        )
        info = write_store(dataset, out)
    abilities = Counter(
        ability for record in dataset.records for one in record.expressions for ability in one.abilities
    )
    lines = [f"{out}: {info.bytes / 1e6:.1f} MB, {count} videos of {frames} frames"]
    lines += [
        f"  {split:5} {row['refs']:6} objects {row['sentences']:6} sentences" for split, row in info.counts.items()
    ]
    lines.append("  sentences that need " + ", ".join(f"{name} {number}" for name, number in sorted(abilities.items())))
    data = {
        "store": str(out),
        "bytes": info.bytes,
        "fingerprint": info.fingerprint,
        "counts": {split: dict(row) for split, row in info.counts.items()},
        "abilities": dict(abilities),
    }
    console.result("\n".join(lines), data=data, as_json=as_json)
