"""Global-Local CLIP against the published code: OpenAI's names, through the importer, to features and scores."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from comparison import Row, compare
from formula import values_of

from risctl.core.encoders.clip_weights import read_published_clip
from risctl.core.fusion import global_local
from risctl.language.noun_phrases import noun_phrase_of
from risctl.systems.global_local_clip.model import GlobalLocalCLIP
from risctl.systems.global_local_clip.published import build_published_clip


def rows(case: Mapping[str, Any], arrays: Mapping[str, np.ndarray], folder: Path) -> Iterator[Row]:
    """Return the comparison of every output of a Global-Local CLIP case, and of its checksums."""
    del folder
    if case["kind"] == "noun_phrases":
        yield from _noun_phrases(case)
        return
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "published.pt"
        state = {
            one["name"]: torch.from_numpy(
                values_of(one["name"], one["shape"], salt=case["salt"], channels_last=case["channels_last"])
            )
            for one in case["parameters"]
        }
        torch.save(state, path)
        clip = build_published_clip(read_published_clip(path), source="published.pt")
    found, whole = forward(GlobalLocalCLIP(clip, box="reference"), case, arrays)
    yield from compare(found, case, arrays)
    for name, sums in case.get("checksums", {}).items():
        values = whole[name].double()
        error = max(
            abs(float(values.sum()) - sums["sum"]), abs(float(values.abs().sum()) - sums["sum_of_absolute_values"])
        )
        yield f"checksum.{name}", error, sums["tolerance"]


@torch.no_grad()
def forward(
    system: GlobalLocalCLIP, case: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], dict[str, torch.Tensor]]:
    """Return what the case lists, and the whole tensors whose sums it states."""
    image = arrays["image"]
    height, width = image.shape[:2]
    bits = np.unpackbits(arrays["masks_packed"], axis=1)[:, : height * width]
    masks = bits.reshape(-1, height, width).astype(bool)
    pixels = global_local.preprocess(image)
    original = global_local.resize(pixels, height, width)
    small = global_local.resize(pixels, system.clip.visual.resolution, system.clip.visual.resolution)
    boxes = global_local.mask_boxes(torch.from_numpy(masks), "reference")
    whole_boxes = global_local.integer_boxes(boxes, height=height, width=width)
    crops = global_local.masked_crops(
        original, torch.from_numpy(masks), whole_boxes, size=system.clip.visual.resolution
    )
    features = system.encode_image(image, masks)
    ids = torch.from_numpy(arrays["token_ids"]).long()
    text = system.encode_text(ids, ids.argmax(1))
    found: dict[str, Any] = {
        "boxes": boxes,
        "frame_sample": pixels[:, :, ::40, ::40],
        "original_sample": original[:, :, ::7, ::7],
        "resized_sample": small[:, :, ::7, ::7],
        "crops_sample": crops[:, :, ::7, ::7],
        "global_features": features.context,
        "local_features": features.local,
        "text_features": text,
    }
    joined = global_local.combine(text[:1], text[1:2], case["options"]["text_weight"])
    for name, weight in case["options"]["visual_weight"].items():
        scores = system.score(features, joined, visual_weight=weight)[0]
        found[name] = scores
        found[name.replace("scores", "choice")] = scores.argmax()
    case["tolerances"].update({name: {"max_abs_difference": 0} for name in found if name.startswith("choice")})
    tensors = {"frame": pixels, "original": original, "resized": small, "crops": crops}
    return {name: value.numpy() for name, value in found.items()}, tensors


def _noun_phrases(case: Mapping[str, Any]) -> Iterator[Row]:
    for number, one in enumerate(case["cases"]):
        found = noun_phrase_of(one["tokens"], heads=one["heads"], chunks=one["noun_chunks"])
        wrong = (
            (found.phrase != one["phrase"])
            + (found.head != one["head"])
            + (list(found.outside) != one["words_outside_the_phrase"])
        )
        yield f"{number}:" + one["note"].replace(" ", "_"), float(wrong), 0.0
