"""`risctl label SOURCE`: labels a collection, in parts that a kill at any instant leaves whole or absent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from risctl.cli import console
from risctl.cli.announce import announce_model
from risctl.cli.label.writing import complete, wanted_of, write_wanted
from risctl.cli.options import (
    AnyModelOption,
    BatchOption,
    Device,
    DeviceOption,
    JsonOption,
    OverwriteOption,
    QuietOption,
    SurestOption,
    ThresholdOption,
    WorkersOption,
    batch_of,
)
from risctl.cli.ray_options import ActorsOption, AddressOption, EngineName, GpusOption, actors_of
from risctl.errors import UsageError

if TYPE_CHECKING:
    from risctl.labelling.run import Engine


def label(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder with its subfolders, a quoted pattern, a list of paths (.txt), a table with the columns "
            "image and phrase (.csv, .tsv, .parquet, .jsonl) or a store (.h5); also s3://, gs://, hf://.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="A folder, or a file .parquet or .jsonl of all rows.", show_default=False),
    ],
    phrases: Annotated[
        str | None,
        typer.Option(
            "--phrases",
            "-p",
            help='A file with a phrase a line, or phrases between semicolons: "a cup; a dog". Default: those that '
            "stand beside each picture in a table or store.",
            show_default=False,
        ),
    ] = None,
    model: AnyModelOption = None,
    formats: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT[,FORMAT…]",
            help="parquet or jsonl (rows, in parts), and what is written of them at the end: png, coco, coco-results, "
            "labelme, yolo-seg, cvat, label-studio, davis. Default: parquet; jsonl without pyarrow.",
            autocompletion=complete,
            show_default=False,
        ),
    ] = None,
    min_score: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Leave rows out that score less; those with an error stay.")
    ] = 0.0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what was begun in --out, or begin it.")] = False,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="K/N", help="Label the share K of N, for job arrays; `join` joins them.", show_default=False
        ),
    ] = None,
    review: Annotated[
        Path | None,
        typer.Option(help="A folder for a page with the least sure answers, to accept or refuse.", show_default=False),
    ] = None,
    review_count: Annotated[int, typer.Option(min=1, max=100_000, help="How many answers the page shows.")] = 200,
    part_size: Annotated[int, typer.Option(min=1, max=1_000_000, help="Pictures of a part.")] = 256,
    split: Annotated[str, typer.Option("--split", "-s", help="The split of a store.")] = "all",
    copies: Annotated[
        bool, typer.Option("--images/--no-images", help="With formats of annotation tools: copy the pictures, too.")
    ] = True,
    threshold: ThresholdOption = None,
    no_target_threshold: Annotated[
        float | None,
        typer.Option(min=0.0, max=1.0, help='A phrase that scores less has "no match". Default: the model\'s.'),
    ] = None,
    surest: SurestOption = False,
    engine: Annotated[
        EngineName, typer.Option(help="local: this machine. ray: Ray Data, on a cluster; pip install 'risctl[ray]'.")
    ] = EngineName.local,
    address: AddressOption = None,
    actors: ActorsOption = "1",
    gpus: GpusOption = 0.0,
    batch: BatchOption = "auto",
    workers: WorkersOption = None,
    overwrite: OverwriteOption = False,
    device: DeviceOption = Device.auto,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Label a collection: for each picture and phrase a row with score, box and mask.

    Rows have the columns image, phrase, index, width, height, matched, score,
    box, area, segmentation (COCO RLE), threshold, model, digest, error and
    decision. --out as a folder gets them in parts, which are written whole,
    and goes on after a kill with --resume; as a file, all rows once all are
    there.

    A picture that cannot be read is a row with an error, and is counted; it
    stops nothing. A broken line of phrases, or of a list or table, is refused
    before anything is computed.
    """
    wanted, together = wanted_of(formats, out), batch_of(batch)
    share, shares = _shard(shard)
    if shares > 1 and (wanted.further or wanted.file or review):
        raise UsageError(
            "a shard is rows in a folder; name other formats, a file and --review with `risctl label join`"
        )
    if engine is EngineName.ray and workers is not None:
        raise UsageError("--workers is of --engine local; Ray takes --actors")
    lowest, highest = actors_of(actors)
    with console.quiet_if(quiet):
        from risctl.labelling.output import LabelFolder, Request
        from risctl.labelling.run import LocalEngine, check_phrases, label_folder, prepare
        from risctl.labelling.sources import images_of
        from risctl.labelling.tasks import numbered, phrases_of
        from risctl.labelling.worker import Labeller, ModelChoice, digest_of

        asked = None if phrases is None else phrases_of(phrases)
        wanted.check(source=source, resume=resume, overwrite=overwrite)
        choice = ModelChoice(
            name=None if model is None else str(model),
            device=device.value,
            threshold=threshold,
            no_target_threshold=no_target_threshold,
            surest=surest,
        )
        folder = LabelFolder(wanted.folder)
        with folder.locked():
            if wanted.is_written(resume=resume):
                console.say(f"{out} is there already")
                return
            predictor = announce_model(choice.open(), asked or ())
            digest = digest_of(predictor)
            request = Request(
                source=source,
                split=split,
                phrases=asked,
                model=str(predictor.path),
                digest=digest,
                threshold=predictor.threshold,
                no_target_threshold=predictor.no_target_threshold,
                min_score=min_score,
                kind=wanted.kind,
                size=part_size,
                shard=(share, shares),
            )
            prepare(
                folder,
                request,
                lambda: check_phrases(numbered(images_of(source, split=split), asked), predictor.warnings),
                resume=resume,
                overwrite=overwrite,
            )
            labels: Engine
            if engine is EngineName.ray:
                from risctl.labelling.ray_engine import RayEngine

                labels = RayEngine(
                    model=choice,
                    digest=digest,
                    min_score=min_score,
                    size=part_size,
                    address=address,
                    actors=(lowest, highest),
                    gpus=gpus,
                    batch=together,
                )
            else:
                labeller = Labeller(predictor, digest=digest, min_score=min_score)
                labels = LocalEngine(labeller, forks=predictor.forks, workers=workers, batch=together)
            with console.counting("label") as progress:
                summary = label_folder(folder, labels, progress=progress)
            told: dict[str, Any] = {"images": summary.images, "rows": summary.rows, "failed": summary.failed}
            if summary.failed:
                console.warn(f"{summary.failed} of {summary.images} pictures could not be read; their rows say why")
            told["files"] = write_wanted(
                wanted, folder.rows, folder.about, copies=copies, review=review, count=review_count
            )
            wanted.tidy(folder)
    console.result(
        console.line_of((f"{summary.images} pictures", f"{summary.rows} rows", f"{summary.failed} errors", str(out))),
        data=told | {"out": str(out)},
        as_json=as_json,
    )


def _shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    share, slash, shares = text.partition("/")
    if slash and share.isdecimal() and shares.isdecimal() and 1 <= int(share) <= int(shares) <= 1_000_000:
        return int(share), int(shares)
    raise UsageError(f"expected --shard K/N with K from 1 to N, such as 1/8, got {text!r:.40}")
