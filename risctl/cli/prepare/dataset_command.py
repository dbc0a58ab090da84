"""`risctl prepare NAME`: the command of a dataset, made from its descriptor."""

# Typer reads the annotations of `run`, which are built at run time, so here they are not kept as text.
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, OverwriteOption, QuietOption, RootOption
from risctl.cli.prepare.store_output import (
    LinkOption,
    MissingOption,
    ShardsOption,
    check_output,
    out_option,
    report_store,
    sharding_of,
)

if TYPE_CHECKING:
    from risctl.data.datasets.descriptor import DatasetDescriptor, DatasetOption
    from risctl.data.prepare import Prepared

ImagesOption = Annotated[
    Path | None,
    typer.Option("--images", help="Folder of the pictures, if not beside the published files.", show_default=False),
]
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


def dataset_command(dataset: "DatasetDescriptor") -> Callable[..., None]:
    """Returns the function of a dataset's command; its parameters are the options that the dataset has."""

    def run(
        *,
        source: Path | None,
        out: Path | None,
        overwrite: bool,
        data_root: Path,
        as_json: bool,
        quiet: bool,
        images: Path | None = None,
        split_by: str | None = None,
        link: bool = False,
        shards: str | None = None,
        verify: bool = False,
        allow_missing: bool = False,
        dry_run: bool = False,
        yes: bool = False,
        **options: Any,
    ) -> None:
        from risctl.data import dry_run as dry_runs
        from risctl.data.download.fetching import Downloads
        from risctl.data.prepare import prepare_dataset

        if dataset.images is None and images is not None:
            options["images"] = images
        if not dataset.split_by and split_by is not None:
            # An option of the dataset's own: which ways there are depends on the table.
            options["split_by"], split_by = split_by, None
        sharding = sharding_of(shards, link=link)
        with console.quiet_if(quiet):
            name = dataset.store_name(split_by or next(iter(dataset.split_by), ""))
            out = check_output(out or data_root / name, overwrite=overwrite)
            files: dict[str, Any] = {"source": source, "images": None if dataset.images is None else images}
            if dry_run:
                plan = dry_runs.dry_run(dataset, out=out, root=data_root, split_by=split_by or "", link=link, **files)
                console.result(plan.as_text(), data=plan.as_json(), as_json=as_json)
                return
            prepared = prepare_dataset(
                dataset,
                out=out,
                split_by=split_by,
                link=link,
                shards=sharding,
                verify=verify,
                allow_missing=allow_missing,
                options=options,
                downloads=Downloads(root=data_root, agree=lambda question: yes or confirmed(question)),
                stage=stage,
                **files,
            )
            if not prepared.published:
                report_store(prepared.store, counted=dataset.counted, as_json=as_json)
                return
            _warn(prepared)
            console.result(prepared.table(), data=prepared.as_json(), as_json=as_json)

    run.__signature__ = inspect.Signature(list(_parameters(dataset)))  # type: ignore[attr-defined]
    run.__annotations__ = {}
    return run


def _parameters(dataset: "DatasetDescriptor") -> Iterator[inspect.Parameter]:
    """Yields the options of a dataset's command, in the order of its help."""
    downloadable = bool(dataset.sources)
    source_help = f"{dataset.source_help} Without it they are downloaded." if downloadable else dataset.source_help
    if dataset.hub and not downloadable:
        source_help = f"{dataset.source_help} Without it, {dataset.hub} of the Hugging Face hub."
    flag = typer.Option(dataset.source_flag, help=source_help, show_default=False)
    if downloadable or dataset.hub or dataset.obtain:
        yield _parameter("source", Annotated[Path | None, flag])
    else:
        yield _parameter("source", Annotated[Path, flag], inspect.Parameter.empty)
    if dataset.images is not None:
        yield _parameter("images", ImagesOption)
    if dataset.split_by:
        yield _parameter("split_by", SplitOption)
    for option in dataset.options:
        yield _own_parameter(option)
    default = f"{dataset.name}_SPLITBY.h5" if dataset.split_by else f"{dataset.name}.h5"
    yield _parameter("out", Annotated[Path | None, out_option(default)])
    if dataset.linkable:
        yield _parameter("link", LinkOption, False)
    yield _parameter("shards", ShardsOption)
    if dataset.find is not None:
        yield _parameter("verify", VerifyOption, False)
    if dataset.can_drop:
        yield _parameter("allow_missing", MissingOption, False)
    if downloadable:
        yield _parameter("dry_run", DryOption, False)
    yield _parameter("overwrite", OverwriteOption, False)
    yield _parameter("data_root", RootOption, Path("data"))
    if downloadable or dataset.hub_files is not None:
        yield _parameter("yes", YesOption, False)
    yield _parameter("as_json", JsonOption, False)
    yield _parameter("quiet", QuietOption, False)


def _own_parameter(option: "DatasetOption") -> inspect.Parameter:
    flag = f"--{option.name.replace('_', '-')}"
    shown = typer.Option(flag, help=option.help, metavar=option.metavar, show_default=option.default is not None)
    if option.required:
        return _parameter(option.name, Annotated[option.type, shown], inspect.Parameter.empty)
    kind: Any = option.type if option.default is not None else option.type | None
    return _parameter(option.name, Annotated[kind, shown], option.default)


def _parameter(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def stage(label: str) -> AbstractContextManager[Callable[[int, int | None], None]]:
    """Shows a stage's progress; outside a terminal only its name, so that hours of downloading are not silent."""
    if not console.shows_bars():
        console.say(label)
    return console.counting(label)


def _warn(prepared: "Prepared") -> None:
    explained = () if prepared.explanation is None else (prepared.explanation,)
    for line in (*prepared.warnings, *prepared.differences, *explained):
        console.warn(line)
    if prepared.verification is not None:
        checked = prepared.verification.checked
        console.say("verified: " + ", ".join(f"{count:,} {what}" for what, count in checked.items()))
        for line in prepared.verification.warnings:
            console.warn(line)


def confirmed(question: str) -> bool:
    """Asks on the terminal; where nobody can answer, the answer is no."""
    return sys.stdin.isatty() and sys.stderr.isatty() and typer.confirm(question, err=True)
