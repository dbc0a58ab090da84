"""`risctl prepare coco-phrases`: referring expressions for the pictures of any COCO instance file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, QuietOption, RootOption

EPILOG = "Example: risctl prepare coco-phrases --instances instances_val2017.json --images val2017 --seed 0"


def coco_phrases(
    instances: Annotated[
        Path, typer.Option("--instances", help="A COCO instance file (instances_*.json).", show_default=False)
    ],
    images: Annotated[Path, typer.Option("--images", help="The folder of its pictures.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The store to write; default: DATA_ROOT/coco-phrases.h5.", show_default=False),
    ] = None,
    exclude: Annotated[
        Path | None,
        typer.Option("--exclude", help="A text file of picture ids to leave out.", show_default=False),
    ] = None,
    held_out: Annotated[
        Path | None,
        typer.Option(
            "--held-out",
            help="A text file of picture ids for the split test; --splits shares the rest.",
            show_default=False,
        ),
    ] = None,
    splits: Annotated[
        str, typer.Option("--splits", metavar="NAME=SHARE,...", help="Shares of the pictures that the splits get.")
    ] = "train=0.8,val=0.1,test=0.1",
    seed: Annotated[int, typer.Option("--seed", help="Decides phrases and splits.")] = 0,
    link: Annotated[bool, typer.Option("--link", help="Store the pictures' paths, not their bytes.")] = False,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Leave out pictures and masks that cannot be used.")
    ] = False,
    data_root: RootOption = Path("data"),
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Make unambiguous phrases for COCO pictures: kind, colour, size, place, order, relation, several, none."""
    from risctl.data.datasets.coco_phrases.generate import make_coco_phrases, read_ids
    from risctl.data.store.writer import write_store

    with console.quiet_if(quiet), console.counting("phrases") as advance:
        dataset = make_coco_phrases(
            instances,
            images=images,
            seed=seed,
            shares=_shares(splits),
            exclude=read_ids(exclude) if exclude is not None else (),
            held_out=read_ids(held_out) if held_out is not None else (),
            on_missing="drop" if allow_missing else "refuse",
            progress=advance,
        )
        info = write_store(dataset, out or data_root / "coco-phrases.h5", link=link)
    lines = [
        f"{split}: {row['images']:,} images, {row['refs']:,} refs, {row['sentences']:,} sentences"
        for split, row in info.counts.items()
    ]
    lines.extend(f"note: {note}: {count:,}" for note, count in info.notes.items())
    lines.append(f"wrote {info.path} ({info.bytes / 1e6:.1f} MB)")
    data = {
        "store": str(info.path),
        "bytes": info.bytes,
        "fingerprint": info.fingerprint,
        "counts": {split: dict(row) for split, row in info.counts.items()},
        "notes": dict(info.notes),
    }
    console.result("\n".join(lines), data=data, as_json=as_json)


def _shares(text: str) -> dict[str, float]:
    """Return split -> share of a text such as "train=0.9,test=0.1". Raises `UsageError` for another form."""
    import math

    from risctl.errors import UsageError

    shares = {}
    for part in text.split(","):
        name, _, share = part.partition("=")
        try:
            value = float(share)
        except ValueError:
            value = math.nan
        if not name.strip() or not (math.isfinite(value) and value > 0):
            raise UsageError(f"expected --splits such as train=0.8,val=0.1,test=0.1; got {text!r:.80}")
        shares[name.strip()] = value
    return shares
