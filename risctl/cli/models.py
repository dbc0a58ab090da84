"""`risctl models`: lists, shows, downloads, verifies, saves, calibrates and removes models by name."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from risctl.cli import console
from risctl.cli.options import (
    Device,
    DeviceOption,
    JsonOption,
    OverwriteOption,
    QuietOption,
    SplitOption,
    StoredTextFieldOption,
    StoreOption,
    text_field_of,
)
from risctl.errors import CheckpointError, DataError, UsageError

if TYPE_CHECKING:
    from risctl.models.facts import ModelFacts
    from risctl.models.names import ModelName

app = typer.Typer(
    help="List, show, download, verify, save, calibrate and remove models.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)

NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A name that `risctl models ls` lists, hf:OWNER/NAME (with @REVISION), a folder in Hugging Face's layout, "
        "a run folder or a checkpoint.",
        show_default=False,
    ),
]


@app.command("ls", epilog="Example: risctl models ls --json")
def list_models(as_json: JsonOption = False) -> None:
    """List the models that have a name: parameters, licence, whether gated and here, and what they can.

    Everything that takes --model takes these names, hf:OWNER/NAME and folders: a detector needs what segments its boxes
    after it (owlv2+sam2), and +chooser lets the model that comes with risctl choose among its instances.
    """
    from risctl.models.facts import listed

    models = listed()
    console.result(_table(models), data={"models": [one.record() for one in models]}, as_json=as_json)


@app.command("show", epilog="Example: risctl models show owlv2+sam2")
def show_model(name: NameArgument, as_json: JsonOption = False) -> None:
    """Show what is known of one model and of its parts, without a network."""
    from risctl.models.facts import facts_of

    facts = facts_of(name)
    lines = [f"{facts.name}: {facts.help}", f"can: {_can(facts)}"]
    for part in facts.parts:
        count = "unknown" if part.parameters is None else f"{part.parameters:g} M"
        lines += [
            "",
            f"{part.title}",
            f"  from        {part.source}",
            f"  task        {part.task}",
            f"  parameters  {count}",
            f"  licence     {part.licence or 'unknown: see its page'}",
            f"  gated       {'yes' if part.gated else 'no'}",
            f"  here        {'no' if part.size is None else f'yes, {_bytes(part.size)}'}",
        ]
    console.result(lines, data=facts.record(), as_json=as_json)


@app.command("pull", epilog="Example: risctl models pull clipseg")
def pull_model(name: NameArgument, as_json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Download what is missing of a model into the cache of huggingface_hub."""
    from risctl.models.local_copies import pull, pull_own

    with console.quiet_if(quiet):
        own = pull_own(name)
        copies = pull(_of_transformers(name, "pull")) if own is None else [own]
    lines = [console.line_of((one.source, _bytes(one.size), str(one.folder))) for one in copies]
    data = {"parts": [{"source": one.source, "folder": str(one.folder), "size": one.size} for one in copies]}
    console.result(lines, data=data, as_json=as_json)


