"""From what the user chose for `risctl zeroshot` to what answers."""

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
_FILTERS = {"min_score", "area", "max_overlap", "most", "matrix_nms"}


def answerer_of(choices: Choices, *, device: Device, store: Store | None) -> ZeroShotPredictor | TextPromptedPredictor:
    """Return what answers. store: what is evaluated, None for a picture of the user's.

    Raises `UsageError` for options that do not go together, and what models and sources raise when they are opened.
    """
    from risctl.devices import pick_device

    place = pick_device(device.value)
    if choices.method.is_text_prompted:
        from risctl.zeroshot.baselines import load_baseline

        choices.refuse(choices.given() - _TEXT_PROMPTED_OPTIONS, f"{choices.method} needs neither proposals nor CLIP")
        return load_baseline(choices.method.value, source=choices.clip, segmenter=choices.sam, device=place)
    choices.refuse({"sam"}, "it turns the boxes of --method grounded-sam into masks")
    if choices.method is not Method.global_local:
        choices.refuse({"fast", "visual_weight"}, f"{choices.method} has no global and local features to weigh")
    return _zero_shot(choices, place=place, store=store)


def _zero_shot(choices: Choices, *, place: torch.device, store: Store | None) -> ZeroShotPredictor:
    import torch

    from risctl.language.noun_phrases import load_phraser
    from risctl.systems.global_local_clip.model import VISUAL_WEIGHT, VISUAL_WEIGHTS, GlobalLocalCLIP
    from risctl.systems.global_local_clip.published import DEFAULT, load_clip
    from risctl.zeroshot.predictor import PROMPTS, Strategies, ZeroShotPredictor

    strategies = Strategies(
        prompts=PROMPTS if choices.prompt == ["ensemble"] else tuple(choices.prompt or ("{}",)),
        negative=tuple(choices.negative or ()),
        spatial=choices.spatial,
    )
    source = _source(choices, place=place, store=store)
    phraser = load_phraser(choices.spacy_model)
    model, tokens = load_clip(choices.clip or DEFAULT, vocabulary=choices.vocabulary)
    kinds = {Precision.fp32: torch.float32, Precision.fp16: torch.float16, Precision.bf16: torch.bfloat16}
    published = VISUAL_WEIGHT if store is None else VISUAL_WEIGHTS.get(store.name, VISUAL_WEIGHT)
    return ZeroShotPredictor(
        GlobalLocalCLIP(model.to(place, kinds[choices.precision]), box=choices.box.value),
        tokens=tokens,
        phraser=phraser,
        source=source,
        method=cast("SystemMethod", choices.method.value),
        visual_weight=published if choices.visual_weight is None else choices.visual_weight,
        shortlist=choices.shortlist if choices.fast else None,
        strategies=strategies,
    )


def _source(choices: Choices, *, place: torch.device, store: Store | None) -> ProposalSource:
    from risctl.zeroshot.proposals.filters import PUBLISHED, FilteredSource, ProposalFilter
    from risctl.zeroshot.proposals.sources import default_source, open_source

    published = PUBLISHED if choices.matrix_nms else ProposalFilter()
    criteria = ProposalFilter(
        min_score=max(choices.min_score, published.min_score),
        min_area=choices.area[0],
        max_area=choices.area[1],
        max_overlap=choices.max_overlap,
        max_count=choices.most,
        sigma=published.sigma,
    )
    named = choices.proposals or default_source()
    if named is None:
        raise UsageError(
            "expected --proposals SOURCE, such as sam, gt or a file: this copy of risctl lacks its own model"
        )
    if named == "gt":
        choices.refuse(_FILTERS, "the annotations are the upper bound as they are")
    source = open_source(named, device=place, store=store, max_count=choices.most)
    return source if named == "gt" else FilteredSource(source, criteria)
