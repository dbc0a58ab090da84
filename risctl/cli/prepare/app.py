"""`risctl prepare`: published datasets into stores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, QuietOption
from risctl.cli.prepare.box_phrases import EPILOG as BOX_PHRASES
from risctl.cli.prepare.box_phrases import box_phrases
from risctl.cli.prepare.coco_phrases import EPILOG as COCO_PHRASES
from risctl.cli.prepare.coco_phrases import coco_phrases
from risctl.cli.prepare.coco_zsi import SPLITS as ZSI_SPLITS
from risctl.cli.prepare.coco_zsi import coco_zsi
from risctl.cli.prepare.coco_zsi import epilog as zsi_epilog
from risctl.cli.prepare.custom import EPILOG as OWN
from risctl.cli.prepare.custom import own
from risctl.cli.prepare.features import EPILOG as FEATURES
from risctl.cli.prepare.features import features
from risctl.cli.prepare.published import SETS as PUBLISHED
from risctl.cli.prepare.published import epilog, published_set, stage, summary
from risctl.cli.prepare.scenes import scenes
from risctl.cli.prepare.videos import SETS as VIDEOS
from risctl.cli.prepare.videos import video_set

app = typer.Typer(
    help="Turn a published dataset into a store: one file that training and evaluation read.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

for _name in PUBLISHED:
    app.command(_name, help=summary(_name), epilog=epilog(_name))(published_set(_name))
app.command("scenes", epilog="Example: risctl prepare scenes -n 2000 --seed 0 --pictures pictures")(scenes)
app.command("own", epilog=OWN)(own)
app.command("coco-phrases", epilog=COCO_PHRASES)(coco_phrases)
app.command("box-phrases", epilog=BOX_PHRASES)(box_phrases)
for _split in ZSI_SPLITS:
    app.command(f"coco-zsi-{_split}", epilog=zsi_epilog(_split))(coco_zsi(_split))
for _name, (_help, _folder) in VIDEOS.items():
    app.command(_name, help=_help, epilog=f"Example: risctl prepare {_name} --from {_folder}")(video_set(_name))
app.command("features", epilog=FEATURES)(features)


@app.command("verify", epilog="Example: risctl prepare verify data/refcoco_unc.h5 --from refer/data")
def verify_store(
    store: Annotated[Path, typer.Argument(help="The store to check.", show_default=False)],
    source: Annotated[
        Path | None,
        typer.Option("--from", help="The published files, to compare every mask with its polygon.", show_default=False),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Check a store: every picture decoded, every mask well formed, all as it was written."""
    from risctl.data.datasets.published import differences, explanation, store_counts
    from risctl.data.prepare import set_named, verify_prepared
    from risctl.data.store.reader import Store

    with console.quiet_if(quiet):
        with Store(store) as opened:
            name, split_by, mark = opened.name, opened.split_by, opened.fingerprint
            counts, notes = store_counts(opened), dict(opened.notes)
        instances = set_named(name).find(source, split_by).instances if source else None
        found = verify_prepared(store, instances=instances, stage=stage)
        differing, explained = differences(name, split_by, counts), explanation(name, split_by, counts)
        noted = [f"{count:,} {what}" for what, count in notes.items()]
        for line in (*noted, *differing, *([explained] if explained else []), *found.oddities):
            console.warn(line)
        checked = ", ".join(f"{count:,} {what}" for what, count in found.checked.items())
        data = {
            "store": str(store),
            "fingerprint": mark,
            "checked": found.checked,
            "oddities": found.oddities,
            "differences": differing,
            "explanation": explained,
            "notes": notes,
        }
        console.result(f"{store} is sound: {checked}", data=data, as_json=as_json)