@app.command("verify", epilog="Example: risctl models verify clipseg")
def verify_model(name: NameArgument, as_json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Compare a model's cached files with the hashes by which the hub names them. Exit code 4 if one is damaged."""
    from risctl.models.local_copies import copies_of, verify

    found: list[dict[str, Any]] = []
    with console.quiet_if(quiet):
        for copy in copies_of(_of_transformers(name, "verify")):
            if not copy.is_here:
                raise CheckpointError(f"{copy.source} is not on this machine; `risctl models pull {name}` fetches it")
            found.append({"source": copy.source, "damaged": verify(copy) if copy.in_cache else None})
    outcomes = {None: "a folder of yours, nothing to compare it with"}
    lines = [
        f"{one['source']}: "
        + (
            outcomes[None]
            if one["damaged"] is None
            else f"damaged: {', '.join(one['damaged'])}"
            if one["damaged"]
            else "ok"
        )
        for one in found
    ]
    console.result(lines, data={"parts": found}, as_json=as_json)
    damaged = [one["source"] for one in found if one["damaged"]]
    if damaged:
        raise DataError(
            f"{', '.join(damaged)}: damaged; `risctl models rm {name} --yes`, then `risctl models pull {name}`"
        )


@app.command("save", epilog="Example: risctl models save runs/mine --out models/mine")
def save_model(
    run: Annotated[
        str,
        typer.Argument(
            metavar="RUN",
            help="A run folder or checkpoint that a finetune recipe trained.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write; it must not be there.")],
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write a fine-tuned model as a folder that plain transformers opens, its adapters merged.

    from_pretrained opens it, and so does --model. With adapters, these alone are in its folder adapter, in peft's form.
    """
    from risctl.checkpoints.loaded_model import load_checkpoint
    from risctl.systems.transformers.save import save_folder

    with console.quiet_if(quiet):
        loaded = load_checkpoint(run)
        files = save_folder(out, system=loaded.system, section=loaded.recipe.model, vocabulary=loaded.vocabulary)
    lines = [f"{out}: {len(files)} files, {_bytes(sum(file.stat().st_size for file in files))}"]
    console.result(lines, data={"folder": str(out), "files": [str(file) for file in files]}, as_json=as_json)


@app.command("calibrate", epilog="Example: risctl models calibrate sam3 --data data/mine.h5 --split val")
def calibrate_model(
    data: StoreOption,
    name: Annotated[
        Path | None,
        typer.Argument(
            metavar="NAME",
            help="Whatever --model takes. Default: the small model that comes with risctl.",
            show_default=False,
        ),
    ] = None,
    split: SplitOption = "val",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Write the thresholds to this file, and not into the cache.", show_default=False
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Take only the first so many phrases.")] = None,
    text_field: StoredTextFieldOption = "sent",
    overwrite: OverwriteOption = False,
    device: DeviceOption = Device.auto,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Choose the score below which a phrase has no match, and from which an instance belongs to the answer.

    They are those with the highest gIoU on phrases with and without a target. predict, eval and visualize predictions
    use them for the same NAME from then on, and say so; --calibration none leaves them out. Nothing is trained.
    """
    from risctl.data.store.reader import Store
    from risctl.evaluation.calibration import PROTOCOL, calibrate
    from risctl.models.calibrated import cached_path, write_calibration
    from risctl.models.open import open_predictor
    from risctl.output_files import check_replaceable

    field = text_field_of(text_field)
    if out is not None:
        check_replaceable(out, overwrite=overwrite)
    with console.quiet_if(quiet), Store(data) as store:
        store.sentences(split)  # An unknown split is an error before a model is loaded.
        predictor = open_predictor(name, device=device.value)
        console.say(predictor.describe())
        path = cached_path(name) if out is None else out
        with console.counting("calibrate") as progress:
            chosen = calibrate(
                predictor, store, model=name, split=split, text_field=field, limit=limit, progress=progress
            )
        write_calibration(path, chosen.calibration)
    found, figures, before = chosen.calibration, chosen.figures, chosen.before
    on = found.chosen_on
    spread = "" if chosen.interval is None else f" ({chosen.interval[0]:.1f} to {chosen.interval[1]:.1f})"
    sample = f"{on['expressions']:,} phrases about {on['images']:,} images, {on['without_target']:,} without a target"
    lines = [
        f"{found.model} on {data}, split {split}: {sample}",
        f"no match below  {found.no_target_threshold:.4g} (before: {chosen.own[0]:.4g})",
    ]
    if found.min_score is not None:
        lines.append(f"instances from  {found.min_score:.4g} (before: {chosen.own[1]:.4g})")
    lines += [
        f"gIoU   {figures.giou:.1f}{spread} (before: {before.giou:.1f})",
        f"T-acc  {figures.t_acc:.1f} (before: {before.t_acc:.1f})",
        f"N-acc  {figures.n_acc:.1f} (before: {before.n_acc:.1f})",
        f"protocol {PROTOCOL}",
        "chosen on these phrases, so that the figures flatter: measure on others",
        f"written to {path}",
    ]
    record = {
        "file": str(path),
        **asdict(found),
        "interval": None if chosen.interval is None else list(chosen.interval),
        "before": {"no_target_threshold": chosen.own[0], "min_score": chosen.own[1], **asdict(before)},
        "left_out": chosen.unread,
    }
    console.result(lines, data=record, as_json=as_json)


@app.command("rm", epilog="Example: risctl models rm clipseg --yes")
def remove_model(
    name: NameArgument,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Remove it. Without, only say what would be removed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove a model's weights from the cache of huggingface_hub. Folders and checkpoints of yours are left alone."""
    from risctl.models.local_copies import copies_of, remove

    copies = [one for one in copies_of(_of_transformers(name, "rm")) if one.in_cache]
    if not copies:
        raise UsageError(f"nothing of {name} is in the hub's cache")
    freed = [remove(one) if yes else one.size for one in copies]
    verb = "removed" if yes else "would remove (with --yes)"
    lines = [f"{verb} {one.source}, {_bytes(size)}" for one, size in zip(copies, freed, strict=True)]
    data = {
        "removed": yes,
        "parts": [{"source": one.source, "size": size} for one, size in zip(copies, freed, strict=True)],
    }
    console.result(lines, data=data, as_json=as_json)


def _of_transformers(name: str, command: str) -> ModelName:
    from risctl.models.names import parse_name

    parsed = parse_name(name)
    if parsed is None:
        from risctl.checkpoints.loaded_model import resolve_checkpoint

        path = resolve_checkpoint(name)
        raise UsageError(f"{path} is a file of risctl's own; `models {command}` is for models of transformers")
    return parsed


def _table(models: list[ModelFacts]) -> list[str]:
    rows = [("NAME", "PARAMETERS", "LICENCE", "GATED", "HERE", "CAN")]
    for one in models:
        rows.append(
            (
                one.name,
                "unknown" if one.parameters is None else f"{one.parameters:.3g} M",
                one.licence,
                "yes" if one.gated else "no",
                _bytes(one.size or 0) if one.cached else "no",
                _can(one),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _can(facts: ModelFacts) -> str:
    if facts.can is None:
        return "unknown until it is here"
    return ", ".join(facts.can) or "one object a phrase"


def _bytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
