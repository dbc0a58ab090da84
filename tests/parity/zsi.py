"""ZSI against the published code: a state with the published names, through the importer, to detections and masks.

Stage by stage: heads and region features from the stored proposals, masks from the stored detections; what a whole pass
finds is compared as a set, and what has no counterpart is counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from comparison import Row
from formula import values_of
from torch import Tensor

from risctl.core.encoders.load_weights import load_state
from risctl.core.fusion.background_sync import with_background
from risctl.core.heads.mask_paste import paste
from risctl.core.heads.semantic_box import STDS
from risctl.core.losses.zero_shot_detection import mask_losses, reconstruction_loss, region_losses
from risctl.language.vocabulary import Vocabulary
from risctl.systems.zsi.build import build_zsi
from risctl.systems.zsi.config import ZSIModel
from risctl.systems.zsi.model import ZSI
from risctl.systems.zsi.published import zsi_model, zsi_state
from risctl.systems.zsi.regions import CategoryQuery, Regions

MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
STORED_SCALE = 0.77
Arrays = Mapping[str, np.ndarray]


def rows(case: Mapping[str, Any], arrays: Arrays, folder: Path) -> Iterator[Row]:
    """Yield the comparison of every output of a ZSI case."""
    system = build(case, arrays, source=folder)
    with torch.no_grad():
        ours = heads(system, case, arrays) if case["kind"] == "heads" else image(system, case, arrays)
    tolerances = {output["name"]: output for output in case["outputs"]}
    for name, output in tolerances.items():
        if output.get("compare", "").startswith("index"):
            continue
        if output.get("compare") == "set":
            yield from _proposals(ours.get(name), arrays[name], output)
        elif output.get("compare") == "set per label":
            if name.endswith("det_boxes"):
                yield from _detections(ours, arrays, tolerances)
        else:
            yield name, _error(ours.get(name), arrays.get(name)), output["tolerance"]


def build(case: Mapping[str, Any], arrays: Arrays, *, source: Path) -> ZSI:
    """Return our model of a case, filled through the importer with the case's weights."""
    vectors = torch.from_numpy(arrays["in.word_vectors"]).float().T
    published = {}
    for entry in case["checkpoint"]:
        name, shape = entry["name"], tuple(entry["shape"])
        if entry.get("integer"):
            published[name] = torch.zeros(shape, dtype=torch.int64)
        elif entry.get("word_vectors"):
            published[name] = vectors[: shape[0], :, None, None]
        else:
            published[name] = torch.from_numpy(values_of(name, shape, salt=case["salt"], channels_last=False))
    section = zsi_model(published, source=str(source))
    words, dim = section["vocabulary_words"], section["text"]["dim"]
    vocabulary = values_of("vocabulary", (dim, words), salt=case["salt"], channels_last=False)
    vocabulary = vocabulary * np.float32(STORED_SCALE * np.sqrt(words / dim))
    system = build_zsi(ZSIModel.model_validate(section), Vocabulary(["word"]), None, False)
    state = zsi_state(published, source=str(source)) | {
        "box_head.vocabulary": torch.from_numpy(vocabulary.T.copy()),
        "unseen": torch.cat([vectors[:1], vectors[len(system.seen) :]]),
        "text.vectors": system.text.vectors,
    }
    load_state(system, state, source=str(source))
    return system.eval()


