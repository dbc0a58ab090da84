"""ReferFormer against the published code: a state with the published names, through the importer, to masks and losses.

A padded batch is run twice: as it is, under the tolerances that allow for the ill-defined position encoding of padding,
and with the stored encoding put there, under the tight ones. Losses are also computed from the stored predictions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from comparison import Row
from formula import values_of
from torch import Tensor

from risctl.core.encoders.base import VisualFeatures
from risctl.core.losses.clip_queries import (
    WEIGHTS,
    ClipPredictions,
    ClipTargets,
    clip_losses,
    match_costs,
    match_queries,
    valid_count,
)
from risctl.language.vocabulary import Vocabulary
from risctl.systems.referformer.build import build_referformer
from risctl.systems.referformer.config import ReferFormerModel
from risctl.systems.referformer.model import STRIDE, ReferFormer
from risctl.systems.referformer.published import referformer_model, referformer_state

NAMES = {"loss_ce": "class", "loss_bbox": "box", "loss_giou": "giou", "loss_mask": "mask", "loss_dice": "dice"}
TIGHT = "tolerance_with_stored_padding_encoding"
FROM_STORED = "tolerance_from_stored_predictions"


def rows(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], folder: Path) -> Iterator[Row]:
    """Yield the comparison of every output and loss of a ReferFormer case."""
    system = build(case, source=folder)
    found = run(system, case, arrays)
    yield from _compared(found, case, arrays, key="tolerance", note="")
    if "padding_encoding" in arrays:
        system.position = stored_padding(system.position, torch.from_numpy(arrays["padding_encoding"]))  # type: ignore[method-assign]
        again = run(system, case, arrays)
        yield from _compared(again, case, arrays, key=TIGHT, note=" (stored padding encoding)")
    if case.get("losses"):
        stored = losses_of(_stored_layers(arrays), targets_of(case, arrays))
        yield from _compared(stored, case, arrays, key=FROM_STORED, note=" (stored predictions)")


def build(case: Mapping[str, Any], *, source: Path) -> ReferFormer:
    """Return our model of a case, filled through the importer with the case's weights."""
    aliases = case.get("aliases", {})
    published = {}
    for entry in case["checkpoint"]:
        if entry.get("integer"):
            published[entry["name"]] = torch.zeros(entry["shape"], dtype=torch.int64)
            continue
        name = aliases.get(entry["name"], entry["name"])
        values = values_of(name, entry["shape"], salt=case["salt"], channels_last=False)
        published[entry["name"]] = torch.from_numpy(values)
    model = ReferFormerModel.model_validate(referformer_model(published, source=source))
    words = published["text_encoder.embeddings.word_embeddings.weight"].shape[0]
    vocabulary = Vocabulary(f"token{number}" for number in range(words - 2))
    system = build_referformer(model, vocabulary, None, False)
    system.load_state_dict(referformer_state(published, system.state_dict(), source=source))
    # The stored frames are normalised already.
    system.visual.mean.zero_()
    system.visual.deviation.fill_(1)
    return system.eval()


def stored_padding(position: Callable[[Tensor], Tensor], stored: Tensor) -> Callable[[Tensor], Tensor]:
    """Return `position` with the stored values where only padding defines it: y in columns, x in rows of padding."""

    def replaced(padding: Tensor) -> Tensor:
        encoding = position(padding).clone()
        half = encoding.shape[1] // 2
        columns, rows = padding.all(1), padding.all(2)  # (B, w), (B, h)
        values = stored[None, :, None, None]
        encoding[:, :half] = torch.where(columns[:, None, None, :], values, encoding[:, :half])
        encoding[:, half:] = torch.where(rows[:, None, :, None], values, encoding[:, half:])
        return encoding

    return replaced


