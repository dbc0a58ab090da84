"""`risctl push`: uploads a trained model to the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from risctl.cli import console
from risctl.cli.options import JsonOption, QuietOption
from risctl.errors import UsageError

if TYPE_CHECKING:
    from risctl.models.sharing.contents import SharedModel

EXAMPLE = "Example: risctl push runs/vlt-scenes-1 me/vlt-scenes --licence apache-2.0 --report test.json"

app = typer.Typer()


@app.command("push", epilog=EXAMPLE)
def push_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder or a checkpoint file.", show_default=False)],
    repository: Annotated[
        str, typer.Argument(metavar="USER/REPO", help="The repository; it is made if absent.", show_default=False)
    ],
    report: Annotated[
        list[Path] | None,
        typer.Option(
            "--report",
            "-r",
            help="A report of `risctl eval` of this checkpoint (.json): its protocols, figures and intervals go into "
            "the card; may be repeated.",
            show_default=False,
        ),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(
            "--licence", help="The licence of the weights, as the hub abbreviates it: apache-2.0, …", show_default=False
        ),
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a repository that only you can see.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be uploaded, the card too; ask the hub nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Upload without a question.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace files that the repository has with other contents.")
    ] = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Upload a trained model to the Hugging Face hub, for --model hf:USER/REPO.

    Uploaded are the weights (the best checkpoint's, their average where the run keeps one), the recipe, the words or
    tokens, and a card with protocol, intervals, data fingerprint, licence and how to make the model again. The
    optimizer's state, logs and command lines stay here, and of paths in the recipe only file names are kept.

    Nothing is uploaded without a yes: in a terminal it asks, elsewhere it needs --yes. An upload that broke off goes on
    with the same command.
    """
    import tempfile

    from risctl.models.sharing.contents import make_shared_model
    from risctl.models.sharing.upload import check_repository_name, check_upload, look_at, upload

    name = check_repository_name(repository)
    with console.quiet_if(quiet), tempfile.TemporaryDirectory(prefix="risctl-push-") as folder:
        model = make_shared_model(run, Path(folder), repository=name, licence=licence, reports=report or ())
        data = _data(model, name, private=private)
        if dry_run:
            card = model.files["README.md"].read_text(encoding="utf-8")
            text = [*_plan(model, name, private=private), "", *card.splitlines()]
            console.result(text, data={**data, "uploaded": False, "card": card}, as_json=as_json)
            return
        there = look_at(name)
        check_upload(model, there, private=private, overwrite=overwrite)
        for line in _plan(model, name, private=private or there.private):
            console.say(line)
        replaced = there.replaced(model)
        if replaced:
            console.say(f"it replaces {', '.join(replaced)}, which the repository has with other contents")
        _ask(yes=yes)
        with _bars_as_wanted():
            address = upload(model, there, private=private, overwrite=overwrite)
        console.result(
            f"{address}\n--model hf:{name}", data={**data, "uploaded": True, "address": address}, as_json=as_json
        )


def _ask(*, yes: bool) -> None:
    from risctl.cli.prepare.dataset_command import confirmed

    if not yes and not confirmed("Upload these files?"):
        raise UsageError("nothing was uploaded: it takes a yes at the question, or --yes")


def _plan(model: SharedModel, name: str, *, private: bool) -> list[str]:
    lines = [f"of {model.source} to {name} ({'private' if private else 'public'}):"]
    lines += [f"  {file.stat().st_size:>13,} bytes  {shown}" for shown, file in model.files.items()]
    return [*lines, f"  {model.size:>13,} bytes  in all"]


def _data(model: SharedModel, name: str, *, private: bool) -> dict[str, Any]:
    return {
        "repository": name,
        "private": private,
        "checkpoint": str(model.source),
        "files": {shown: file.stat().st_size for shown, file in model.files.items()},
    }


def _bars_as_wanted() -> Any:
    """Shows the bars of the hub's library where those of risctl would be shown."""
    from contextlib import contextmanager

    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    @contextmanager
    def wanted() -> Any:
        before = are_progress_bars_disabled()
        if not console.shows_bars():
            disable_progress_bars()
        try:
            yield
        finally:
            if not before:
                enable_progress_bars()

    return wanted()
