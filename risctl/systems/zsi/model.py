"""Defines ZSI: zero-shot instance segmentation (Zheng et al., CVPR 2021).

Follows the published code (zhengye1995/Zero-shot-Instance-Segmentation, 6b25b31), with which the parity cases compare,
unless the paper says otherwise; each module states where they differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.core.fusion.location_selector import select_by_location
from risctl.core.heads.class_detections import DetectionFilter
from risctl.core.heads.mask_paste import mask_logits, paste
from risctl.core.heads.semantic_box import STDS
from risctl.data.batch import Batch
from risctl.results import Detection
from risctl.systems.base import Output
from risctl.systems.zsi.network import STRIDES, ZSINetwork
from risctl.systems.zsi.regions import RegionFeatures, Regions
from risctl.systems.zsi.targets import Instances, joined, mask_targets, sample_anchors, sample_regions
from risctl.vision import rle
from risctl.vision.geometry import Geometry

_LARGEST_STRIDE = 32


class ZSI(ZSINetwork):
    """Detects and segments instances of named categories, also of unseen ones; segments expressions by their head noun.

    A category is a word vector, so any word with a vector can be detected. For an expression, the category or word that
    it is about is detected, and its words of location select among the detections. Logits have the input's size;
    `scores` are those of the selected detection. See the paper for the zero-shot detector and mask head;
    expressions are this project's addition.
    """

    instances_only = True
    not_exported = (
        "how many regions it proposes and keeps depends on the image, and each expression is answered from those of "
        "its own image, one by one, which is no graph of tensors"
    )

    def encode_image(self, images: Tensor, padding: Tensor) -> RegionFeatures:
        """Proposes regions in images (B, 3, H, W) with padding (B, H, W), each image cropped to its own size."""
        regions = tuple(
            self.propose(maps, height=height, width=width) for maps, height, width in self._seen_maps(images, padding)
        )
        return RegionFeatures(maps=(), strides=STRIDES, padding=padding, regions=regions)

    def encode_text(self, words: Tensor, word_mask: Tensor) -> TextFeatures:
        """Encodes word ids (B, L) with mask (B, L)."""
        return self.text(words, word_mask, torch.cat([self.seen[1:], self.unseen[1:]]))

    def decode(self, visual: VisualFeatures, text: TextFeatures) -> Output:
        """Segments N images by N expressions, row by row. In training nothing is decoded: the logits are zeros."""
        if not isinstance(visual, RegionFeatures):
            raise TypeError(f"expected the features that encode_image returned, got {type(visual).__name__}")
        extras = {"regions": visual.regions, "sentence_vectors": text.sentence}
        if self.training:
            return Output(logits=torch.zeros_like(visual.padding, dtype=torch.float32), extras=extras)
        found = [
            self._answer(regions, sentence_vector, padding)
            for regions, sentence_vector, padding in zip(visual.regions, text.sentence, visual.padding, strict=True)
        ]
        return Output(
            logits=torch.stack([logits for logits, _ in found]),
            scores=torch.stack([score for _, score in found]).clamp(0, 1),
            extras=extras,
        )

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns the loss terms of proposals, regions and masks, averaged over the batch (the losses of the paper).

        Instances of unseen or unknown categories are ignored: training images should show none. Without annotated
        instances, the target of each expression is the one instance, of the seen category closest to its noun.
        """
        sampled = [
            self._sample(regions, self._instances(row, regions, output.extras["sentence_vectors"][row], batch))
            for row, regions in enumerate(output.extras["regions"])
        ]
        if self.loss_pooling == "batch":
            return self._losses([joined(parts) for parts in zip(*sampled, strict=True)])
        terms = [self._losses(parts) for parts in sampled]
        return {name: torch.stack([term[name] for term in terms]).mean() for name in terms[0]}

    def detect(
        self, features: VisualFeatures, groups: Sequence[Sequence[str]], *, geometry: Geometry, min_score: float
    ) -> list[Detection]:
        """Detects instances of categories in one image, at most 100 per group, each group by falling score.

        A seen category in any group makes the task generalised zero-shot segmentation. See `Detector.detect`.
        """
        if not isinstance(features, RegionFeatures):
            raise TypeError(f"expected the features that encode_image returned, got {type(features).__name__}")
        generalised = any(name in self.class_split.seen for names in groups for name in names)
        return [
            detection
            for names in groups
            for detection in self._detect_group(
                features.regions[0], names, geometry=geometry, min_score=min_score, generalised=generalised
            )
        ]

    @torch.no_grad()
    def _detect_group(
        self, regions: Regions, names: Sequence[str], *, geometry: Geometry, min_score: float, generalised: bool
    ) -> list[Detection]:
        query = self.query_names(names)
        found = self.detect_in(regions, query, detecting=replace(self.detecting, score_threshold=min_score))
        if not len(found):
            return []
        seen = self.class_split.seen
        numbers = [seen.index(name) if name in seen else -1 for name in names]
        labels_seen = found.labels.new_tensor(numbers)[found.labels]
        squares = self.squares(
            regions,
            found.boxes,
            labels=found.labels,
            labels_seen=labels_seen,
            query=query,
            generalised=generalised,
        )
        ratio = found.boxes.new_tensor([geometry.width / regions.width, geometry.height / regions.height] * 2)
        listed = []
        # One at a time: masks have the image's size.
        for box, certainty, label, square in zip(
            found.boxes * ratio, found.scores.tolist(), found.labels.tolist(), squares, strict=True
        ):
            laid = paste(
                square[None], box[None], height=geometry.height, width=geometry.width, conventions=self.conventions
            )[0]
            left, top, right, bottom = box.tolist()
            listed.append(
                Detection(
                    name=names[label],
                    score=min(max(certainty, 0.0), 1.0),
                    box=(left, top, right - left, bottom - top),
                    segmentation=rle.encode((laid > 0.5).cpu().numpy()),
                )
            )
        return listed

    def _seen_maps(self, images: Tensor, padding: Tensor) -> list[tuple[tuple[Tensor, ...], int, int]]:
        """Returns the backbone's maps, height and width of each image, which lies at the top left of its input."""
        spans = []
        for hidden in padding:
            height, width = int((~hidden).any(1).sum()), int((~hidden).any(0).sum())
            spans.append((height, width, _whole(height), _whole(width)))
        if self.training:
            # Norms in training take their statistics from the whole batch.
            together = self.visual(images, padding).maps
            return [
                (
                    tuple(
                        one[row : row + 1, :, : bottom // stride, : right // stride]
                        for one, stride in zip(together, STRIDES, strict=False)
                    ),
                    height,
                    width,
                )
                for row, (height, width, bottom, right) in enumerate(spans)
            ]
        seen = []
        for row, (height, width, bottom, right) in enumerate(spans):
            # In the larger input of another image, convolutions would see other values beyond the border.
            image, hidden = images[row : row + 1, :, :bottom, :right], padding[row : row + 1, :bottom, :right]
            seen.append((self.visual(image, hidden).maps, height, width))
        return seen

    @torch.no_grad()
    def _answer(self, regions: Regions, sentence_vector: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the logits (H, W) and the score of a referred object, in an input with padding (H, W)."""
        vector, place = sentence_vector.split([self.seen.shape[1], len(sentence_vector) - self.seen.shape[1]])
        query = self.query(vector[None])
        found = self.detect_in(regions, query, detecting=DetectionFilter(score_threshold=float("-inf"), max_count=20))
        height, width = padding.shape
        chosen = select_by_location(found.boxes, found.scores, place, height=regions.height, width=regions.width)
        box = found.boxes[chosen][None]
        same = torch.nonzero((self.seen[1:] == vector).all(1))[:1, 0]
        squares = self.squares(
            regions,
            box,
            labels=found.labels[chosen][None],
            labels_seen=same if len(same) else same.new_full((1,), -1),
            query=query,
            generalised=True,
        )
        laid = paste(squares, box, height=height, width=width, conventions=self.conventions)[0]
        return mask_logits(laid.masked_fill(padding, 0)), found.scores[chosen]

    def _instances(self, row: int, regions: Regions, sentence_vector: Tensor, batch: Batch) -> Instances:
        """Returns the instances of the image `row` of `batch`."""
        if batch.instances is not None:
            instances = batch.instances[row]
            labels = instances.categories.new_tensor(
                [self._labels.get(category, 0) for category in instances.categories.tolist()]
            )
            seen = labels > 0
            return Instances.of_masks(instances.masks[seen][:, : regions.height, : regions.width], labels[seen])
        if batch.targets is None:
            raise ValueError("expected a batch with instances or targets")
        target = batch.targets[row, : regions.height, : regions.width]
        return Instances.of_masks(target[None] > 0.5, self.nearest_seen(sentence_vector[None, : self.seen.shape[1]]))

    def _sample(self, regions: Regions, instances: Instances) -> tuple[Any, ...]:
        """Returns the anchors and regions that an image is trained on, both heads' outputs, and the masks' targets."""
        anchors = sample_anchors(
            regions.logits,
            regions.deltas,
            self.conventions.anchors(regions.maps, STRIDES),
            instances,
            conventions=self.conventions,
            height=regions.height,
            width=regions.width,
            border=self.border_anchors,
        )
        sampled = sample_regions(
            regions.corners, instances, count=self.learned_regions, conventions=self.conventions, stds=STDS
        )
        boxes = self.compare(regions.maps, sampled.corners)
        masked = sampled.at_instances(self.learned_masks)
        masks = self.look(regions.maps, masked.corners)
        return anchors, sampled, boxes, masks, mask_targets(masked, instances, size=masks.meaning.shape[-1])

    def _losses(self, sampled: Sequence[Any]) -> dict[str, Tensor]:
        anchors, regions, boxes, masks, targets = sampled
        logits = masks.of_seen(self.mask_vectors(self.seen, generalised=False))
        return anchors.losses() | regions.losses(boxes) | targets.losses(masks, logits)


def _whole(side: int) -> int:
    return -(-side // _LARGEST_STRIDE) * _LARGEST_STRIDE