@torch.no_grad()
def run(system: ReferFormer, case: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what the case lists, by the public parts of the system and hooks on its modules."""
    seen: dict[str, Any] = {}

    def keep(name: str, module: torch.nn.Module) -> Any:
        return module.register_forward_hook(lambda _module, _inputs, output: seen.__setitem__(name, output))

    hooks = [keep("mask_features", system.pyramid), keep("kernels", system.mask_head.controller)]
    encode, decode = system.transformer.encode, system.transformer.decode
    system.transformer.encode = lambda *given: seen.setdefault("memory", encode(*given))
    system.transformer.decode = lambda *given, **named: seen.setdefault("decoded", decode(*given, **named))
    clips = [torch.from_numpy(arrays[f"in.clip{number}"]) for number in range(_clips(arrays))]
    images, padding = _padded(clips, padded="unpadded" not in _padding_words(case))
    backbone = system.visual(images, padding)
    picked = _picked(case, arrays)
    used = backbone if picked is None else _frames(backbone, picked)
    words = [torch.tensor(ids) for ids in case["token_ids"]]
    ids = torch.nn.utils.rnn.pad_sequence(words, batch_first=True, padding_value=1)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(word) for word in words], batch_first=True).bool()
    text = system.encode_text(ids, mask)
    output = system.decode_layers(system.project(used), text, every=True)
    del system.transformer.encode, system.transformer.decode
    for hook in hooks:
        hook.remove()
    layers = output.extras["layers"]
    frames = used.maps[0].shape[1]
    decoded, memory = seen["decoded"], seen["memory"]
    features = seen["mask_features"].flatten(0, 1)
    result = {
        "out.text_words": text.words,
        "out.text_sentence": text.sentence,
        "out.decoder_states": decoded.states,
        "out.decoder_initial_reference": decoded.initial,
        "out.decoder_references": decoded.boxes,
        "out.reference_points": decoded.boxes[-2][..., :2].unflatten(0, (-1, frames)),
        "out.mask_features": features[:, ::16],
        "out.mask_features_channel_mean": features.mean((2, 3)),
        "out.mask_features_channel_rms": features.square().mean((2, 3)).sqrt(),
        "out.dynamic_parameters_last": seen["kernels"][..., ::16],
    }
    eighth = torch.nn.functional.interpolate(padding[:, None].float(), size=used.maps[1].shape[-2:])[:, 0].bool()
    result["out.position_encoding_stride8"] = system.position(eighth)[:1, ::8]
    for stride, whole, own in zip((4, 8, 16, 32), backbone.maps, used.maps, strict=True):
        name = f"out.backbone_stride{stride}"
        # The A2D path picks its frame after the backbone; a case may hold either.
        chosen = own if name in arrays and len(arrays[name]) == own.shape[0] * own.shape[1] else whole
        result[name] = chosen.flatten(0, 1)[:, :: chosen.shape[2] // 8][:, :8]
    visible = replace(memory, tokens=memory.tokens.masked_fill(memory.padding[..., None], 0.0))
    for stride, one in zip((8, 16, 32), visible.maps(), strict=False):
        result[f"out.memory_stride{stride}"] = one[:, ::16]
    for number, layer in enumerate(layers):
        prefix = "out." if number == len(layers) - 1 else f"out.aux{number}."
        result |= {
            f"{prefix}pred_logits": layer.classes,
            f"{prefix}pred_boxes": layer.boxes,
            f"{prefix}pred_masks": layer.masks,
        }
    numbers = {name: value.numpy() for name, value in result.items()}
    if case.get("losses"):
        numbers |= losses_of(layers, targets_of(case, arrays))
    return numbers


def losses_of(layers: tuple[ClipPredictions, ...], targets: ClipTargets) -> dict[str, np.ndarray]:
    """Return costs, matched queries and unweighed losses of all layers by the case's names, and the weighed total."""
    result: dict[str, np.ndarray] = {}
    total = 0.0
    count = valid_count(targets.valid)
    for number, layer in enumerate(layers):
        last = number == len(layers) - 1
        chosen = match_queries(layer, targets)
        result[f"out.match_cost.{'last' if last else f'aux{number}'}"] = match_costs(layer, targets).numpy()
        result[f"out.matched_query.{'last' if last else f'aux{number}'}"] = chosen.numpy()
        terms = clip_losses(layer, targets, chosen=chosen, count=count)
        for theirs, ours in NAMES.items():
            result[theirs if last else f"{theirs}_{number}"] = terms[ours].numpy()
            total += WEIGHTS[ours] * float(terms[ours])
    result["total_weighted"] = np.asarray(total)
    return result


def targets_of(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> ClipTargets:
    """Return the case's targets: masks padded like the clips, then every fourth pixel from the third on."""
    count = _clips(arrays)
    masks, _ = _padded([torch.from_numpy(arrays[f"in.masks{n}"]).float()[:, None] for n in range(count)], padded=True)
    return ClipTargets(
        masks=masks[:, :, 0, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE],
        boxes=torch.stack([torch.from_numpy(arrays[f"in.boxes{n}"]) for n in range(count)]),
        valid=torch.stack([torch.from_numpy(arrays[f"in.valid{n}"]).reshape(-1).bool() for n in range(count)]),
        labels=torch.zeros(count, dtype=torch.int64),
    )


def _compared(
    found: Mapping[str, np.ndarray], case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], *, key: str, note: str
) -> Iterator[Row]:
    entries = [(one, arrays.get(one["name"])) for one in case["outputs"]]
    entries += [(one, np.asarray(one["value"])) for one in case.get("losses", ())]
    for entry, expected in entries:
        if key not in entry:
            continue
        name, tolerance = entry["name"], entry[key]
        ours = found.get(name)
        error = float("inf")
        if ours is not None and expected is not None and np.shape(ours) == np.shape(expected):
            difference = np.abs(np.asarray(ours, np.float64) - np.asarray(expected, np.float64))
            error = float(difference.max(initial=0.0))
        yield f"{name}{note}".replace(" ", "_"), error, tolerance


def _stored_layers(arrays: Mapping[str, np.ndarray]) -> tuple[ClipPredictions, ...]:
    numbers = sorted(int(found[1]) for name in arrays if (found := re.match(r"out\.aux(\d+)\.pred_logits", name)))
    return tuple(
        ClipPredictions(
            classes=torch.from_numpy(arrays[f"{prefix}pred_logits"]),
            boxes=torch.from_numpy(arrays[f"{prefix}pred_boxes"]),
            masks=torch.from_numpy(arrays[f"{prefix}pred_masks"]),
        )
        for prefix in (*(f"out.aux{number}." for number in numbers), "out.")
    )


def _clips(arrays: Mapping[str, np.ndarray]) -> int:
    return sum(bool(re.fullmatch(r"in\.clip\d+", name)) for name in arrays)


def _padding_words(case: Mapping[str, Any]) -> str:
    return "unpadded" if str(case["options"].get("padding", "none")).startswith("none") else "padded"


def _padded(clips: list[Tensor], *, padded: bool) -> tuple[Tensor, Tensor]:
    """Return clips (B, T, C, H, W) and padding (B, H, W), right and below, to a multiple of 32 if `padded`."""
    height, width = (max(clip.shape[axis] for clip in clips) for axis in (2, 3))
    if padded:
        height, width = (-(-side // 32) * 32 for side in (height, width))
    images = clips[0].new_zeros((len(clips), *clips[0].shape[:2], height, width))
    padding = torch.ones((len(clips), height, width), dtype=torch.bool)
    for row, clip in enumerate(clips):
        images[row, :, :, : clip.shape[2], : clip.shape[3]] = clip
        padding[row, : clip.shape[2], : clip.shape[3]] = False
    return images, padding


def _picked(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> list[int] | None:
    """Return the frame of each clip that reaches the transformer (the A2D path), None if all do."""
    count, frames = _clips(arrays), arrays["in.clip0"].shape[0]
    kept = arrays["out.pred_logits"].shape[1]
    if kept == frames:
        return None
    for name, value in {**case, **case["options"]}.items():
        # The published code calls the annotated frame's index "valid_indices".
        if re.search(r"valid_ind|centre|center|frame_ind|annotated|target_frame", name) and _is_index(value):
            return [int(one) for one in np.ravel(value)] * (count if np.ndim(value) == 0 else 1)
    named = [name for name in sorted(arrays) if re.search(r"in\.(valid_ind|centre|center|frame)", name)]
    if named:
        return [int(arrays[name].reshape(-1)[0]) for name in named]
    return [frames // 2] * count


def _is_index(value: Any) -> bool:
    return np.ndim(value) <= 1 and np.asarray(value).dtype.kind in "iu" and np.size(value) > 0


def _frames(features: VisualFeatures, picked: list[int]) -> VisualFeatures:
    rows, index = torch.arange(len(picked)), torch.tensor(picked)
    return replace(features, maps=tuple(feature_map[rows, index][:, None] for feature_map in features.maps))
