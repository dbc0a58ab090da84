"""`risctl prepare`: published datasets into stores."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, QuietOption, RootOption
from risctl.cli.prepare_coco_phrases import EPILOG as COCO_PHRASES
from risctl.cli.prepare_coco_phrases import coco_phrases
from risctl.cli.prepare_coco_zsi import SPLITS as ZSI_SPLITS
from risctl.cli.prepare_coco_zsi import coco_zsi
from risctl.cli.prepare_coco_zsi import epilog as zsi_epilog
from risctl.cli.prepare_features import EPILOG as FEATURES
from risctl.cli.prepare_features import features
from risctl.cli.prepare_own import EPILOG as OWN
from risctl.cli.prepare_own import own
from risctl.cli.prepare_scenes import scenes
from risctl.cli.prepare_videos import a2d, jhmdb, ref_davis17, ref_youtube_vos
from risctl.cli.storing import LinkOption, MissingOption, OverwriteOption, free_place, out_option

if TYPE_CHECKING:
    from risctl.data.prepare import Prepared

app = typer.Typer(
    help="Turn a published dataset into a store: one file that training and evaluation read.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

FromOption = Annotated[
    Path | None,
    typer.Option("--from", help="Folder of the published files. Without it they are downloaded.", show_default=False),
]
ImagesOption = Annotated[
    Path | None,
    typer.Option("--images", help="Folder of COCO train2014, if not beside the published files.", show_default=False),
]
OutOption = Annotated[Path | None, out_option("SET_SPLITBY.h5")]
VerifyOption = Annotated[
    bool, typer.Option("--verify", help="Read all back; compare every mask with its published polygon.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Download many gigabytes without asking.")]


SplitOption = Annotated[str, typer.Option("--split-by", help="The way of splitting: unc, google or umd.")]

SETS = {
    "refcoco": ("unc", "RefCOCO: 142,210 sentences about 50,000 things in 19,994 pictures; split by unc or google."),
    "refcoco+": ("unc", "RefCOCO+: 141,564 sentences without words of place, about 49,856 things; split by unc."),
    "refcocog": ("umd", "RefCOCOg: 95,010 long sentences about 49,822 things; split by umd, or google without a test."),
}


def _add_refer(name: str, usual: str, summary: str) -> None:
    """Add the subcommand of one RefCOCO set: they differ by name, help and usual split alone."""

    @app.command(name, help=summary, epilog=f"Example: risctl prepare {name} --from refer/data --images coco/train2014")
    def command(
        source: FromOption = None,
        images: ImagesOption = None,
        split_by: SplitOption = usual,
        out: OutOption = None,
        link: LinkOption = False,
        verify: VerifyOption = False,
        allow_missing: MissingOption = False,
        data_root: RootOption = Path("data"),
        overwrite: OverwriteOption = False,
        yes: YesOption = False,
        as_json: JsonOption = False,
        quiet: QuietOption = False,
    ) -> None:
        from risctl.data.prepare import Downloads, prepare_refer

        with console.quiet_if(quiet):
            prepared = prepare_refer(
                name,
                out=free_place(out or data_root / f"{name}_{split_by}.h5", overwrite=overwrite),
                source=source,
                images=images,
                split_by=split_by,
                link=link,
                verify=verify,
                allow_missing=allow_missing,
                downloads=Downloads(root=data_root, agree=lambda question: yes or _asked(question)),
                stage=_stage,
            )
            _tell(prepared)
            console.result(prepared.table(), data=prepared.as_json(), as_json=as_json)


for _name, (_usual, _summary) in SETS.items():
    _add_refer(_name, _usual, _summary)

app.command("scenes", epilog="Example: risctl prepare scenes -n 2000 --seed 0 --pictures pictures")(scenes)
app.command("own", epilog=OWN)(own)
app.command("coco-phrases", epilog=COCO_PHRASES)(coco_phrases)
for _split in ZSI_SPLITS:
    app.command(f"coco-zsi-{_split}", epilog=zsi_epilog(_split))(coco_zsi(_split))
app.command("ref-youtube-vos", epilog="Example: risctl prepare ref-youtube-vos --from ref-youtube-vos")(ref_youtube_vos)
app.command("a2d", epilog="Example: risctl prepare a2d --from a2d_sentences")(a2d)
app.command("jhmdb", epilog="Example: risctl prepare jhmdb --from jhmdb_sentences")(jhmdb)
app.command("ref-davis17", epilog="Example: risctl prepare ref-davis17 --from ref-davis")(ref_davis17)
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
    from risctl.data.datasets.published import TOTAL, differences
    from risctl.data.datasets.refer_layout import find_annotations
    from risctl.data.prepare import verify_prepared
    from risctl.data.store.reader import Store

    with console.quiet_if(quiet):
        with Store(store) as opened:
            name, split_by, mark = opened.name, opened.split_by, opened.fingerprint
            counts = opened.counts() | {TOTAL: opened.count("all")}
        instances = find_annotations(source, name=name, split_by=split_by)[1] if source else None
        found = verify_prepared(store, instances=instances, stage=_stage)
        differing = differences(name, split_by, counts)
        for line in (*differing, *found.oddities):
            console.warn(line)
        checked = ", ".join(f"{count:,} {what}" for what, count in found.checked.items())
        data = {
            "store": str(store),
            "fingerprint": mark,
            "checked": found.checked,
            "oddities": found.oddities,
            "differences": differing,
        }
        console.result(f"{store} is sound: {checked}", data=data, as_json=as_json)


def _stage(label: str) -> AbstractContextManager[Callable[[int, int | None], None]]:
    """Show a stage's progress; outside a terminal say its name, lest hours of downloading be silent."""
    if not console.stderr.is_terminal:
        console.say(label)
    return console.counting(label)


def _tell(prepared: Prepared) -> None:
    for line in (*prepared.warnings, *prepared.differences):
        console.warn(line)
    if prepared.verification is not None:
        checked = prepared.verification.checked
        console.say("verified: " + ", ".join(f"{count:,} {what}" for what, count in checked.items()))
        for line in prepared.verification.oddities:
            console.warn(line)


def _asked(question: str) -> bool:
    """Ask on the terminal; where nobody can answer, the answer is no."""
    return sys.stdin.isatty() and sys.stderr.isatty() and typer.confirm(question, err=True)
