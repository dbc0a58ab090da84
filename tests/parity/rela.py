"""ReLA against the published code: a state with its names, through the importer, to masks, losses, gradients."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from comparison import Row
from formula import values_of
from torch import Tensor
from torch.nn import functional

from risctl.core.encoders.base import VisualFeatures
from risctl.core.fusion.language_backbone import LanguageBackbone
from risctl.core.losses.region_masks import WEIGHTS, minimap_targets, region_losses
from risctl.language.vocabulary import Vocabulary
from risctl.systems.rela.build import build_rela
from risctl.systems.rela.config import ReLAModel
from risctl.systems.rela.model import ReLA
from risctl.systems.rela.published import our_name, rela_model, rela_state
from risctl.vision import rle

_GRADIENT = "out.grad_norm."


def rows(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], folder: Path) -> Iterator[Row]:
    """Yield the comparison of every output of a ReLA case."""
    system = build(case, source=folder)
    found = forward(system, case, arrays)
    if "in.stored_pred_masks" in arrays:
        found |= stored_losses(arrays, grid=system.grid)
    for entry in case["outputs"]:
        name = entry["name"]
        ours, expected = found.get(name), arrays.get(name)
        error = float("inf")
        if ours is not None and expected is not None:
            steps = entry.get("sample_steps", [1] * ours.ndim)
            sampled = ours[tuple(slice(None, None, step) for step in steps)]
            if sampled.shape == expected.shape:
                difference = np.abs(sampled.astype(np.float64) - expected.astype(np.float64))
                error = float(difference.max(initial=0.0))
        yield name, error, entry["tolerance"]


def build(case: Mapping[str, Any], *, source: Path) -> ReLA:
    """Return our model of a case, filled through the importer with the case's weights."""
    published = {}
    for entry in case["checkpoint"]:
        if entry.get("dtype", "float32").startswith("int"):
            published[entry["name"]] = torch.zeros(entry["shape"], dtype=torch.int64)
            continue
        values = values_of(entry["name"], entry["shape"], salt=case["salt"], channels_last=False)
        published[entry["name"]] = torch.from_numpy(values)
    options = case["options"]
    section = rela_model(published, source=source)
    section["language_weight"] = options.get("region_language_weight", 0.1)
    section["max_words"] = options.get("max_tokens", 20)
    words = published["text_encoder.embeddings.word_embeddings.weight"].shape[0]
    vocabulary = Vocabulary(f"token{number}" for number in range(words - 2))
    system = build_rela(ReLAModel.model_validate(section), vocabulary, None, False)
    system.load_state_dict(rela_state(published, system.state_dict(), source=source))
    return system.eval()


