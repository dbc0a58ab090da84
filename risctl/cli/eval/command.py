"""`risctl eval`: evaluates a trained model on a split of a store under stated protocols."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from risctl.cli import console
from risctl.cli.calibrated import CalibrationOption, put_calibration
from risctl.cli.options import (
    AnyModelOption,
    BatchOption,
    Beside,
    BesideOption,
    Device,
    DeviceOption,
    JsonOption,
    OverwriteOption,
    QuietOption,
    RowsOption,
    SplitOption,
    StoreOption,
    SurestOption,
    TextFieldOption,
    TrackerOption,
    batch_of,
    complete_protocol,
    text_field_of,
)
from risctl.cli.report_option import PicturesOption, ReportOption, Results, claim_outputs, write_reports

if TYPE_CHECKING:
    import torch


EXAMPLE = "Example: risctl eval --model runs/vlt-scenes --data scenes.h5 --split val --protocol original,lavt"

app = typer.Typer()


@app.command("eval", epilog=EXAMPLE)
def evaluate_model(
    data: StoreOption,
    model: AnyModelOption = None,
    split: SplitOption = "val",
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            "-p",
            metavar="NAME[,NAME…]",
            help="The protocols of the figures, all in one pass: original, lavt, cris, mcn, rela, mmdet, a2d, davis, "
            "zsris, phrasecut, lisa, reasonseg. Default: the checkpoint's. For detection by category, alone: zsi or "
            "gzsi (masks), zsd or gzsd (boxes); of every instance of a phrase: cgf1 or pbench. Of videos: videos, "
            "mevis, long_rvos or ref_sav; default: the dataset's.",
            autocompletion=complete_protocol,
            show_default=False,
        ),
    ] = None,
    rows: RowsOption = None,
    report: ReportOption = None,
    pictures: PicturesOption = 12,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Evaluate only the first so many sentences.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            help="A pixel belongs to the mask if its probability exceeds this. Default: the protocol's, if it fixes "
            "one, else the recipe's, else 0.5.",
        ),
    ] = None,
    no_target_threshold: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="A phrase that scores less gets an empty mask. Default: the model's.",
            show_default=False,
        ),
    ] = None,
    surest: SurestOption = False,
    tracker: TrackerOption = None,
    calibration: CalibrationOption = None,
    text_field: TextFieldOption = None,
    text_batch: Annotated[
        int | None, typer.Option("--text-batch", min=1, help="Sentences decoded together. Default: the checkpoint's.")
    ] = None,
    beside: BesideOption = None,
    submission: Annotated[
        Path | None,
        typer.Option(
            "--submission",
            help="Videos: write a Ref-YouTube-VOS submission (.zip) of the split instead of figures.",
            show_default=False,
        ),
    ] = None,
    clip_len: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=1000,
            help="Videos: frames that the model sees at once. Default: 36 on Ref-DAVIS17, else 8. The published "
            "evaluation takes the whole video; memory grows with the number.",
            show_default=False,
        ),
    ] = None,
    overwrite: OverwriteOption = False,
    batch: BatchOption = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=0,
            help="Processes that decode pictures and, on a CPU, predict, each with one thread. Default: on a CPU as "
            "many as cores are free, 1 where OMP_NUM_THREADS is set; else 2.",
            show_default=False,
        ),
    ] = None,
    device: DeviceOption = Device.auto,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Evaluate a trained model: oIoU, mIoU and Pr@X with their protocol, counts and confidence intervals.

    On a store of videos: J, F and J&F of the expressions; for ref-davis17 also DAVIS's own figures by both matching
    rules, averaged over the four annotators.
    """
    from risctl.data.store.clips import is_video_store
    from risctl.data.store.reader import Store
    from risctl.errors import UsageError
    from risctl.evaluation.concept_report import concept_protocol_of
    from risctl.evaluation.evaluated_model import open_evaluated
    from risctl.evaluation.expression_rows import video_protocol_of
    from risctl.evaluation.image_evaluator import evaluate
    from risctl.inference.store_predictor import predicted_masks

    images_together = batch_of(batch)
    requested_field = None if text_field is None else text_field_of(text_field)
    outputs = claim_outputs(inputs=[data, model], overwrite=overwrite, reports=report, others=[rows, submission])
    with console.quiet_if(quiet), Store(data) as store:
        store.sentences(split)  # An unknown split is an error before a model is loaded.
        of_videos = video_protocol_of(store, protocol) if is_video_store(store) else None
        torch_device, is_main = _process_device(device)
        opened = open_evaluated(model, torch_device, surest=surest, no_target_threshold=no_target_threshold)
        put_calibration(opened.answering, model=model, option=calibration, given=no_target_threshold)
        outputs.add_inputs([opened.path])
        field = requested_field or opened.text_field
        if of_videos is not None:
            from risctl.cli.eval.videos import evaluate_video_model

            if text_batch is not None:
                raise UsageError("a store of videos is evaluated video by video; leave --text-batch out")
            if submission is not None and (limit is not None or rows is not None or report or beside):
                raise UsageError(
                    "a submission covers the whole split, without figures; leave --limit, --rows, --report and "
                    "--beside out"
                )
            evaluate_video_model(
                opened,
                store,
                tracker=tracker,
                split=split,
                text_field=field,
                device=torch_device,
                protocol=of_videos,
                threshold=threshold,
                limit=limit,
                rows=rows,
                reports=report,
                pictures=pictures,
                beside=beside is Beside.published,
                checkpoint=opened.checkpoint() if report else None,
                submission=submission,
                clip_length=clip_len,
                outputs=outputs,
                is_main=is_main,
                as_json=as_json,
            )
            return
        if submission is not None or clip_len is not None or tracker is not None:
            raise UsageError(f"--submission, --clip-len and --tracker are for videos; {data} holds images")
        from risctl.cli.eval.classes import PROTOCOLS, evaluate_detector

        if protocol in PROTOCOLS:
            if report:
                raise UsageError(f"--report is for phrases; with protocol {protocol}, --json prints everything")
            _refuse_options(
                f"the protocol {protocol} measures detections by category, not phrases",
                {"--rows": rows, "--threshold": threshold, "--text-field": text_field, "--text-batch": text_batch},
            )
            evaluate_detector(
                opened.own(f"the protocol {protocol}"),
                store,
                split=split,
                protocol=protocol,
                device=torch_device,
                limit=limit,
                beside=beside is Beside.published,
                is_main=is_main,
                as_json=as_json,
            )
            return
        concepts = concept_protocol_of(store, protocol)
        if concepts is not None:
            from risctl.cli.eval.concepts import evaluate_instances

            _refuse_options(
                f"the protocol {concepts} counts the instances of a phrase",
                {"--threshold": threshold, "--text-field": text_field, "--text-batch": text_batch},
            )
            evaluate_instances(
                opened.own(f"the protocol {concepts}"),
                store,
                split=split,
                protocol=concepts,
                device=torch_device,
                limit=limit,
                results=Results(
                    rows=rows,
                    reports=report,
                    pictures=pictures,
                    beside=beside is Beside.published,
                    outputs=outputs,
                    as_json=as_json,
                ),
                is_main=is_main,
            )
            return
        protocols = opened.protocols(names=protocol, threshold=threshold)
        if is_main:
            console.say(f"{opened.name} on {data}, split {split}, {torch_device}")
        with console.counting("evaluate") as progress:
            evaluation = evaluate(
                opened.model,
                store,
                split=split,
                protocols=protocols,
                text_field=field,
                device=torch_device,
                text_batch=text_batch or opened.text_batch,
                limit=limit,
                workers=(0 if torch_device.type == "cpu" else 2) if workers is None else workers,
                processes=workers,
                image_batch=images_together,
                progress=progress,
                checkpoint=opened.checkpoint(),
            )
        if not is_main:
            return
        if beside is Beside.published:
            evaluation = evaluation.beside_published(opened.trained)
        written: dict[str, Any] = {}
        if rows is not None:
            evaluation.write_rows(rows, outputs=outputs)
            console.say(f"rows: {rows}")
            written["rows"] = str(rows)
        about = {"model": opened.name, "data": str(data)}
        find = partial(
            predicted_masks,
            opened.model,
            store,
            text_field=field,
            threshold=protocols[0].threshold,
        )
        written |= write_reports(
            report,
            evaluation,
            trained=opened.trained,
            about=about,
            store=store,
            masks_of=find,
            pictures=pictures,
            outputs=outputs,
        )
        console.result(evaluation.to_text(), data={**about, **evaluation.to_dict(), **written}, as_json=as_json)


def _refuse_options(why: str, options: dict[str, object]) -> None:
    """Raises `UsageError` if one of the options was given, which would be ignored."""
    from risctl.errors import UsageError

    given = [name for name, value in options.items() if value is not None]
    if given:
        raise UsageError(f"{why}; leave {' and '.join(given)} out")


def _process_device(device: Device) -> tuple[torch.device, bool]:
    """Returns the device of this process, and whether it is the one that reports.

    Under `accelerate launch` there are several processes, each with its own device.
    """
    from risctl.devices import pick_device

    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return pick_device(device.value), True
    from accelerate import PartialState

    state = PartialState(cpu=device is Device.cpu)
    return state.device, bool(state.is_main_process)
