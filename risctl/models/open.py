"""Opens a model by its name, whatever its family: the one way from a name to what predicts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch

from risctl.data.download.hub import MODEL, PROCESSOR, TOKENIZER, Wanted
from risctl.data.download.pretrained import Pretrained
from risctl.devices import device_name, pick_device
from risctl.errors import CheckpointError, MachineError, UsageError
from risctl.inference.predictor import Predictor
from risctl.models.names import ModelName, images_only, parse_name
from risctl.models.predictor import PromptedPredictor
from risctl.models.registry import WEIGHTS
from risctl.models.tuned import TunedRun, tuned_run
from risctl.zeroshot.text_prompted import TextPromptedNetwork

Precision = Literal["fp32", "fp16", "bf16"]
PRECISIONS: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_OPTION = "--model"
_WORDS = (*MODEL, *PROCESSOR, ("tokenizer.json", "vocab.json+merges.txt", "vocab.txt"))
_IMAGES = (*MODEL, *PROCESSOR)

_BY_TEXT = ("clipseg", "sam3", "sam3_video", "sam3_lite_text", "florence2")
"""Families that no Auto class gathers. SAM 3 is published as a model of videos, of which the text's part is one."""

_READS_ITS_TASK = ("oneformer",)

_SINGLE_PRECISION = ("dab-detr",)
"""Families that are kept in single precision: the library's code of them mixes it with others."""

SEGMENTS, BY_PHRASE, BY_CATEGORY, MASKS_OF_BOXES = "segments", "by phrase", "by category", "masks of boxes"
BY_SIMILARITY = "by similarity"


def open_predictor(
    model: str | Path | None = None,
    *,
    device: str = "auto",
    threshold: float | None = None,
    no_target_threshold: float | None = None,
    surest: bool = False,
    precision: Precision = "fp32",
) -> Predictor | PromptedPredictor:
    """Opens a model by name.

    Args:
        model: As `parse_name` takes it.
        device: `auto` (CUDA, else MPS, else CPU), `cpu`, `cuda` or `mps`.
        threshold: In [0, 1): a pixel belongs to the mask if its probability is above it. None takes the model's own.
        no_target_threshold: In [0, 1]: a phrase whose score is below it gets an empty mask. None takes the model's own.
        surest: Of a model of transformers: whether its surest instance alone is the answer.
        precision: Of a model of transformers: the precision of its weights.

    Raises:
        CheckpointError: There is no usable model.
        MachineError: The device is absent, or the weights are neither here nor to be had.
        UsageError: The name is wrong, a threshold is out of range, or an option does not fit the model.
    """
    name = parse_name(model, fetch=True)
    if name is None:
        if surest:
            raise UsageError("the surest instance alone is a choice of models of transformers; leave --surest out")
        return Predictor.load(model, device=device, threshold=threshold, no_target_threshold=no_target_threshold)
    return open_prompted(
        name,
        device=pick_device(device),
        threshold=threshold,
        no_target_threshold=no_target_threshold,
        surest=surest,
        precision=precision,
    )


def open_own(
    model: str | Path | None, *, what: str, device: str, threshold: float | None, no_target_threshold: float | None
) -> Predictor:
    """Opens one of risctl's own models, for what only these can do.

    Args:
        model: As `open_predictor` takes it.
        what: What it is wanted for, in words.
        device: See `open_predictor`.
        threshold: See `open_predictor`.
        no_target_threshold: See `open_predictor`.

    Raises:
        UsageError: It is a model of transformers; the message says which models can.
    """
    name = parse_name(model, fetch=True)
    if name is not None:
        raise UsageError(images_only(name.name, what))
    return Predictor.load(model, device=device, threshold=threshold, no_target_threshold=no_target_threshold)


def open_prompted(
    name: ModelName,
    *,
    device: torch.device,
    threshold: float | None = None,
    no_target_threshold: float | None = None,
    surest: bool = False,
    precision: Precision = "fp32",
) -> PromptedPredictor:
    """Opens a model of transformers on a device that was picked. Arguments and errors are those of `open_predictor`."""
    return PromptedPredictor(
        open_network(name, device=device, dtype=PRECISIONS[precision]),
        name=name.name,
        device=device_name(device),
        threshold=threshold,
        no_target_threshold=no_target_threshold,
        surest=surest,
    )


