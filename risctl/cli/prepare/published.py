"""`risctl prepare refcoco` and the other published sets that are fetched, or read from files that are there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, QuietOption, RootOption
from risctl.cli.prepare.store_output import LinkOption, MissingOption, OverwriteOption, free_place, out_option

if TYPE_CHECKING:
    from risctl.data.prepare import Prepared

FromOption = Annotated[
    Path | None,
    typer.Option("--from", help="Folder of the published files. Without it they are downloaded.", show_default=False),
]
ImagesOption = Annotated[
    Path | None,
    typer.Option("--images", help="Folder of the pictures, if not beside the published files.", show_default=False),
]
OutOption = Annotated[Path | None, out_option("SET_SPLITBY.h5")]
VerifyOption = Annotated[
    bool, typer.Option("--verify", help="Read all back; compare every mask with its published polygon.")
]
DryOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be downloaded and written, and how large; change nothing.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Download many gigabytes without asking.")]
SplitOption = Annotated[
    str | None, typer.Option("--split-by", help="The way of splitting; default: the first one above.")
]

_REFER = "--from refer/data --images coco/train2014"
# Name -> what it is, and the options of the example.
SETS = {
    "refcoco": (
        "RefCOCO: 142,210 sentences about 50,000 things in 19,994 pictures; split by unc or google.",
        _REFER,
    ),
    "refcoco+": ("RefCOCO+: 141,564 sentences without words of place, about 49,856 things; split by unc.", _REFER),
    "refcocog": (
        "RefCOCOg: 95,010 long sentences about 49,822 things; split by umd, or google without a test.",
        _REFER,
    ),
    "refclef": (
        "RefClef (ReferItGame): things and regions of 19,997 pictures of SAIAPR TC-12; split by unc or berkeley.",
        "--from refer/data --images refer/data/images/saiapr_tc-12",
    ),
    "grefcoco": (
        "gRefCOCO: 278,232 sentences, 80,022 about several things and 32,202 about nothing there; split by unc.",
        _REFER,
    ),
    "phrasecut": (
        "PhraseCut: 345,486 phrases for regions of 77,262 pictures of Visual Genome; split as published.",
        "--from VGPhraseCut_v0 --images VGPhraseCut_v0/images",
    ),
}


def summary(name: str) -> str:
    """Return what a set is."""
    return SETS[name][0]


def epilog(name: str) -> str:
    """Return the example of a set's command."""
    return f"Example: risctl prepare {name} {SETS[name][1]}"


def published_set(name: str) -> Callable[..., None]:
    """Return the command of a set: they differ by name and help alone."""

    def command(
        source: FromOption = None,
        images: ImagesOption = None,
        split_by: SplitOption = None,
        out: OutOption = None,
        link: LinkOption = False,
        verify: VerifyOption = False,
        allow_missing: MissingOption = False,
        dry_run: DryOption = False,
        overwrite: OverwriteOption = False,
        data_root: RootOption = Path("data"),
        yes: YesOption = False,
        as_json: JsonOption = False,
        quiet: QuietOption = False,
    ) -> None:
        from risctl.data.download.fetching import Downloads
        from risctl.data.prepare import prepare_set, set_named
        from risctl.data.prepare_plan import plan_set

        with console.quiet_if(quiet):
            split_by = split_by or set_named(name).split_by[0]
            place = free_place(out or data_root / f"{name}_{split_by}.h5", overwrite=overwrite)
            downloads = Downloads(root=data_root, agree=lambda question: yes or asked(question))
            if dry_run:
                plan = plan_set(
                    set_named(name),
                    out=place,
                    source=source,
                    images=images,
                    split_by=split_by,
                    link=link,
                    downloads=downloads,
                )
                console.result(plan.told(), data=plan.as_json(), as_json=as_json)
                return
            prepared = prepare_set(
                name,
                out=place,
                source=source,
                images=images,
                split_by=split_by,
                link=link,
                verify=verify,
                allow_missing=allow_missing,
                downloads=downloads,
                stage=stage,
            )
            _tell(prepared)
            console.result(prepared.table(), data=prepared.as_json(), as_json=as_json)

    return command


def stage(label: str) -> AbstractContextManager[Callable[[int, int | None], None]]:
    """Show a stage's progress; outside a terminal say its name, lest hours of downloading be silent."""
    if not console.stderr.is_terminal:
        console.say(label)
    return console.counting(label)


def _tell(prepared: Prepared) -> None:
    explained = () if prepared.explanation is None else (prepared.explanation,)
    for line in (*prepared.warnings, *prepared.differences, *explained):
        console.warn(line)
    if prepared.verification is not None:
        checked = prepared.verification.checked
        console.say("verified: " + ", ".join(f"{count:,} {what}" for what, count in checked.items()))
        for line in prepared.verification.oddities:
            console.warn(line)


def asked(question: str) -> bool:
    """Ask on the terminal; where nobody can answer, the answer is no."""
    return sys.stdin.isatty() and sys.stderr.isatty() and typer.confirm(question, err=True)
