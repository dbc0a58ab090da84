"""`risctl prepare`: datasets into stores."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from risctl.cli import console
from risctl.cli.options import JsonOption, QuietOption
from risctl.cli.prepare.box_phrases import EPILOG as BOX_PHRASES
from risctl.cli.prepare.box_phrases import box_phrases
from risctl.cli.prepare.custom import EPILOG as CUSTOM
from risctl.cli.prepare.custom import custom
from risctl.cli.prepare.dataset_command import dataset_command, stage
from risctl.cli.prepare.features import EPILOG as FEATURES
from risctl.cli.prepare.features import features
from risctl.cli.prepare.scenes import EPILOG as SCENES
from risctl.cli.prepare.scenes import scenes
from risctl.errors import UsageError


class DatasetCommands(TyperGroup):
    """The commands written below, and one for each known dataset, which is made when it is needed."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Returns the names of the commands, the datasets first."""
        from risctl.data.datasets.registry import DATASETS, load_plugins

        load_plugins()
        return list(dict.fromkeys([*DATASETS, *super().list_commands(ctx)]))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Returns the command called `cmd_name`, None if there is none."""
        return super().get_command(ctx, cmd_name) or _dataset_command(cmd_name)


def _dataset_command(name: str) -> Any:
    from risctl.data.datasets.registry import DATASETS, load_plugins

    if name not in DATASETS:
        load_plugins()
    dataset = DATASETS.get(name)
    if dataset is None or dataset.read is None:
        return None
    single = typer.Typer(rich_markup_mode="rich", add_completion=False)
    epilog = f"Example: risctl prepare {name} {dataset.example}"
    single.command(name, help=dataset.help, epilog=epilog)(dataset_command(dataset))
    return typer.main.get_command(single)


app = typer.Typer(
    cls=DatasetCommands,
    help="Turn a dataset into a store: one file that training and evaluation read.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
app.command("scenes", epilog=SCENES)(scenes)
app.command("custom", epilog=CUSTOM)(custom)
app.command("box-phrases", epilog=BOX_PHRASES)(box_phrases)
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
    from risctl.data.datasets.counts import differences, explanation, store_counts
    from risctl.data.datasets.registry import find_dataset
    from risctl.data.prepare import verify_prepared
    from risctl.data.store.reader import Store

    with console.quiet_if(quiet):
        with Store(store) as opened:
            name, split_by, mark = opened.name, opened.split_by, opened.fingerprint
            counts, notes = store_counts(opened), dict(opened.notes)
        find = find_dataset(name).find if source else None
        if source and find is None:
            raise UsageError(f"{name} has no published polygons to compare with; leave --from out")
        instances = find(source, split_by).instances if source and find else None
        found = verify_prepared(store, instances=instances, stage=stage)
        differing, explained = differences(name, split_by, counts), explanation(name, split_by, counts)
        noted = [f"{count:,} {what}" for what, count in notes.items()]
        for line in (*noted, *differing, *([explained] if explained else []), *found.warnings):
            console.warn(line)
        checked = ", ".join(f"{count:,} {what}" for what, count in found.checked.items())
        data = {
            "store": str(store),
            "fingerprint": mark,
            "checked": found.checked,
            "oddities": found.warnings,
            "differences": differing,
            "explanation": explained,
            "notes": notes,
        }
        console.result(f"{store} is sound: {checked}", data=data, as_json=as_json)