def open_network(name: ModelName, *, device: torch.device, dtype: torch.dtype = torch.float32) -> TextPromptedNetwork:
    """Opens what a name stands for. Raises as `open_predictor`."""
    if name.is_global_local:
        return _global_local(name.sources[0], "clip", device=device, dtype=dtype)
    source, *further = name.sources
    role, kind = role_of(source)
    if role == BY_SIMILARITY:
        if further or name.chooser:
            raise UsageError(f"{name.name}: {kind} chooses among mini's instances; name it alone")
        return _global_local(source, kind, device=device, dtype=dtype)
    if role == MASKS_OF_BOXES:
        raise UsageError(f"{name.name}: {kind} segments boxes; put a detector before it, such as owlv2+{name.name}")
    if role == SEGMENTS:
        if further or name.chooser:
            raise UsageError(f"{name.name}: {kind} segments by text itself; name it alone")
        return _segmenter(source, kind, device=device, dtype=dtype)
    finder = _finder(source, role, kind, device=device, dtype=dtype)
    if finder.draws and further:
        raise UsageError(f"{name.name}: {kind} draws masks itself; leave {further[0]} out")
    if not finder.draws and not further:
        raise UsageError(f"{name.name}: {kind} finds boxes; say what segments them, such as {name.name}+sam2")
    masks = None if finder.draws else _mask_maker(further[0], device=device, dtype=dtype)
    return _composed(finder, masks, role=role, chooser=name.chooser, device=device)


def role_of(source: str) -> tuple[str, str]:
    """Returns what the model of a folder or hub id does, by its configuration, and its `model_type`.

    Raises:
        CheckpointError: It is of no family that transformers' Auto classes open for one of these tasks.
    """
    from transformers.models.auto import modeling_auto as auto

    found = pretrained_of(source, what="a model", wanted=(("config.json",),))
    kind = found.kind
    if kind in _BY_TEXT:
        return SEGMENTS, kind
    if kind in auto.MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES:
        return BY_PHRASE, kind
    if kind in auto.MODEL_FOR_MASK_GENERATION_MAPPING_NAMES:
        return MASKS_OF_BOXES, kind
    if any(kind in names for names in _by_category()):
        return BY_CATEGORY, kind
    if kind in auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES:
        return BY_SIMILARITY, kind
    raise CheckpointError(
        f"{source} holds a {kind}, which neither segments nor finds objects in a way that transformers' Auto classes "
        "know; expected CLIPSeg, SAM 3, Florence-2, or a model for zero-shot object detection, object detection, "
        "universal or instance segmentation, or zero-shot image classification"
    )


def _segmenter(source: str, kind: str, *, device: torch.device, dtype: torch.dtype) -> TextPromptedNetwork:
    from transformers import (
        AutoModel,
        AutoProcessor,
        CLIPSegForImageSegmentation,
        CLIPSegProcessor,
        Florence2ForConditionalGeneration,
        Sam3Model,
        Sam3Processor,
    )

    from risctl.zeroshot.text_prompted import SAM3, CLIPSeg

    found = pretrained_of(source, what="a model that segments by text", wanted=wanted_of(kind))
    if kind == "clipseg":
        model, processor = found.model(CLIPSegForImageSegmentation), found.part(CLIPSegProcessor)
        return CLIPSeg(model.to(device, dtype), processor, name=f"CLIPSeg {source}")
    if kind == "florence2":
        from risctl.models.florence import Florence2

        model = found.model(Florence2ForConditionalGeneration).to(device, dtype)
        return Florence2(model, found.part(AutoProcessor), name=f"Florence-2 {source}")
    model = found.model(AutoModel if kind == "sam3_lite_text" else Sam3Model)
    title = "SAM 3 LiteText" if kind == "sam3_lite_text" else "SAM 3"
    return SAM3(model.to(device, dtype), found.part(Sam3Processor), name=f"{title} {source}")


def _finder(source: str, role: str, kind: str, *, device: torch.device, dtype: torch.dtype) -> Any:
    """Opens what finds instances: a `PhraseFinder` or an `InstanceFinder`."""
    import transformers

    from risctl.models.by_phrase import BoxesByPhrase
    from risctl.models.closed_set import BoxFinder, MaskFinder

    if role == BY_PHRASE:
        found = pretrained_of(source, what="a detector by text", wanted=wanted_of(kind))
        model = found.model(transformers.AutoModelForZeroShotObjectDetection).to(device, dtype)
        return BoxesByPhrase(model, found.part(transformers.AutoProcessor), name=f"{kind} {source}")
    found = pretrained_of(source, what="a detector or segmenter of categories", wanted=wanted_of(kind))
    detection, universal, instance = _by_category()
    saved_from = set(found.architectures)
    auto: Any
    if saved_from & {instance.get(kind)}:
        auto = transformers.AutoModelForInstanceSegmentation
    elif saved_from & {universal.get(kind)} or kind not in detection:
        auto = transformers.AutoModelForUniversalSegmentation
    else:
        auto = transformers.AutoModelForObjectDetection
    model = found.model(auto).to(device, torch.float32 if kind in _SINGLE_PRECISION else dtype)
    if kind in _READS_ITS_TASK:
        # Its list of classes would be fetched from the hub, and only its own post-processing reads it.
        processor = found.part(transformers.AutoProcessor, class_info_file=None)
    else:
        processor = found.part(transformers.AutoImageProcessor)
    kept = BoxFinder if auto is transformers.AutoModelForObjectDetection else MaskFinder
    return kept(model, processor, name=f"{kind} {source}")


