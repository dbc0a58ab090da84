"""`risctl zeroshot`: find what a text means without any training, by CLIP and mask proposals."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from risctl.cli import console
from risctl.cli.options import Device, DeviceOption, JsonOption, QuietOption

if TYPE_CHECKING:
    from risctl.data.store.reader import Store, TextField
    from risctl.engine.zeroshot import ZeroShot
    from risctl.engine.zeroshot_peers import Prompted
    from risctl.systems.global_local_clip import Method as SystemMethod

app = typer.Typer(
    help="Zero-shot: Global-Local CLIP over mask proposals, no training data needed.", no_args_is_help=True
)

PREDICT_EXAMPLE = 'Example: risctl zeroshot predict photo.jpg "the red cup" --proposals sam --explain'
EVAL_EXAMPLE = "Example: risctl zeroshot eval --data refcoco.h5 --split val --proposals gt --fast"


class Method(StrEnum):
    """The paper's method, the baselines that it tables, and text-prompted peers, which need no proposals."""

    global_local = "global-local"
    cropping = "cropping"
    region_token = "region-token"
    score_map = "score-map"
    gradcam = "gradcam"
    clipseg = "clipseg"


class Precision(StrEnum):
    """The number type of CLIP's weights."""

    fp32 = "fp32"
    fp16 = "fp16"
    bf16 = "bf16"


class BoxRule(StrEnum):
    """How a proposal's box is found."""

    tight = "tight"
    reference = "reference"


ProposalsOption = Annotated[
    str | None,
    typer.Option(
        "--proposals",
        "-P",
        metavar="SOURCE",
        help="sam, mask2former or mask-rcnn, also KIND:FOLDER or KIND:HUB_ID (SAM, SAM 2, SAM-HQ, EdgeTAM); a COCO "
        "result JSON, an npz, a folder of npz or PNG files; gt: the store's own annotations, an upper bound.",
        show_default=False,
    ),
]
ClipOption = Annotated[
    str | None,
    typer.Option(
        "--clip",
        help="The model: a CLIP as a folder or hub id in Hugging Face's layout, or OpenAI's .pt (also ResNets); with "
        "--method clipseg a CLIPSeg. Default: openai/clip-vit-base-patch32, CIDAS/clipseg-rd64-refined.",
        show_default=False,
    ),
]
VocabularyOption = Annotated[
    Path | None,
    typer.Option(
        "--vocabulary",
        help="For a .pt: bpe_simple_vocab_16e6.txt.gz or a folder with a tokenizer. Default: beside it.",
        show_default=False,
    ),
]
MethodOption = Annotated[Method, typer.Option("--method", help="The paper's method, one of its baselines, or CLIPSeg.")]
FastOption = Annotated[
    bool, typer.Option("--fast", help="Look closely at the most promising proposals only; not always the same choice.")
]
ShortlistOption = Annotated[
    int, typer.Option("--shortlist", min=1, help="With --fast: how many are looked at closely, a text.")
]
PrecisionOption = Annotated[Precision, typer.Option("--precision", help="Number type of CLIP.")]
BoxOption = Annotated[
    BoxRule, typer.Option("--box", help="A proposal's box: its true extent, or the published estimate.")
]
SpacyOption = Annotated[
    str | None,
    typer.Option(
        "--spacy-model",
        help="Parser of noun phrases. Default: en_core_web_lg, _md or _sm if installed, else the one shipped.",
        show_default=False,
    ),
]
WeightOption = Annotated[
    float | None,
    typer.Option(
        "--visual-weight", min=0, max=1, help="Weight of the global feature. Default: 0.95, on RefCOCOg 0.85 (paper)."
    ),
]
PromptOption = Annotated[
    list[str] | None,
    typer.Option(
        "--prompt",
        help="Beyond the paper: a prompt with {}, may be repeated, features are averaged; or 'ensemble' for a set.",
        show_default=False,
    ),
]
NegativeOption = Annotated[
    list[str] | None,
    typer.Option("--negative", help="Beyond the paper: a text whose similarity is taken off; may be repeated."),
]
SpatialOption = Annotated[
    float,
    typer.Option("--spatial", min=0, help="Beyond the paper: weight of words such as left or second from right."),
]
ScoreOption = Annotated[float, typer.Option("--min-score", help="Keep proposals of at least this score.")]
AreaOption = Annotated[
    tuple[float, float], typer.Option("--area", help="Keep proposals within these shares of the picture.")
]
OverlapOption = Annotated[
    float, typer.Option("--max-overlap", help="Drop a proposal that overlaps a better one by this IoU or more.")
]
MostOption = Annotated[int, typer.Option("--most", min=1, help="Keep at most so many proposals.")]
NmsOption = Annotated[
    bool, typer.Option("--matrix-nms", help="Matrix NMS as published: score 0.1, gaussian, sigma 2, update 0.05.")
]


