"""Builds the box-grounding dataset of a recipe: annotated, generated and detected samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.ops import box_iou

from risctl.data.box_grounding.boxes import Boxes
from risctl.data.box_grounding.dataset import BoxGroundingDataset
from risctl.data.box_grounding.files import read_box_grounding, read_layouts
from risctl.data.box_grounding.noise import BoxNoise
from risctl.data.box_grounding.records import read_records
from risctl.data.box_grounding.samples import BoxGroundingSample, ImageBoxes
from risctl.data.store.reader import Store
from risctl.errors import UsageError
from risctl.inference.encoded_image import encode, prepare
from risctl.recipe.schema import Recipe
from risctl.systems.base import System
from risctl.systems.protocols import BoxGrounder, as_box_grounder
from risctl.vision import rle

_MATCH = 0.5  # the IoU from which a detected box is taken for an instance's


def box_grounding_dataset(recipe: Recipe, stores: Iterable[Store], system: System) -> BoxGroundingDataset:
    """Returns the box-grounding samples that a recipe asks for. On the meta device no boxes are detected.

    Raises:
        UsageError: The system does not ground expressions in boxes.
        DataError: A file cannot be read, or there is no sample.
    """
    section, augment = recipe.data.box_grounding, recipe.data.augment
    if not isinstance(system, BoxGrounder):
        raise UsageError(
            f"data.items=box_grounding, but {recipe.model.system} has no box selector; use data.items=expressions"
        )
    spec = system.grounding_spec
    detected: list[BoxGroundingSample] = []
    if section.detected and not next(system.parameters()).is_meta:
        for store in stores:
            detected.extend(detected_box_samples(system, store, split=recipe.data.train_split))
    return BoxGroundingDataset(
        system.preprocess,
        annotated=[
            sample for file in section.files for sample in read_box_grounding(Path(file), classes=spec.categories)
        ],
        generated=section.generated,
        detected=detected,
        layouts=[boxes for file in section.layouts for boxes in read_layouts(Path(file), classes=spec.categories)],
        records=None
        if section.records is None
        else read_records(Path(section.records), classes=spec.categories, looks=section.looks),
        made=section.made,
        absent=section.absent,
        noise=BoxNoise(
            flip=augment.flip if augment else 0.0,
            drop=section.box_dropout,
            detector=section.detector_noise,
            colours=section.random_colours,
            typo=section.typos,
        ),
        per_word=spec.ids_per_word,
        classes=spec.categories,
        appearance=spec.appearance,
        seed=recipe.train.seed,
    )


@torch.inference_mode()
def detected_box_samples(system: System, store: Store, *, split: str) -> list[BoxGroundingSample]:
    """Returns the expressions of a split of `store` as samples about the boxes that `system` detects in their images.

    An expression whose referred object was not detected is left out; a no-target expression stays.
    """
    grounder = as_box_grounder(system)
    was_training = system.training
    system.eval()
    of_image: dict[int, list[int]] = {}
    for row in store.sentences(split):
        of_image.setdefault(store.sentence(int(row)).image, []).append(int(row))
    samples = []
    for image, rows in of_image.items():
        encoded = encode(system, prepare(system.preprocess, store.pixels(image)))
        boxes = boxes_of_image(grounder.boxes_of(encoded.features))
        size = store.image(image)
        sides = np.array([size.width, size.height] * 2, dtype=np.float32)
        for row in rows:
            sentence = store.sentence(row)
            spans = [
                rle.box(store.annotation(int(annotation)).mask) for annotation in store.ref(sentence.ref).annotations
            ]
            targets = _matching_boxes(boxes, [np.array(span, dtype=np.float32) for span in spans if span], sides)
            if targets is not None:
                samples.append(BoxGroundingSample(boxes=boxes, text=sentence.sent, targets=targets))
    system.train(was_training)
    return samples


def boxes_of_image(boxes: Boxes) -> ImageBoxes:
    """Returns the boxes of one image, of `Boxes` with B = 1, each with its two most likely classes."""
    valid = boxes.mask[0]
    classes = boxes.classes[0][valid]
    first = classes.topk(2, dim=1)
    shares = first.values / first.values.sum(1, keepdim=True).clamp(min=1e-6)
    return ImageBoxes(
        corners=_array(boxes.corners[0][valid].clamp(0, 1)),
        category_ids=first.indices[:, 0].cpu().numpy(),
        aspect=float(boxes.aspect[0]),
        confidence=None if boxes.confidence is None else _array(boxes.confidence[0][valid]),
        category_share=_array(shares[:, 0]),
        second_category_ids=first.indices[:, 1].cpu().numpy(),
        appearance=None if boxes.appearance is None else _array(boxes.appearance[0][valid]),
    )


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.float().cpu().numpy()


def _matching_boxes(boxes: ImageBoxes, annotated: Sequence[np.ndarray], sides: np.ndarray) -> tuple[int, ...] | None:
    """Returns the indices of the boxes that match annotated boxes (x, y, width, height) in pixels.

    None if an annotated box has no match.
    """
    if not annotated:
        return ()
    if not len(boxes.category_ids):
        return None
    corners = np.stack(annotated)
    corners[:, 2:] += corners[:, :2]
    overlaps = box_iou(torch.from_numpy(corners / sides), torch.from_numpy(boxes.corners))
    best = overlaps.max(1)
    if float(best.values.min()) < _MATCH:
        return None
    return tuple(sorted(set(best.indices.tolist())))
