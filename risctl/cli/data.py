"""`risctl data`: the known datasets, a file of your own before it is prepared, and any store."""

from __future__ import annotations

import random
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from risctl.cli import console
from risctl.cli.formats_option import NAMES
from risctl.cli.options import JsonOption, OverwriteOption, QuietOption, RootOption
from risctl.errors import DataError, UsageError

if TYPE_CHECKING:
    from risctl.cli.visualize.contact_sheets import ContactSheetFile
    from risctl.data.datasets.custom.read import CheckedFile
    from risctl.data.records import Dataset
    from risctl.data.store.reader import Store
    from risctl.data.targets import Target

OWN_SUFFIXES = (".json", ".jsonl", ".ndjson", ".xml", ".csv", ".tsv", ".parquet")
"""How the names of a user's own files end; those of stores end otherwise."""

REMOTE = "remote"
"""The folder below the data root that files of addresses are fetched into."""

WARNINGS = 50
"""How many warnings are listed for a person; problems are all listed."""

app = typer.Typer(
    help="List the known datasets; check, count and show your own files and stores.", no_args_is_help=True
)

CustomArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="JSON Lines, COCO-style JSON, a table (CSV, parquet), or what an annotation tool wrote: see risctl data "
        "format. It may be an address: https, s3, gs, hf.",
        show_default=False,
    ),
]
SourceArgument = Annotated[Path, typer.Argument(metavar="FILE|STORE", help="A file of your own, or a store.")]
ImagesOption = Annotated[
    str | None,
    typer.Option(
        "--images",
        help="Folder, or its address, that FILE's picture paths start from; default: FILE's own, or images/ beside it.",
        show_default=False,
    ),
]
FormOption = Annotated[
    str | None,
    typer.Option(
        "--format",
        help=f"What wrote FILE, a file or folder: {', '.join(NAMES)}. Default: as its files tell.",
        show_default=False,
    ),
]
SplitOption = Annotated[str, typer.Option("--split", help="A split of it; all: every one.")]


@app.command("ls", epilog="Example: risctl data ls")
def list_known(data_root: RootOption = Path("data"), as_json: JsonOption = False) -> None:
    """List the known datasets: what is published of each, and what lies on this disk."""
    from risctl.data.inventory import list_datasets

    known, others = list_datasets(data_root)
    lines = [entry.as_text() for entry in known]
    lines += [f"{store.name}: your own, or made elsewhere\n  store: {store.as_text()}" for store in others]
    data = {"datasets": [dataset.as_json() for dataset in known], "other_stores": [other.as_json() for other in others]}
    console.result("\n".join(lines), data=data, as_json=as_json)


@app.command("format", epilog="Example: risctl data format")
def print_format() -> None:
    """Print how to write a dataset of your own."""
    from risctl.data.datasets.custom import FORMAT

    console.result(FORMAT.rstrip(), data=FORMAT, as_json=False)