@app.command("predict", epilog=PREDICT_EXAMPLE)
def predict(
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="A picture.", show_default=False)],
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="What to look for.", show_default=False)],
    proposals: ProposalsOption = None,
    clip: ClipOption = None,
    vocabulary: VocabularyOption = None,
    method: MethodOption = Method.global_local,
    fast: FastOption = False,
    shortlist: ShortlistOption = 8,
    explain: Annotated[
        bool, typer.Option("--explain", help="Write a sheet of the best proposals with their scores for each text.")
    ] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder to write to; made if absent.")] = Path(
        "predictions"
    ),
    visual_weight: WeightOption = None,
    prompt: PromptOption = None,
    negative: NegativeOption = None,
    spatial: SpatialOption = 0.0,
    spacy_model: SpacyOption = None,
    box: BoxOption = BoxRule.tight,
    precision: PrecisionOption = Precision.fp32,
    min_score: ScoreOption = 0.0,
    area: AreaOption = (0.0, 1.0),
    max_overlap: OverlapOption = 1.0,
    most: MostOption = 100,
    matrix_nms: NmsOption = False,
    device: DeviceOption = Device.auto,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Find what texts mean in a picture, without training.

    Files and lines are those of `risctl predict`; with --explain there is
    PICTURE.TEXT.sheet.jpg beside them.
    """
    with console.quiet_if(quiet):
        from risctl.engine.prediction_files import PredictionFolder, slug
        from risctl.engine.zeroshot import ZeroShot
        from risctl.engine.zeroshot_sheet import write_sheet
        from risctl.proposals.base import Picture
        from risctl.vision.images import read_image

        pixels = read_image(image)
        zero_shot = _build(
            clip=clip,
            vocabulary=vocabulary,
            proposals=proposals,
            method=method,
            fast=fast,
            shortlist=shortlist,
            visual_weight=visual_weight,
            prompt=prompt,
            negative=negative,
            spatial=spatial,
            spacy_model=spacy_model,
            box=box,
            precision=precision,
            min_score=min_score,
            area=area,
            max_overlap=max_overlap,
            most=most,
            matrix_nms=matrix_nms,
            device=device,
            store=None,
        )
        console.say(zero_shot.describe())
        found = zero_shot.look(Picture(pixels=pixels, name=image.name))
        if proposals is not None and not len(found):
            console.warn(f"{image}: no proposal, so nothing can be chosen; try another --proposals")
        folder = PredictionFolder(out, model=zero_shot.describe())
        records: list[dict[str, Any]] = []
        asked = list(dict.fromkeys(texts))
        for text in asked:
            if zero_shot.is_cut(text):
                console.warn(f"{text[:40]!r}… is longer than CLIP reads and was cut")
        for answer in zero_shot.answers(asked):
            record = folder.write(answer.prediction, image=str(image), name=image.stem)
            record |= {"noun_phrase": answer.phrase, "proposal": answer.chosen, "proposals": len(found)}
            if explain and isinstance(zero_shot, ZeroShot):
                sheet = out / f"{image.stem}.{slug(answer.prediction.text)}.sheet.jpg"
                write_sheet(zero_shot, answer, sheet)
                record["sheet"] = str(sheet)
            records.append(record)
            if not as_json:
                where = "nothing found" if record["box"] is None else ",".join(f"{side:g}" for side in record["box"])
                line = (" ".join(record["text"].split()), f"{record['score']:.3f}", where, record["mask"])
                console.result("\t".join(line), data=record, as_json=False)
        if as_json:
            console.result("", data=records, as_json=True)


@app.command("eval", epilog=EVAL_EXAMPLE)
def evaluate(
    data: Annotated[Path, typer.Option("--data", "-d", help="A store made by `risctl prepare`.", show_default=False)],
    proposals: ProposalsOption = None,
    split: Annotated[
        str, typer.Option("--split", "-s", help="A split of the store: val, test, testA, …, or all.")
    ] = "val",
    protocol: Annotated[
        str, typer.Option("--protocol", "-p", metavar="NAME[,NAME…]", help="The conventions of the figures.")
    ] = "original",
    clip: ClipOption = None,
    vocabulary: VocabularyOption = None,
    method: MethodOption = Method.global_local,
    fast: FastOption = False,
    shortlist: ShortlistOption = 8,
    compare: Annotated[
        int, typer.Option("--compare", min=0, help="With --fast: on how many images the exact choice is made too.")
    ] = 20,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Evaluate only the first so many images.")] = None,
    rows: Annotated[
        Path | None, typer.Option("--rows", help="Write each sample as a JSON line to this file.", show_default=False)
    ] = None,
    text_field: Annotated[str, typer.Option("--text-field", help="sent, raw or raw_lower.")] = "sent",
    visual_weight: WeightOption = None,
    prompt: PromptOption = None,
    negative: NegativeOption = None,
    spatial: SpatialOption = 0.0,
    spacy_model: SpacyOption = None,
    box: BoxOption = BoxRule.tight,
    precision: PrecisionOption = Precision.fp32,
    min_score: ScoreOption = 0.0,
    area: AreaOption = (0.0, 1.0),
    max_overlap: OverlapOption = 1.0,
    most: MostOption = 100,
    matrix_nms: NmsOption = False,
    device: DeviceOption = Device.auto,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure zero-shot answers: oIoU, mIoU, MC-Acc, CC-oIoU, the proposals' upper bound, seconds by part."""
    from risctl.data.store.reader import TEXT_FIELDS, Store
    from risctl.engine.devices import pick_device
    from risctl.engine.zeroshot_eval import evaluate_zero_shot
    from risctl.errors import UsageError, unknown_name
    from risctl.metrics.protocols import get_protocols

    if text_field not in TEXT_FIELDS:
        raise UsageError(unknown_name("text field", text_field, TEXT_FIELDS))
    with console.quiet_if(quiet), Store(data) as store:
        protocols = get_protocols(protocol)
        store.sentences(split)  # An unknown split is told before a model is loaded.
        zero_shot = _build(
            clip=clip,
            vocabulary=vocabulary,
            proposals=proposals,
            method=method,
            fast=fast,
            shortlist=shortlist,
            visual_weight=visual_weight,
            prompt=prompt,
            negative=negative,
            spatial=spatial,
            spacy_model=spacy_model,
            box=box,
            precision=precision,
            min_score=min_score,
            area=area,
            max_overlap=max_overlap,
            most=most,
            matrix_nms=matrix_nms,
            device=device,
            store=store,
        )
        console.say(zero_shot.describe())
        with console.counting("evaluate") as progress:
            report = evaluate_zero_shot(
                zero_shot,
                store,
                split=split,
                protocols=protocols,
                text_field=cast("TextField", text_field),
                limit=limit,
                compare=compare if fast else 0,
                device=str(pick_device(device.value)),
                progress=progress,
            )
        written: dict[str, Any] = {}
        if rows is not None:
            report.report.write_rows(rows)
            console.say(f"rows: {rows}")
            written["rows"] = str(rows)
        console.result(report.to_text(), data=report.to_dict() | written, as_json=as_json)