def heads(system: ZSI, case: Mapping[str, Any], arrays: Arrays) -> dict[str, Any]:
    """Return what the heads say of given features."""

    def given(name: str) -> Tensor:
        return torch.from_numpy(arrays[f"in.{name}"])

    boxes = system.box_head(given("box_features"), with_background(system.seen, system.background))
    masks = system.mask_head(given("mask_features"))
    labels, mask_labels = given("labels").long(), given("mask_labels").long()
    regions = region_losses(boxes, labels, given("bbox_targets"))
    synced = case["options"]["mask_head_background_sync"]
    ask_seen, ask_unseen = system.query_split()
    deltas = boxes.deltas.unflatten(1, (-1, 4))
    height, width = _clip_size(case)
    decoded = system.conventions.decode(given("rois")[:, None, 1:], deltas, stds=STDS, height=height, width=width)
    ours: dict[str, Any] = {
        "v_b": system.background,
        "semantic_scores": boxes.scores,
        "box_deltas": boxes.deltas,
        "shared_feature": boxes.shared,
        "reconstruction": boxes.restored,
        "mask_shared_feature": masks.shared,
        "mask_reconstruction": masks.restored,
        "loss.loss_semantic": regions["class"],
        "loss.acc": 100 * (boxes.scores.argmax(1) == labels).float().mean(),
        "loss.loss_bbox": regions["box"],
        "loss.bbox_loss_ed": regions["box_restored"],
        "decoded_boxes": decoded.flatten(1),
    }
    for mode in ("train", "zsi", "gzsi"):
        flag = synced[mode] if isinstance(synced, dict) else synced
        system.mask_background_sync = "always" if flag else "never"
        seen = system.mask_vectors(system.seen, generalised=mode == "gzsi")
        unseen = system.mask_vectors(system.unseen, generalised=mode == "gzsi")
        ours[f"{mode}.mask_logits_seen"] = masks.of_seen(seen)
        ours[f"{mode}.mask_logits_unseen"] = masks.of_classes(seen, unseen)
        ours[f"{mode}.seen_class_scores"] = system.classify(boxes, ask_seen)
        ours[f"{mode}.unseen_class_scores"] = system.classify(boxes, ask_unseen)
        if mode == "train":
            terms = mask_losses(masks, masks.of_seen(seen), mask_labels, given("mask_targets").float())
            ours |= {"loss.loss_mask": terms["mask"], "loss.loss_ed": terms["mask_restored"]}
    return {f"out.{name}": values for name, values in ours.items()}


def image(system: ZSI, case: Mapping[str, Any], arrays: Arrays) -> dict[str, Any]:
    """Return what a test pass gives, each stage from the stored result of the one before it."""
    meta, generalised = case["image_meta"], case["options"]["mode"] == "gzsi"
    system.mask_background_sync = "always" if case["options"]["mask_head_background_sync"] else "never"
    stored = {name: torch.from_numpy(values) for name, values in arrays.items()}
    height, width = meta["image_height_width"]
    padding = torch.ones(meta["padded_height_width"], dtype=torch.bool)
    padding[:height, :width] = False
    mean, deviation = (torch.tensor(one)[:, None, None] for one in (MEAN, DEVIATION))
    pixels = (stored["in.image"] * deviation + mean) / 255
    regions = system.encode_image(pixels, padding[None]).regions[0]
    ours: dict[str, Any] = {"v_b": system.background}
    for level, (one, logits, deltas) in enumerate(zip(regions.maps, regions.logits, regions.deltas, strict=True)):
        ours |= {f"fpn.p{level + 2}": one, f"rpn.cls.p{level + 2}": logits[None], f"rpn.reg.p{level + 2}": deltas[None]}
    ours["proposals"] = torch.cat([regions.corners, regions.scores[:, None]], 1)

    index = stored["out.roi_index"].long()
    proposals = stored["out.proposals"][:, :4]
    boxes = system.compare(regions.maps, proposals)
    ask_seen, ask_unseen = system.query_split()
    ours |= {
        "roi_features": system.pool(regions.maps, proposals[index], 7),
        "semantic_scores": boxes.scores[index],
        "box_deltas": boxes.deltas[index],
        "shared_feature": boxes.shared[index],
        "reconstruction": boxes.restored[index],
        "L_R_box": reconstruction_loss(boxes.shared, boxes.restored),
        "unseen_class_scores": system.classify(boxes, ask_unseen)[index],
        "seen_class_scores": system.classify(boxes, ask_seen)[index],
    }
    scale = meta["scale_factor"] if meta["rescale"] else 1.0
    questions = [(ask_seen, 0), (ask_unseen, len(system.seen) - 1)] if generalised else [(ask_unseen, 0)]
    found = [(system.detect_in(regions, question, scale=scale), offset) for question, offset in questions]
    ours |= {
        "det_boxes": torch.cat([one.boxes for one, _ in found]),
        "det_scores": torch.cat([one.scores for one, _ in found]),
        "det_labels": torch.cat([one.labels + offset for one, offset in found]),
    }
    ours |= _masks(system, regions, stored, scale, ask_unseen, meta["original_height_width"], generalised=generalised)
    return {f"out.{name}": values for name, values in ours.items()}