def forward(system: ReLA, case: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what the case lists of the whole model, by its public parts and hooks on its modules."""
    height, width = case["options"]["size_height_width"]
    found: dict[str, Any] = {}
    if "in.image" in arrays:
        pixels = arrays["in.image"]
    else:
        pixels, masks = samples(case, arrays, size=(height, width))
        found |= {"out.sample_image": pixels, "out.sample_gt_mask_merged": masks[:, None]}
    images, padding = _padded(torch.from_numpy(pixels).float() / 255, case["options"].get("size_divisibility", 32))
    ids = torch.from_numpy(arrays["in.token_ids"])
    mask = torch.from_numpy(arrays["in.token_mask"]).bool()
    hooks = _watch(system, found)
    with torch.set_grad_enabled(case["kind"] == "losses"):
        text = system.encode_text(ids, mask)
        visual = system.encode_image(images, padding)
        found["out.language_features"] = text.words
        for number, one in enumerate(_backbone_maps(system, visual, images, text)):
            found[f"out.backbone_res{number + 2}"] = one
        output = system.decode(visual, text)
    for hook in hooks:
        hook.remove()
    pixel_features = system.pixels(visual, text)
    regions = output.extras["regions"]
    found |= {f"out.memory_res{5 - number}": one for number, one in enumerate(pixel_features.levels)}
    found |= {
        "out.mask_features": pixel_features.mask_features,
        "out.minimap_initial": system.region_decoder.heads(
            system.region_decoder.query[None].expand(len(images), -1, -1), pixel_features.mask_features
        ).minimap,
        "out.minimap": regions.minimap,
        "out.no_target_logits": regions.no_target,
        "out.region_masks": torch.einsum("brm,bmhw->brhw", regions.filters, pixel_features.mask_features),
        "out.mask_logits": regions.mask_logits,
        "out.mask_probability": functional.interpolate(
            regions.mask_logits, size=images.shape[2:], mode="bilinear", align_corners=False
        ).sigmoid(),
        "out.no_target_probability": regions.no_target.sigmoid(),
    }
    if case["kind"] == "losses":
        targets = torch.from_numpy(masks)
        absent = torch.tensor(case["empty"])
        given = (regions.mask_logits, regions.minimap, regions.no_target)
        found["out.target_minimap"] = minimap_targets(targets, system.grid)
        found |= _losses("out.loss_", given, targets=targets, absent=absent, grid=system.grid, backward=True)
        parameters = dict(system.named_parameters())
        for entry in case["outputs"]:
            if entry["name"].startswith(_GRADIENT):
                gradient = parameters[our_name(entry["name"].removeprefix(_GRADIENT))].grad
                found[entry["name"]] = torch.zeros(1) if gradient is None else gradient.norm().reshape(1)
    return {name: np.asarray(value.detach() if isinstance(value, Tensor) else value) for name, value in found.items()}


def _padded(images: Tensor, multiple: int) -> tuple[Tensor, Tensor]:
    """Return images padded right and below to a multiple of `multiple`, and where they were, bool (B, H, W)."""
    below, right = (-side % multiple for side in images.shape[2:])
    padding = torch.zeros(len(images), *images.shape[2:], dtype=torch.bool)
    edges = (0, right, 0, below)
    return functional.pad(images, edges), functional.pad(padding, edges, value=True)


def samples(
    case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], *, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return images uint8 (B, 3, H, W) and masks (B, H, W) of 0 and 1, made of raw images and polygons."""
    from PIL import Image

    height, width = size
    images, masks = [], []
    for number, instances in enumerate(case["annotations"]):
        raw = arrays[f"in.raw_image{number}"]
        resized = Image.fromarray(raw).resize((width, height), Image.Resampling.BILINEAR)
        images.append(np.asarray(resized).transpose(2, 0, 1))
        polygons = [one for entry in instances if not entry.get("iscrowd") for one in entry["segmentation"]]
        valid = [one for one in polygons if len(one) >= 6 and len(one) % 2 == 0]
        mask = rle.decode(rle.rescaled(valid, height=raw.shape[0], width=raw.shape[1], size=size))
        masks.append(mask.astype(np.uint8))
    return np.stack(images), np.stack(masks)


def stored_losses(arrays: Mapping[str, np.ndarray], *, grid: tuple[int, int]) -> dict[str, np.ndarray]:
    """Return the criterion's outputs on stored predictions."""
    given = [
        torch.from_numpy(arrays[name]).requires_grad_()
        for name in ("in.stored_pred_masks", "in.stored_minimap", "in.stored_nt")
    ]
    targets = torch.from_numpy(arrays["in.stored_gt_mask"])[:, 0]
    absent = torch.from_numpy(arrays["in.stored_empty"]).bool()
    found = _losses("out.stored_loss_", given, targets=targets, absent=absent, grid=grid, backward=True)
    found["out.stored_target_minimap"] = minimap_targets(targets, grid)
    for name, one in zip(("pred_masks", "minimap", "nt"), given, strict=True):
        found[f"out.stored_grad_{name}"] = one.grad
    return {name: value.detach().numpy() for name, value in found.items()}


def _losses(
    prefix: str, given: Any, *, targets: Tensor, absent: Tensor, grid: tuple[int, int], backward: bool
) -> dict[str, Tensor]:
    terms = region_losses(*given, masks=targets, absent=absent, grid=grid)
    total = sum(WEIGHTS[name] * term for name, term in terms.items())
    if backward:
        total.backward()
    names = {"mask": "mask_part", "minimap": "minimap_part", "no_target": "nt_part"}
    parts = {f"{prefix}{theirs}": terms[ours].reshape(1) for ours, theirs in names.items()}
    return parts | {f"{prefix}weighted_total": total.reshape(1)}


def _watch(system: ReLA, found: dict[str, Any]) -> list[Any]:
    """Return hooks that keep what single layers give."""
    decoder = system.region_decoder

    def keep(name: str) -> Any:
        return lambda _module, _inputs, output: found.__setitem__(name, output)

    def keep_hidden(number: int) -> Any:
        return lambda _module, inputs: found.__setitem__(f"out.attention_mask_layer{number}", inputs[4])

    hooks = [
        decoder.image_attention[0].register_forward_hook(keep("out.regions_after_image_attention0")),
        decoder.language_attention.register_forward_hook(keep("out.language_attention")),
    ]
    for number, layer in enumerate(decoder.feed_forward):
        hooks.append(layer.register_forward_hook(keep(f"out.regions_layer{number}")))
    for number, layer in enumerate(decoder.image_attention):
        hooks.append(layer.register_forward_pre_hook(keep_hidden(number)))
    return hooks


def _backbone_maps(system: ReLA, visual: VisualFeatures, images: Tensor, text: Any) -> tuple[Tensor, ...]:
    with torch.no_grad():
        if isinstance(system.visual, LanguageBackbone):
            return system.visual.read(visual, text).maps
        return system.visual(images, visual.padding).maps