def _build(
    *,
    clip: str | None,
    vocabulary: Path | None,
    proposals: str | None,
    method: Method,
    fast: bool,
    shortlist: int,
    visual_weight: float | None,
    prompt: list[str] | None,
    negative: list[str] | None,
    spatial: float,
    spacy_model: str | None,
    box: BoxRule,
    precision: Precision,
    min_score: float,
    area: tuple[float, float],
    max_overlap: float,
    most: int,
    matrix_nms: bool,
    device: Device,
    store: Store | None,
) -> ZeroShot | Prompted:
    import torch

    from risctl.engine.devices import pick_device
    from risctl.engine.zeroshot import PROMPTS, Strategies, ZeroShot
    from risctl.engine.zeroshot_sources import open_source
    from risctl.errors import UsageError
    from risctl.interop.clip_models import DEFAULT as DEFAULT_CLIP
    from risctl.interop.clip_models import load_clip
    from risctl.language.noun_phrases import load_phraser
    from risctl.proposals.filters import PUBLISHED, Filtered, Filters
    from risctl.systems.global_local_clip import VISUAL_WEIGHT, VISUAL_WEIGHTS, GlobalLocalCLIP

    place = pick_device(device.value)
    if method is Method.clipseg:
        from risctl.engine.zeroshot_peers import DEFAULT, load_clipseg

        if proposals is not None or fast:
            raise UsageError("CLIPSeg needs no proposals: leave --proposals and --fast out")
        return load_clipseg(clip or DEFAULT, device=place)
    if proposals is None:
        raise UsageError("expected --proposals SOURCE, such as sam, gt or a file; see risctl zeroshot predict --help")
    prompts = PROMPTS if prompt == ["ensemble"] else tuple(prompt or ("{}",))
    strategies = Strategies(prompts=prompts, negative=tuple(negative or ()), spatial=spatial)
    source = open_source(proposals, device=place, store=store)
    published = PUBLISHED if matrix_nms else Filters()
    filters = Filters(
        score=max(min_score, published.score),
        smallest=area[0],
        largest=area[1],
        overlap=max_overlap,
        most=most,
        sigma=published.sigma,
    )
    model, tokens = load_clip(clip or DEFAULT_CLIP, vocabulary=vocabulary)
    kinds = {Precision.fp32: torch.float32, Precision.fp16: torch.float16, Precision.bf16: torch.bfloat16}
    default = VISUAL_WEIGHTS.get(store.name, VISUAL_WEIGHT) if store is not None else VISUAL_WEIGHT
    return ZeroShot(
        GlobalLocalCLIP(model.to(place, kinds[precision]), box=box.value),
        tokens=tokens,
        phraser=load_phraser(spacy_model),
        # The annotations are the upper bound as they are; filters would make it another one.
        source=source if proposals == "gt" else Filtered(source, filters),
        method=cast("SystemMethod", method.value),
        visual_weight=default if visual_weight is None else visual_weight,
        shortlist=shortlist if fast else None,
        strategies=strategies,
    )