def _masks(
    system: ZSI,
    regions: Regions,
    stored: Mapping[str, Tensor],
    scale: float,
    unseen: CategoryQuery,
    size: tuple[int, int],
    *,
    generalised: bool,
) -> dict[str, Tensor]:
    chosen = stored["out.det_mask_index"].long()
    detected, labels = stored["out.det_boxes"][chosen], stored["out.det_labels"][chosen].long()
    corners = detected * scale
    masks = system.look(regions.maps, corners)
    seen_vectors = system.mask_vectors(system.seen, generalised=generalised)
    of_seen = masks.of_seen(seen_vectors)
    of_unseen = masks.of_classes(seen_vectors, system.mask_vectors(unseen.vectors, generalised=generalised))
    offset = len(system.seen) - 1 if generalised else 0
    own = torch.stack(
        [
            of_seen[row, label + 1] if label < offset else of_unseen[row, label - offset + 1]
            for row, label in enumerate(labels.tolist())
        ]
    )
    laid = paste(own.sigmoid(), detected, height=size[0], width=size[1], conventions=system.conventions)
    two = [0, len(chosen) // 2]
    return {
        "mask_roi_features": system.pool(regions.maps, corners, 14),
        "mask_logits_unseen": of_unseen[two],
        "mask_logits_seen": of_seen[two],
        "det_mask_logits": own,
        "det_masks": laid > 0.5,
    }


def _clip_size(case: Mapping[str, Any]) -> tuple[int, int]:
    """Return height and width of the image that the case's regions lie in, which it says in words."""
    [said] = [one["what"] for one in case["inputs"] if one["name"] == "in.rois"]
    height, width = re.findall(r"(\d+) x (\d+)", said)[0]
    return int(height), int(width)


def _error(ours: Tensor | None, stored: np.ndarray | None) -> float:
    """Return the largest error; of masks the largest number of pixels that differ. `stored` may be strided samples."""
    if ours is None or stored is None or ours.ndim != stored.ndim:
        return float("inf")
    for axis, (whole, part) in enumerate(zip(ours.shape, stored.shape, strict=True)):
        step = -(-whole // part)
        ours = ours.index_select(axis, torch.arange(0, whole, step))
    if ours.shape != stored.shape:
        return float("inf")
    if ours.dtype == torch.bool:
        return float((ours.numpy() != (stored > 0)).reshape(len(stored), -1).sum(1).max(initial=0))
    return float(np.abs(ours.double().numpy() - stored.astype(np.float64)).max(initial=0))


def _proposals(ours: Tensor | None, stored: np.ndarray, output: Mapping[str, Any]) -> Iterator[Row]:
    if ours is None:
        yield output["name"], float("inf"), output["tolerance"]
        return
    labels = np.zeros(len(stored), dtype=int), np.zeros(len(ours), dtype=int)
    values = ours.numpy()
    box, score, alone = _paired(
        (stored[:, :4], stored[:, 4], labels[0]),
        (values[:, :4], values[:, 4], labels[1]),
        output["tolerance"],
        output["score_tolerance"],
    )
    yield output["name"], box, output["tolerance"]
    yield f"{output['name']} (score)", score, output["score_tolerance"]
    yield f"{output['name']} (unmatched)", alone, output["tolerance_unmatched"]


def _detections(ours: Mapping[str, Tensor], arrays: Arrays, outputs: Mapping[str, Mapping[str, Any]]) -> Iterator[Row]:
    names = ("out.det_boxes", "out.det_scores", "out.det_labels")
    stored, found = tuple(arrays[name] for name in names), tuple(ours[name].numpy() for name in names)
    tolerances = [outputs[name]["tolerance"] for name in names[:2]]
    box, score, alone = _paired(stored, found, *tolerances)
    yield names[0], box, tolerances[0]
    yield names[1], score, tolerances[1]
    yield f"{names[2]} (unmatched)", alone, outputs[names[0]]["tolerance_unmatched"]


def _paired(stored: Any, ours: Any, box_tolerance: float, score_tolerance: float) -> tuple[float, float, float]:
    """Return the largest error of boxes and of scores among pairs of one label, and how many have no counterpart.

    Each stored entry takes the nearest of ours that is left and within both tolerances.
    """
    left = np.ones(len(ours[0]), dtype=bool)
    box_error = score_error = 0.0
    missing = 0
    for box, score, label in zip(*stored, strict=True):
        distances = np.abs(ours[0] - box).max(1)
        scores = np.abs(ours[1] - score)
        fits = left & (ours[2] == label) & (distances <= box_tolerance) & (scores <= score_tolerance)
        if not fits.any():
            missing += 1
            continue
        nearest = int(np.where(fits, distances, np.inf).argmin())
        left[nearest] = False
        box_error, score_error = max(box_error, distances[nearest]), max(score_error, scores[nearest])
    return box_error, score_error, float(max(missing, left.sum()))
