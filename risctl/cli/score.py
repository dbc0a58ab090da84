"""`risctl score`: judges masks that any other tool wrote."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from risctl.cli import console
from risctl.cli.options import (
    Beside,
    BesideOption,
    JsonOption,
    OverwriteOption,
    QuietOption,
    RowsOption,
    SplitOption,
    StoredTextFieldOption,
    complete_protocol,
    text_field_of,
)
from risctl.cli.report_option import PicturesOption, ReportOption, Results, claim_outputs, write_reports

if TYPE_CHECKING:
    from risctl.data.store.reader import TextField

EXAMPLE = "Example: risctl score masks.jsonl --data refcoco-unc.h5 --split val --protocol lavt,original"

app = typer.Typer()


class KeyName(StrEnum):
    """What names the expressions in a file of predictions."""

    sent_id = "sent_id"
    ref_id = "ref_id"
    text = "text"
    file_name = "file_name"
    image_id = "image_id"


class MissingRule(StrEnum):
    """What becomes of sentences without a prediction."""

    refuse = "refuse"
    empty = "empty"
    skip = "skip"


class ResizeRule(StrEnum):
    """How masks of another size than their image are brought to it."""

    nearest = "nearest"


@app.command("score", epilog=EXAMPLE)
def score(
    predictions: Annotated[
        Path | None,
        typer.Argument(
            metavar="PREDICTIONS",
            help="COCO results (.json), JSON Lines with `segmentation` (RLE or polygons), a folder or zip of "
            "SENTID.png or REFID_INDEX.png, a .npz of such arrays, or parquet; for videos, of "
            "VIDEO/EXPRESSION/FRAME.png, Sa2VA's results.json, or tracks as SAM 3 writes them.",
            show_default=False,
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", "-d", help="A store made by `risctl prepare`.", show_default=False)
    ] = None,
    split: SplitOption = "val",
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            "-p",
            metavar="NAME[,NAME…]",
            help="The protocols of the figures of images, all in one pass: original, lavt, cris, mcn, rela, mmdet, "
            "a2d, davis, zsris, phrasecut, lisa, reasonseg. Of instances, alone: cgf1 or pbench; "
            "of videos: videos, mevis, long_rvos or ref_sav. Default: that of the dataset's papers, or original.",
            autocompletion=complete_protocol,
            show_default=False,
        ),
    ] = None,
    key: Annotated[
        KeyName | None,
        typer.Option(
            "--key",
            help="What names the expressions: sent_id; ref_id (with sent_index); text (with image_id); file_name (with "
            "text); image_id, where each image has one. Default: the first of them that the predictions have.",
            show_default=False,
        ),
    ] = None,
    missing: Annotated[
        MissingRule | None,
        typer.Option(
            "--missing",
            help="Sentences without a prediction: refuse, count as empty masks, or skip. Default: refuse.",
            show_default=False,
        ),
    ] = None,
    resize: Annotated[
        ResizeRule | None,
        typer.Option(
            "--resize",
            help="Bring masks of another size to that of their image, if its shape is the same to a pixel.",
            show_default=False,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold", min=0.0, max=1.0, help="For arrays of probabilities: a mask is where they exceed this."
        ),
    ] = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Refuse unknown predictions, several of a sentence, and masks that are empty."),
    ] = False,
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Count predictions that cannot be read as missing, as empty masks.")
    ] = False,
    template: Annotated[
        Path | None,
        typer.Option(
            "--template",
            metavar="STORE",
            help="Print the expressions of this store's split instead, as JSON Lines for another tool to fill in.",
            show_default=False,
        ),
    ] = None,
    rows: RowsOption = None,
    report: ReportOption = None,
    pictures: PicturesOption = 12,
    beside: BesideOption = None,
    text_field: StoredTextFieldOption = "sent",
    overwrite: OverwriteOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Judge masks that any other tool wrote: figures, rows and report as `eval` gives them, without a model.

    Predictions are matched by what names their expression, never by their order. Missing, unknown, broken and wrongly
    sized ones are counted and named. `--rows` can be compared with those of other runs by `risctl compare`.
    """
    from risctl.data.store.clips import is_video_store
    from risctl.data.store.reader import Store
    from risctl.errors import UsageError
    from risctl.evaluation.concept_report import concept_protocol_of
    from risctl.evaluation.published.beside import Trained
    from risctl.evaluation.scoring.judge import protocols_of
    from risctl.evaluation.scoring.open_source import ACCEPTED, open_predictions
    from risctl.evaluation.scoring.score import score_predictions

    field = text_field_of(text_field)
    if template is not None:
        if predictions is not None or data is not None:
            raise UsageError("--template prints a store's expressions; leave PREDICTIONS and --data out")
        _print_template(template, split=split, text_field=field)
        return
    if predictions is None or data is None:
        raise UsageError(f"name the predictions and --data STORE; predictions are {ACCEPTED}")
    outputs = claim_outputs(inputs=[predictions, data], overwrite=overwrite, reports=report, others=[rows])
    results = Results(
        rows=rows,
        reports=report,
        pictures=pictures,
        beside=beside is Beside.published,
        outputs=outputs,
        as_json=as_json,
    )
    with console.quiet_if(quiet), Store(data) as store:
        store.sentences(split)  # An unknown split is an error before the predictions are read.
        if is_video_store(store):
            if concept_protocol_of(store, protocol) is not None:
                from risctl.cli.score_concepts import score_tracks_of

                if key is not None or resize is not None or threshold is not None:
                    raise UsageError(
                        "tracks name their pair by video_id and category_id; of the options that say how predictions "
                        "are matched, --missing, --strict and --lenient are for them"
                    )
                score_tracks_of(
                    predictions,
                    store,
                    split=split,
                    missing=None if missing is None else missing.value,
                    strict=strict,
                    lenient=lenient,
                    results=results,
                )
                return
            from risctl.cli.score_videos import score_videos
            from risctl.evaluation.expression_rows import video_protocol_of

            if key is not None or resize is not None or threshold is not None or strict or lenient:
                raise UsageError(
                    "masks of videos are named VIDEO/EXPRESSION/FRAME.png; of the options that say how masks are "
                    "matched, --missing alone is for them"
                )
            score_videos(
                predictions,
                store,
                split=split,
                text_field=field,
                protocol=video_protocol_of(store, protocol),
                missing="refuse" if missing is None else missing.value,
                results=results,
            )
            return
        concepts = concept_protocol_of(store, protocol)
        if concepts is not None:
            from risctl.cli.score_concepts import score_instances

            score_instances(
                predictions,
                store,
                split=split,
                protocol=concepts,
                key=None if key is None else key.value,
                missing=None if missing is None else missing.value,
                resize=None if resize is None else "nearest",
                threshold=threshold,
                strict=strict,
                lenient=lenient,
                results=results,
            )
            return
        protocols = protocols_of(store, protocol)
        source = open_predictions(predictions)
        try:
            console.say(f"{predictions}, {source.kind}, on {data}, split {split}")
            with console.counting("score") as progress:
                evaluation, coverage, masks = score_predictions(
                    source,
                    store,
                    split=split,
                    protocols=protocols,
                    text_field=field,
                    key=None if key is None else key.value,
                    missing=None if missing is None else missing.value,
                    resize=None if resize is None else "nearest",
                    threshold=threshold,
                    strict=strict,
                    lenient=lenient,
                    progress=progress,
                )
            trained = Trained(system="", weights="unknown: another tool's predictions", data="unknown")
            if beside is Beside.published:
                evaluation = evaluation.beside_published(trained)
            written: dict[str, Any] = {}
            if rows is not None:
                evaluation.write_rows(rows, outputs=outputs)
                console.say(f"rows: {rows}")
                written["rows"] = str(rows)
            about = {"data": str(data)}
            written |= write_reports(
                report,
                evaluation,
                trained=trained,
                about=about,
                store=store,
                masks_of=masks.decoded,
                pictures=pictures,
                outputs=outputs,
            )
        finally:
            source.close()
        result = {**about, **evaluation.to_dict(), "coverage": coverage.to_dict(), **written}
        console.result(evaluation.to_text(), data=result, as_json=as_json)


def _print_template(path: Path, *, split: str, text_field: TextField) -> None:
    from risctl.data.store.reader import Store
    from risctl.evaluation.scoring.template import template

    with Store(path) as store:
        for record in template(store, split=split, text_field=text_field):
            console.result("", data=record, as_json=True)