@app.command("check", epilog="Example: risctl data check cups.jsonl")
def check(
    file: CustomArgument,
    images: ImagesOption = None,
    form: FormOption = None,
    data_root: RootOption = Path("data"),
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Report every problem of a dataset of your own, with its line. Exit code 4 if there are any.

    JSON Lines and tables are read line by line, in the same memory whatever their length.
    """
    with console.quiet_if(quiet):
        checked = _checked(own_place(file), images, form, remote=data_root / REMOTE, keep=False)
        counts = checked.counts
        lines = [f"{file}:{problem.line}: {problem.message}" for problem in checked.problems]
        if checked.problem_count > len(checked.problems):
            lines.append(f"{file}: {checked.problem_count - len(checked.problems):,} more problems")
        lines += [f"{file}:{warning.line}: warning: {warning.message}" for warning in checked.warnings[:WARNINGS]]
        if checked.warning_count > WARNINGS:
            lines.append(f"{file}: {checked.warning_count - WARNINGS:,} more warnings; --json lists 10,000")
        found = f"{_number(checked.problem_count, 'problem')}, {_number(checked.warning_count, 'warning')}"
        rows = [f"{row['sentences']:,} texts of {row['images']:,} pictures in {split}" for split, row in counts.items()]
        lines.append(f"{file}: {'; '.join([found, *rows])}")
        data = {
            "file": str(file),
            "problems": [{"line": problem.line, "message": problem.message} for problem in checked.problems],
            "warnings": [{"line": warning.line, "message": warning.message} for warning in checked.warnings],
            "problem_count": checked.problem_count,
            "warning_count": checked.warning_count,
            "counts": counts,
        }
        console.result(lines, data=data, as_json=as_json)
    if checked.problem_count:
        raise typer.Exit(DataError.exit_code)


@app.command("stats", epilog="Example: risctl data stats data/refcoco_unc.h5 --split testA")
def stats(
    source: SourceArgument,
    split: SplitOption = "all",
    images: ImagesOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Count targets, sentences and words, with their lengths, sizes, classes and numbers of distractors."""
    from risctl.data.stats import stats_of

    with console.quiet_if(quiet), _opened(source, images) as opened:
        found = stats_of(opened, split=split)
        data = {"source": str(source), "name": opened.name, "split": split, **found.as_json()}
        console.result(f"{source}: {opened.name}\n{found.as_text()}", data=data, as_json=as_json)


@app.command("show", epilog='Example: risctl data show data/refcoco_unc.h5 --split val -n 20 --seed 0 --with "left"')
def show(
    source: SourceArgument,
    split: SplitOption = "all",
    count: Annotated[int, typer.Option("-n", "--count", min=1, help="How many texts at most.")] = 10,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Choose them at random by this seed; default: the first ones.", show_default=False),
    ] = None,
    containing: Annotated[
        str | None, typer.Option("--with", help="Only texts that have this in them.", show_default=False)
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(
            "--sheet",
            help="Also draw as many pictures, chosen by --seed, on a sheet: .png or .jpg.",
            show_default=False,
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    images: ImagesOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List texts with what they refer to: picture, class, place, size, and how many distractors there are."""
    from risctl.cli.visualize.contact_sheets import ContactSheetFile
    from risctl.data.targets import targets_of

    drawn = None if sheet is None else ContactSheetFile.claim(sheet, "", overwrite=overwrite, inputs=[source])
    with console.quiet_if(quiet), _opened(source, images) as opened:
        found = [
            (target, index)
            for target in targets_of(opened, split=split)
            for index, text in enumerate(target.texts)
            if containing is None or containing.lower() in text.lower()
        ]
        kept = found[:count]
        if seed is not None:
            kept = [found[index] for index in sorted(random.Random(seed).sample(range(len(found)), len(kept)))]
        rows = [_row(*item) for item in kept]
        lines = [_line(row) for row in rows]
        lines.append(f"{len(rows):,} of {len(found):,} texts")
        if drawn is not None:
            _draw(opened, drawn, split=split, count=count, seed=seed or 0)
            lines.append(str(drawn.path))
        data = {"texts": rows, "of": len(found), "sheet": str(drawn.path) if drawn else None}
        console.result(lines, data=data, as_json=as_json)


def _draw(source: Store | Dataset, file: ContactSheetFile, *, split: str, count: int, seed: int) -> None:
    """Draws some pictures on a contact sheet; those of a user's file are put into a store for that."""
    import tempfile

    from risctl.data.store.reader import Store
    from risctl.data.store.writer import write_store
    from risctl.data.targets import subset_of_images
    from risctl.visualization.dataset_contact_sheet import dataset_contact_sheet

    if isinstance(source, Store):
        file.write(dataset_contact_sheet(source, split=split, count=count, seed=seed).pixels)
        return
    with tempfile.TemporaryDirectory() as folder:
        info = write_store(subset_of_images(source, split=split, count=count, seed=seed), Path(folder) / "some.h5")
        with Store(info.path) as store:
            file.write(dataset_contact_sheet(store, split=split, count=count, seed=seed).pixels)


def _row(target: Target, index: int) -> dict[str, Any]:
    from risctl.vision import rle

    return {
        "sentence_id": target.sentence_ids[index],
        "ref_id": target.ref_id,
        "split": target.split,
        "image_id": target.image_id,
        "file_name": target.file_name,
        "text": target.texts[index],
        "abilities": list(target.abilities[index]),
        "categories": list(target.categories),
        "things": target.annotation_count,
        "box": list(rle.box(target.mask)) if target.mask else None,
        "share": target.area_fraction,
        "distractors": target.distractors,
    }


def _line(row: dict[str, Any]) -> str:
    about = "nothing there"
    if row["box"]:
        x, y, width, height = row["box"]
        categories = ", ".join(row["categories"])
        others = f", {row['distractors']} more there" if row["distractors"] else ""
        several = f"{row['things']} of " if row["things"] > 1 else ""
        about = f"{several}{categories} {width:.0f}x{height:.0f} at {x:.0f},{y:.0f}: {row['share']:.1%}{others}"
    return f"{row['sentence_id']} {row['split']} {row['file_name']} {row['text']!r} ({about})"


def own_place(name: str) -> Path | str:
    """Returns a user's own file: its address, or its path."""
    from risctl.data.download.addresses import is_address

    return name if is_address(name) else Path(name)


def _opened(source: Path, images: str | None) -> AbstractContextManager[Store | Dataset]:
    """Opens a store, or reads a user's file."""
    from risctl.data.datasets.custom.read import refusal
    from risctl.data.store.reader import Store

    if source.suffix.lower() not in OWN_SUFFIXES and not source.is_dir():
        if images is not None:
            raise UsageError("--images is for files of your own; a store knows its pictures")
        return Store(source)
    checked = _checked(source, images)
    if checked.dataset is None:
        raise refusal(checked)
    return nullcontext(checked.dataset)


def _checked(
    file: Path | str,
    images: str | None,
    form: str | None = None,
    *,
    remote: Path = Path("data") / REMOTE,
    keep: bool = True,
) -> CheckedFile:
    from risctl.data.datasets.custom.read import check_custom

    if isinstance(file, Path) and file.suffix.lower() in (".h5", ".hdf5"):
        raise UsageError(f"{file} seems to be a store; check it with `risctl prepare verify {file}`")
    with console.counting("checking") as progress:
        return check_custom(
            file,
            images=None if images is None else own_place(images),
            form=form,
            remote=remote,
            keep=keep,
            progress=progress,
        )


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