def _mask_maker(source: str, *, device: torch.device, dtype: torch.dtype) -> Any:
    from risctl.zeroshot.proposals.box_segmentation import load_box_segmentation

    with told_about_terms(source):
        return load_box_segmentation(source, option=_OPTION, device=device, dtype=dtype)


def _composed(finder: Any, masks: Any, *, role: str, chooser: bool, device: torch.device) -> TextPromptedNetwork:
    """Puts together what finds, what segments, and the chooser."""
    from risctl.models.networks import ByCategory, ByPhrase, DrawnFinder

    if not chooser:
        return ByPhrase(finder, masks) if role == BY_PHRASE else ByCategory(DrawnFinder(finder, masks))
    from risctl.models.chooser import ChosenByCategory, ChosenByPhrase, load_chooser

    choosing = load_chooser(device=device)
    if role == BY_PHRASE:
        return ChosenByPhrase(finder, masks, choosing)
    return ChosenByCategory(DrawnFinder(finder, masks), choosing)


def _global_local(source: str, kind: str, *, device: torch.device, dtype: torch.dtype) -> TextPromptedNetwork:
    from risctl.language.noun_phrases import load_phraser
    from risctl.models.selected import Selected
    from risctl.systems.global_local_clip.load_clip import load_clip
    from risctl.systems.global_local_clip.load_image_text import load_image_text
    from risctl.systems.global_local_clip.model import GlobalLocalCLIP
    from risctl.zeroshot.predictor import ZeroShotPredictor
    from risctl.zeroshot.proposals.sources import open_source

    with told_about_terms(source):
        # CLIP itself as published: its text in lower case, its pixels normalised as ImageNet's.
        model, tokens = load_clip(source) if kind == "clip" else load_image_text(source, option=_OPTION)
    predictor = ZeroShotPredictor(
        GlobalLocalCLIP(model.to(device, dtype)),
        tokens=tokens,
        phraser=load_phraser(),
        source=open_source("embedded", device=device),
    )
    return Selected(predictor)


def pretrained_of(source: str, *, what: str, wanted: Wanted = _IMAGES, option: str = _OPTION) -> Pretrained | TunedRun:
    """Finds the folder of a folder or hub id, downloaded if need be; of a run that was fine-tuned, the run.

    Args:
        source: A folder or hub id.
        what: What it is to be, with its article, for messages.
        wanted: The files that it needs.
        option: The option that names it, for messages.

    Raises:
        CheckpointError: It lacks files, or there is no such model.
        MachineError: It is neither here nor to be had; the message says which terms to accept.
    """
    own = tuned_run(source)
    if own is not None:
        return own
    with told_about_terms(source):
        return Pretrained(source, what=what, kinds=None, wanted=wanted, option=option)


@contextmanager
def told_about_terms(source: str) -> Iterator[None]:
    """Within the block, adds to the error of weights that are not to be had what the registry knows of their terms."""
    try:
        yield
    except MachineError as error:
        known = next((one for one in WEIGHTS.values() if one.repository == source and one.gated), None)
        if known is None:
            raise
        if "terms" in str(error):
            raise MachineError(f"{error}. Its terms: {known.licence}") from error
        raise MachineError(
            f"{error}. They are given to those who accepted their terms ({known.licence}): accept them on "
            f"https://huggingface.co/{source}, and log in with `hf auth login`"
        ) from error


def wanted_of(kind: str) -> Wanted:
    """Returns the files that a model of a `model_type` needs."""
    from transformers.models.auto import modeling_auto as auto

    by_sight = auto.MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING_NAMES
    by_words = auto.MODEL_FOR_ZERO_SHOT_OBJECT_DETECTION_MAPPING_NAMES
    if kind == "clip":
        return (*MODEL, *TOKENIZER)
    if kind not in _BY_TEXT and kind in by_sight:
        from risctl.systems.global_local_clip.load_image_text import WANTED

        return WANTED
    return _WORDS if kind in (*_BY_TEXT, *by_words, *_READS_ITS_TASK) else _IMAGES


def _by_category() -> tuple[Any, ...]:
    from transformers.models.auto import modeling_auto as auto

    return (
        auto.MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES,
        auto.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES,
        auto.MODEL_FOR_INSTANCE_SEGMENTATION_MAPPING_NAMES,
    )
