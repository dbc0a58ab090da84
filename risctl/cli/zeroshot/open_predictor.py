"""Opens the predictor that the options of `risctl zeroshot` describe."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from risctl.cli.options import Device
from risctl.cli.zeroshot.options import Choices, Method, Precision
from risctl.errors import UsageError

if TYPE_CHECKING:
    import torch

    from risctl.data.store.reader import Store
    from risctl.systems.global_local_clip.model import Method as SystemMethod
    from risctl.zeroshot.baselines import TextPromptedPredictor
    from risctl.zeroshot.predictor import ZeroShotPredictor
    from risctl.zeroshot.proposals.base import ProposalSource

_TEXT_PROMPTED_OPTIONS = {"method", "clip", "sam"}
_FILTERS = {"min_score", "area", "max_overlap", "max_count", "matrix_nms"}


def open_predictor(
    choices: Choices, *, device: Device, store: Store | None
) -> ZeroShotPredictor | TextPromptedPredictor:
    """Opens the models and the proposal source.

    Args:
        choices: The options.
        device: The device to compute on.
        store: The store to be evaluated, None for a single image.

    Raises:
        UsageError: Options contradict each other, or no proposal source is available.
        CheckpointError: A model cannot be opened.
    """
    from risctl.devices import pick_device

    torch_device = pick_device(device.value)
    if choices.method.is_text_prompted:
        from risctl.zeroshot.baselines import load_baseline

        choices.refuse(choices.given() - _TEXT_PROMPTED_OPTIONS, f"{choices.method} needs neither proposals nor CLIP")
        return load_baseline(choices.method.value, source=choices.clip, segmenter=choices.sam, device=torch_device)
    choices.refuse({"sam"}, "it segments the boxes of --method grounded-sam into masks")
    if choices.method is not Method.global_local:
        choices.refuse(
            {"fast", "visual_weight", "masked_blocks"}, f"{choices.method} has no global and local features to weigh"
        )
    return _zero_shot(choices, device=torch_device, store=store)


def _zero_shot(choices: Choices, *, device: torch.device, store: Store | None) -> ZeroShotPredictor:
    import torch

    from risctl.language.noun_phrases import load_phraser
    from risctl.systems.global_local_clip.load_clip import DEFAULT, load_clip
    from risctl.systems.global_local_clip.model import VISUAL_WEIGHT, VISUAL_WEIGHTS, GlobalLocalCLIP
    from risctl.zeroshot.predictor import PROMPTS, Strategies, ZeroShotPredictor

    strategies = Strategies(
        prompts=PROMPTS if choices.prompt == ["ensemble"] else tuple(choices.prompt or ("{}",)),
        negative=tuple(choices.negative or ()),
        spatial=choices.spatial,
    )
    source = _source(choices, device=device, store=store)
    phraser = load_phraser(choices.spacy_model)
    model, tokens = load_clip(choices.clip or DEFAULT, vocabulary=choices.vocabulary)
    dtypes = {Precision.fp32: torch.float32, Precision.fp16: torch.float16, Precision.bf16: torch.bfloat16}
    published = VISUAL_WEIGHT if store is None else VISUAL_WEIGHTS.get(store.name, VISUAL_WEIGHT)
    return ZeroShotPredictor(
        GlobalLocalCLIP(
            model.to(device, dtypes[choices.precision]), box=choices.box.value, masked_blocks=choices.masked_blocks
        ),
        tokens=tokens,
        phraser=phraser,
        source=source,
        method=cast("SystemMethod", choices.method.value),
        visual_weight=published if choices.visual_weight is None else choices.visual_weight,
        text_weight=choices.text_weight,
        shortlist=choices.shortlist if choices.fast else None,
        strategies=strategies,
    )


def _source(choices: Choices, *, device: torch.device, store: Store | None) -> ProposalSource:
    from risctl.zeroshot.proposals.filters import PUBLISHED, FilteredSource, ProposalFilter
    from risctl.zeroshot.proposals.sources import default_source, open_source

    published = PUBLISHED if choices.matrix_nms else ProposalFilter()
    criteria = ProposalFilter(
        min_score=max(choices.min_score, published.min_score),
        min_area=choices.area[0],
        max_area=choices.area[1],
        max_overlap=choices.max_overlap,
        max_count=choices.max_count,
        sigma=published.sigma,
    )
    name = choices.proposals or default_source()
    if name is None:
        raise UsageError(
            "expected --proposals SOURCE, such as sam, gt or a file: this installation of risctl lacks its own model"
        )
    if name == "gt":
        choices.refuse(_FILTERS, "annotations are not filtered")
    source = open_source(name, device=device, store=store, max_count=choices.max_count)
    return source if name == "gt" else FilteredSource(source, criteria)
