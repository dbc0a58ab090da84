"""mini, the small model that the package ships: detects the instances of an image, then selects the referred one.

A detector (ShuffleNetV2, path aggregation, an anchor-free head) finds the instances of an image; a box selector (a
transformer over words and boxes) scores them for an expression; a mask head draws the selected ones. What needs pixels
with masks and what needs expressions is thus learned separately, each from the data there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.core.encoders.text.hashed_words import GRAMS
from risctl.core.fusion.box_selector import BoxScores, BoxSelector, EncodedBoxes
from risctl.core.fusion.colour_histograms import looks_of
from risctl.core.heads.detector import DetectionBatch, InstanceDetector, select_detections
from risctl.core.heads.instance_masks import OUTSIDE, paste_logits
from risctl.core.losses.box_selection import box_selection_losses, target_probability
from risctl.data.batch import Batch
from risctl.data.box_grounding.boxes import Boxes, BoxTargets
from risctl.errors import UsageError, unknown_name
from risctl.language.coco_classes import CLASSES
from risctl.results import Detection, Prediction
from risctl.systems.base import Output, System
from risctl.systems.exportable import Graphs
from risctl.systems.mini.explain import BoxProbabilities, explain_boxes
from risctl.systems.mini.export import FEATURES, MiniAnswers, MiniEncoder
from risctl.systems.mini.padding import extents_of, padded_cells
from risctl.systems.mini.preprocess import FILL, MiniPreprocess
from risctl.systems.mini.presence import Presence
from risctl.systems.protocols import BoxGroundingSpec
from risctl.vision import rle
from risctl.vision.geometry import Geometry

STRIDE = 4
_TARGET_PROBABILITY = 0.5  # probability from which a box beside the best one is selected too
_MIN_IOU = 0.5  # IoU from which a detection matches the target
# Measured on annotated images: of the first detector's boxes with score 0.4 half are instances, with 0.7 nearly all.
_EVEN_SCORE, _SLOPE = 0.4, 11.0
_CLASS_OF = {category: index for index, category in enumerate(sorted(CLASSES))}


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectedFeatures(VisualFeatures):
    """The detected instances of images, with two maps for masks.

    Attributes:
        detections: Detections in input pixels.
        boxes: The same as input of the box selector.
        encoded_boxes: The same, encoded independently of any text.
    """

    detections: DetectionBatch
    boxes: Boxes
    encoded_boxes: EncodedBoxes

    def select(self, index: Tensor) -> DetectedFeatures:
        """Returns the features of the images with indices `index` (N,)."""
        detections = DetectionBatch(
            corners=self.detections.corners[index],
            scores=self.detections.scores[index],
            mask=self.detections.mask[index],
        )
        return replace(
            self,
            maps=tuple(feature_map[index] for feature_map in self.maps),
            padding=self.padding[index],
            detections=detections,
            boxes=self.boxes.select(index),
            encoded_boxes=self.encoded_boxes.select(index),
        )


class Mini(System):
    """Predicts one mask per expression, of one instance or several, from square inputs.

    Logits have stride 4. `scores` is the probability that the expression refers to anything in the image. The maps of
    an output are "boxes" (B, N, 4), xyxy in [0, 1] of the image, and "choice" (B, N), the probability that each is
    referred to, zero where there is no box. `extras` holds what the loss needs.
    """

    instances_only = False
    parts_vary = True

    explanation_kind = "choices"

    def __init__(
        self,
        *,
        preprocess: MiniPreprocess,
        detector: InstanceDetector,
        box_selector: BoxSelector,
        max_count: int = 40,
        score_threshold: float = 0.05,
        iou_threshold: float = 0.6,
        even_score: float = _EVEN_SCORE,
        no_target_threshold: float = 0.0,
        no_target_weight: float = 0.1,
        presence: Presence | None = None,
    ) -> None:
        """Composes the model.

        Args:
            preprocess: Letterboxes images and tokenises expressions.
            detector: Detects the instances of an image and draws their masks.
            box_selector: Scores the detected boxes for an expression.
            max_count: How many detections expressions choose among.
            score_threshold: The lowest score of these.
            iou_threshold: Overlap above which the lower-scored of two of them is suppressed.
            even_score: Score at which a detection is an instance as probably as not.
            no_target_threshold: Expressions that score below it get an empty mask.
            no_target_weight: Weight of the loss of the score that says so.
            presence: How the score comes about; None: with its default values.
        """
        super().__init__()
        self.preprocess = preprocess
        self.detector = detector
        self.box_selector = box_selector
        self.max_count = max_count
        self.score_threshold = score_threshold
        self.iou_threshold = iou_threshold
        self.even_score = even_score
        self.no_target_threshold = no_target_threshold
        self.no_target_weight = no_target_weight
        self.presence = Presence() if presence is None else presence
        self.grounding_spec = BoxGroundingSpec(
            ids_per_word=1 + GRAMS,
            categories=box_selector.classes,
            appearance=0 if box_selector.look is None else box_selector.look.in_features,
        )

    def forward(self, batch: Batch) -> Output:
        """Computes the output of a batch of any kind.

        For a batch of box grounding samples the output holds the scores of the boxes (in `extras`) and no logits. For a
        batch of instances it is empty, since the loss computes everything.
        """
        if batch.instances is not None:
            return Output(logits=batch.images.new_zeros(len(batch), 0, 0))
        if batch.box_targets is None:
            return super().forward(batch)
        text = self.encode_text(batch.words, batch.word_mask)
        choice = self.box_selector(text.words, text.mask, batch.box_targets.boxes)
        valid = batch.box_targets.boxes.mask
        return Output(
            logits=choice.scores.new_zeros(len(batch), 0, 0),
            scores=target_probability(choice, valid),
            extras={"choice": choice},
        )

    def encode_image(self, images: Tensor, padding: Tensor) -> DetectedFeatures:
        """Detects the instances of images.

        Args:
            images: (B, 3, H, W).
            padding: (B, H, W) bool, True outside the image.

        Returns:
            Features with maps at stride 4.
        """
        images = torch.where(padding[:, None], FILL, images)
        cells, features = self.detector(images, padding)
        extents = extents_of(padding)
        detections = select_detections(
            cells,
            extents=extents,
            max_count=self.max_count,
            score_threshold=self.score_threshold,
            iou_threshold=self.iou_threshold,
        )
        size = (extents[:, 2:] - extents[:, :2])[:, None]  # (B, 1, 2)
        corners = (detections.corners - extents[:, None, :2].repeat(1, 1, 2)) / size.repeat(1, 1, 2)
        class_scores = detections.scores.square()
        boxes = Boxes(
            corners=corners * detections.mask[..., None],
            classes=class_scores / class_scores.sum(-1, keepdim=True).clamp(min=1e-6),
            mask=detections.mask,
            aspect=size[:, 0, 0] / size[:, 0, 1],
            confidence=((detections.scores.amax(-1) - self.even_score) * _SLOPE).sigmoid() * detections.mask,
            appearance=looks_of(images, detections.corners, count=self.grounding_spec.appearance),
        )
        return DetectedFeatures(
            maps=(features, self.detector.masks.finer(features)),
            strides=(STRIDE, STRIDE),
            padding=padding,
            detections=detections,
            boxes=boxes,
            encoded_boxes=self.box_selector.encode_boxes(boxes),
        )

    def boxes_of(self, features: VisualFeatures) -> Boxes:
        """Returns the boxes that expressions choose among."""
        return _as_detected(features).boxes

    def encode_text(self, words: Tensor, word_mask: Tensor) -> TextFeatures:
        """Encodes word ids (B, L * (1 + GRAMS)) with a mask of the same shape, both from the preprocessing."""
        ids = (words * word_mask).unflatten(1, (-1, 1 + GRAMS))
        tokens, present = self.box_selector.encode_text(ids)
        shares = present / present.sum(1, keepdim=True).clamp(min=1)
        return TextFeatures(words=tokens, mask=present, sentence=torch.einsum("bl,bld->bd", shares, tokens))

    def decode(self, visual: VisualFeatures, text: TextFeatures) -> Output:
        """Selects among the instances of N images for N texts, row by row, and draws the selected ones."""
        visual = _as_detected(visual)
        choice = self.box_selector(text.words, text.mask, visual.encoded_boxes)
        features, detections = visual.maps[0], visual.detections
        count, _, height, width = features.shape
        logits = features.new_full((count, height, width), OUTSIDE)
        shares = choice.scores.sigmoid()
        selected = self._selected(choice, detections.mask)
        exported = torch.compiler.is_compiling()
        if exported:  # a graph has no branch: one box an expression is always drawn, and removed if it is none
            selected = selected | functional.one_hot(choice.scores.argmax(1), selected.shape[1]).bool()
        rows, chosen = torch.nonzero(selected, as_tuple=True)
        if exported or len(rows):
            corners = detections.corners[rows, chosen]
            logits_of_boxes = self._draw(visual, corners, rows)
            index = rows[:, None, None].expand(-1, height, width)
            # Under autocast the masks are drawn in the lower precision, the features may have come in the higher one.
            logits = logits.scatter_reduce(0, index, logits_of_boxes.to(logits.dtype), reduce="amax")
        if exported:
            logits = torch.where(detections.mask.any(1)[:, None, None], logits, OUTSIDE)
        return Output(
            logits=logits.masked_fill(padded_cells(visual.padding, height, width), OUTSIDE),
            scores=self.presence(choice, detections),
            maps={"boxes": visual.boxes.corners, "choice": shares},
            extras={"choice": choice, "visual": visual},
        )

    def detect(
        self, features: VisualFeatures, groups: Sequence[Sequence[str]], *, geometry: Geometry, min_score: float
    ) -> list[Detection]:
        """Detects instances of COCO's categories in one image, one category per box. See `Detector.detect`."""
        return [
            detection
            for names in groups
            for detection in self._detect_group(_as_detected(features), names, geometry=geometry, min_score=min_score)
        ]

    @torch.no_grad()
    def _detect_group(
        self, visual: DetectedFeatures, names: Sequence[str], *, geometry: Geometry, min_score: float
    ) -> list[Detection]:
        known = [CLASSES[category] for category in sorted(CLASSES)][: self.box_selector.classes]
        for name in names:
            if name not in known:
                raise UsageError(unknown_name("class", name, known))
        if not visual.detections.mask.shape[1]:
            return []
        best = visual.detections.scores[0][:, [known.index(name) for name in names]].max(1)
        valid = visual.detections.mask[0] & (best.values > min_score)
        order = best.values.argsort(descending=True, stable=True)
        listed = []
        # One at a time, since masks have the size of the image.
        for index in order[valid[order]].tolist():
            corners = visual.detections.corners[0, index][None]
            logits_of_boxes = self._draw(visual, corners, corners.new_zeros(1, dtype=torch.int64))
            mask = geometry.invert(logits_of_boxes.sigmoid())[0] > 0.5
            shares = visual.boxes.corners[0, index].clamp(0, 1).tolist()
            left, top, right, bottom = (
                share * side for share, side in zip(shares, (geometry.width, geometry.height) * 2, strict=True)
            )
            listed.append(
                Detection(
                    name=names[int(best.indices[index])],
                    score=float(best.values[index].clamp(0, 1)),
                    box=(left, top, right - left, bottom - top),
                    segmentation=rle.encode(mask.cpu().numpy()),
                )
            )
        return listed

    def _draw(self, visual: DetectedFeatures, corners: Tensor, rows: Tensor) -> Tensor:
        """Returns the mask logits (M, h, w) of boxes `corners` (M, 4) in the images `rows` (M,)."""
        features, finer = visual.maps
        height, width = features.shape[-2:]
        return paste_logits(
            self.detector.masks(features, corners, rows, finer=finer),
            corners,
            height=height,
            width=width,
            stride=STRIDE,
        )

    def _selected(self, choice: BoxScores, valid: Tensor) -> Tensor:
        """Returns (B, N) bool: the best box, and every other one that is probably referred to as well."""
        if not valid.shape[1]:
            return valid
        best = functional.one_hot(choice.scores.argmax(1), valid.shape[1]).bool()
        return (best | (choice.scores.sigmoid() > _TARGET_PROBABILITY)) & valid

    def graphs(self, images: Tensor, padding: Tensor) -> Graphs:
        """Returns the system's halves. See `Exportable.graphs`."""
        del images, padding
        return Graphs(
            encode=MiniEncoder(self), answer=MiniAnswers(self, DetectedFeatures, (STRIDE, STRIDE)), features=FEATURES
        )

    def explain(self, frames: Sequence[Prediction]) -> BoxProbabilities:
        """Returns what there is to show of a prediction that was made."""
        return explain_boxes(frames[0])

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Computes the losses of a batch of any kind.

        Returns:
            For a batch of instances, `instance_losses`. Otherwise `box_selection_losses` and, if the batch has images,
            "mask": the mask loss of the detection that matches the target.
        """
        if batch.instances is not None:
            # Imported only here and below, since importing torchvision takes seconds.
            from risctl.core.losses.instances import instance_losses

            images = torch.where(batch.padding[:, None], FILL, batch.images)
            learns = any(parameter.requires_grad for parameter in self.detector.head.parameters())
            return instance_losses(
                self.detector, images, batch.padding, batch.instances, class_of=_CLASS_OF, detect=learns
            )
        choice = output.extras["choice"]
        if batch.box_targets is not None:
            return box_selection_losses(choice, batch.box_targets, presence=self.no_target_weight)
        if batch.targets is None:
            raise ValueError("expected a batch with targets")
        visual = output.extras["visual"]
        spans, present = _spans(batch.targets)
        match, chosen = _best_match(spans, visual.detections)
        usable = present & (match >= _MIN_IOU)
        valid = visual.detections.mask
        is_target = functional.one_hot(chosen, max(valid.shape[1], 1))[:, : valid.shape[1]].float() * usable[:, None]
        category_ids = visual.detections.scores.argmax(-1) if valid.shape[1] else valid.long()
        # A target that was not detected trains neither the selection nor the presence of a target.
        known = usable | ~present
        terms = _of_rows(choice, BoxTargets(boxes=visual.boxes, is_target=is_target, category_ids=category_ids), known)
        terms["mask"] = visual.maps[0].sum() * 0
        if usable.any():
            from risctl.core.losses.instances import target_mask_loss

            rows = torch.nonzero(usable)[:, 0]
            corners = visual.detections.corners[rows, chosen[rows]]
            squares = self.detector.masks(visual.maps[0], corners, rows)
            terms["mask"] = target_mask_loss(squares, batch.targets[rows], corners, stride=STRIDE)
        return terms


def _as_detected(visual: VisualFeatures) -> DetectedFeatures:
    if not isinstance(visual, DetectedFeatures):
        raise TypeError(f"expected features of encode_image, got {type(visual).__name__}")
    return visual


def _of_rows(choice: BoxScores, targets: BoxTargets, rows: Tensor) -> dict[str, Tensor]:
    """Returns the losses of the rows (B,) bool only."""
    if not targets.boxes.mask[rows].any():
        return {name: choice.noun.sum() * 0 for name in ("choice", "each", "presence", "noun")}
    index = torch.nonzero(rows)[:, 0]
    own = BoxScores(scores=choice.scores[index], presence=choice.presence[index], noun=choice.noun[index])
    return box_selection_losses(
        own,
        BoxTargets(
            boxes=targets.boxes.select(index),
            is_target=targets.is_target[index],
            category_ids=targets.category_ids[index],
        ),
    )


def _spans(targets: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the boxes (B, 4) in input pixels of targets (B, h, w) at stride 4, and (B,) whether there is a target."""
    inside = targets > 0.5
    columns, rows = inside.any(1).float(), inside.any(2).float()
    left, top = columns.argmax(1), rows.argmax(1)
    right = columns.shape[1] - columns.flip(1).argmax(1)
    bottom = rows.shape[1] - rows.flip(1).argmax(1)
    return torch.stack([left, top, right, bottom], 1).float() * STRIDE, inside.flatten(1).any(1)


def _best_match(spans: Tensor, detections: DetectionBatch) -> tuple[Tensor, Tensor]:
    """Returns (B,) the IoU of each target's box with the best matching detection, and (B,) that detection's index."""
    if not detections.mask.shape[1]:
        return spans.new_zeros(len(spans)), torch.zeros(len(spans), dtype=torch.int64, device=spans.device)
    own, found = spans[:, None], detections.corners
    low, high = torch.maximum(own[..., :2], found[..., :2]), torch.minimum(own[..., 2:], found[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = (own[..., 2:] - own[..., :2]).prod(-1) + (found[..., 2:] - found[..., :2]).prod(-1)
    overlaps = (shared / (areas - shared).clamp(min=1e-6)).masked_fill(~detections.mask, -1)
    best = overlaps.max(1)
    return best.values, best.indices
