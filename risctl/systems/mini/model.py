"""mini: find, then choose. The small model that the package ships.

A detector (ShuffleNetV2, path aggregation, an anchor-free head) names the things in a picture; a box selector (a
transformer over words and boxes) says which of them a phrase means, if any; a mask head draws those. What needs pixels
with masks and what needs phrases are thus learned apart, each from the data there is.
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
from risctl.core.fusion.colour_histograms import APPEARANCE, colour_histograms
from risctl.core.heads.detector import DetectionBatch, InstanceDetector, select_detections
from risctl.core.heads.instance_masks import OUTSIDE, expand_boxes, paste_logits
from risctl.core.losses.box_selection import box_selection_losses, target_probability
from risctl.data.batch import Batch
from risctl.data.box_grounding.boxes import Boxes, BoxTargets
from risctl.errors import UsageError, unknown_name
from risctl.language.coco_classes import CLASSES
from risctl.results import Detection, Prediction
from risctl.systems.base import Output, System
from risctl.systems.mini.explain import BoxProbabilities, explain_boxes
from risctl.systems.mini.preprocess import FILL, MiniPreprocess
from risctl.systems.protocols import BoxGroundingSpec
from risctl.vision import rle
from risctl.vision.geometry import Geometry

STRIDE = 4
_SURE = 0.5  # the probability from which a box beside the best one is meant too
_MATCH = 0.5  # the IoU from which a found box is taken for the target's
# The score from which a class counts as seen; chosen on the splits val of made phrases and of scenes.
_SEEN = 0.2
# Measured on pictures with known things: a box of score 0.4 is a thing as often as not, one of 0.7 nearly always.
_EVEN, _SLOPE = 0.4, 11.0
_CLASS_OF = {category: kind for kind, category in enumerate(sorted(CLASSES))}


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFeatures(VisualFeatures):
    """The detected instances of images: beside the two maps for masks, as detections, boxes and encoded boxes."""

    things: DetectionBatch
    boxes: Boxes
    seen: EncodedBoxes

    def select(self, index: Tensor) -> FoundFeatures:
        """Return the features of the images `index` (N,)."""
        things = DetectionBatch(
            corners=self.things.corners[index], scores=self.things.scores[index], mask=self.things.mask[index]
        )
        return replace(
            self,
            maps=tuple(one[index] for one in self.maps),
            padding=self.padding[index],
            things=things,
            boxes=self.boxes.select(index),
            seen=self.seen.select(index),
        )


class Mini(System):
    """A picture and a phrase to one mask, of one thing or of several.

    Inputs are squares. Logits have stride 4. `scores` is the probability that the phrase means anything in the
    picture. Maps of an output: "boxes" (B, N, 4), xyxy in [0, 1] of the picture, and "choice" (B, N), how probably
    each is meant, zeros where there is no box. The loss's parts are in `extras`.
    """

    instances_only = False

    explanation_kind = "choices"

    def __init__(
        self,
        *,
        preprocess: MiniPreprocess,
        detector: InstanceDetector,
        box_selector: BoxSelector,
        max_count: int = 40,
        score_threshold: float = 0.05,
        no_target_threshold: float = 0.0,
    ) -> None:
        """Composes the model.

        Args:
            preprocess: Letterboxes images and tokenises expressions.
            detector: Detects the instances of an image and draws their masks.
            box_selector: Scores the detected boxes for an expression.
            max_count: How many detections expressions choose among.
            score_threshold: The lowest score of these.
            no_target_threshold: Expressions that score below it get an empty mask.
        """
        super().__init__()
        self.preprocess = preprocess
        self.detector = detector
        self.box_selector = box_selector
        self.max_count = max_count
        self.score_threshold = score_threshold
        self.no_target_threshold = no_target_threshold
        self.grounding_spec = BoxGroundingSpec(
            ids_per_word=1 + GRAMS,
            categories=box_selector.classes,
            appearance=APPEARANCE if box_selector.look is not None else 0,
        )

    def forward(self, batch: Batch) -> Output:
        """As every system; of a batch of questions about known boxes, the choice alone (in `extras`), without logits.

        A batch of things has nothing to choose: all is in the loss.
        """
        if batch.instances is not None:
            return Output(logits=batch.images.new_zeros(len(batch), 0, 0))
        if batch.box_targets is None:
            return super().forward(batch)
        text = self.encode_text(batch.words, batch.word_mask)
        choice = self.box_selector(text.words, text.mask, batch.box_targets.boxes)
        there = batch.box_targets.boxes.mask
        return Output(
            logits=choice.scores.new_zeros(len(batch), 0, 0),
            scores=target_probability(choice, there),
            extras={"choice": choice},
        )

    def encode_image(self, images: Tensor, padding: Tensor) -> FoundFeatures:
        """Find the things in images (B, 3, H, W) with padding (B, H, W); the map has stride 4."""
        images = torch.where(padding[:, None], FILL, images)
        cells, features = self.detector(images, padding)
        extents = _extents(padding)
        things = select_detections(
            cells, extents=extents, max_count=self.max_count, score_threshold=self.score_threshold
        )
        size = (extents[:, 2:] - extents[:, :2])[:, None]  # (B, 1, 2)
        corners = (things.corners - extents[:, None, :2].repeat(1, 1, 2)) / size.repeat(1, 1, 2)
        kinds = things.scores.square()
        boxes = Boxes(
            corners=corners * things.mask[..., None],
            classes=kinds / kinds.sum(-1, keepdim=True).clamp(min=1e-6),
            mask=things.mask,
            aspect=size[:, 0, 0] / size[:, 0, 1],
            confidence=((things.scores.amax(-1) - _EVEN) * _SLOPE).sigmoid() * things.mask,
            appearance=colour_histograms(images, things.corners),
        )
        return FoundFeatures(
            maps=(features, self.detector.masks.finer(features)),
            strides=(STRIDE, STRIDE),
            padding=padding,
            things=things,
            boxes=boxes,
            seen=self.box_selector.encode_boxes(boxes),
        )

    def boxes_of(self, features: VisualFeatures) -> Boxes:
        """Returns the boxes that expressions choose among."""
        return _found(features).boxes

    def encode_text(self, words: Tensor, word_mask: Tensor) -> TextFeatures:
        """Read word ids (B, L * (1 + GRAMS)) with mask of the same shape, as the preprocess gives them."""
        ids = (words * word_mask).unflatten(1, (-1, 1 + GRAMS))
        tokens, present = self.box_selector.encode_text(ids)
        shares = present / present.sum(1, keepdim=True).clamp(min=1)
        return TextFeatures(words=tokens, mask=present, sentence=torch.einsum("bl,bld->bd", shares, tokens))

    def decode(self, visual: VisualFeatures, text: TextFeatures) -> Output:
        """Choose among the things of N images for N texts, row by row, and draw what is chosen."""
        visual = _found(visual)
        choice = self.box_selector(text.words, text.mask, visual.seen)
        features, things = visual.maps[0], visual.things
        count, _, height, width = features.shape
        logits = features.new_full((count, height, width), OUTSIDE)
        shares = choice.scores.sigmoid()
        rows, chosen = torch.nonzero(self._meant(choice, things.mask), as_tuple=True)
        if len(rows):
            corners = things.corners[rows, chosen]
            drawn = self._drawn(visual, corners, rows)
            index = rows[:, None, None].expand(-1, height, width)
            logits = logits.scatter_reduce(0, index, drawn, reduce="amax")
        return Output(
            logits=logits.masked_fill(_padding_at(visual.padding, height, width), OUTSIDE),
            scores=target_probability(choice, things.mask) * _evidence(choice, things),
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
            for detection in self._detect_group(_found(features), names, geometry=geometry, min_score=min_score)
        ]

    @torch.no_grad()
    def _detect_group(
        self, visual: FoundFeatures, names: Sequence[str], *, geometry: Geometry, min_score: float
    ) -> list[Detection]:
        known = [CLASSES[category] for category in sorted(CLASSES)][: self.box_selector.classes]
        for name in names:
            if name not in known:
                raise UsageError(unknown_name("class", name, known))
        if not visual.things.mask.shape[1]:
            return []
        best = visual.things.scores[0][:, [known.index(name) for name in names]].max(1)
        there = visual.things.mask[0] & (best.values > min_score)
        order = best.values.argsort(descending=True, stable=True)
        listed = []
        # One at a time: masks have the picture's size.
        for index in order[there[order]].tolist():
            corners = visual.things.corners[0, index][None]
            drawn = self._drawn(visual, corners, corners.new_zeros(1, dtype=torch.int64))
            mask = geometry.invert(drawn.sigmoid())[0] > 0.5
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

    def _drawn(self, visual: FoundFeatures, corners: Tensor, rows: Tensor) -> Tensor:
        """Return the logits (M, h, w) of things in boxes `corners` (M, 4) of the pictures `rows` (M,)."""
        features, finer = visual.maps
        height, width = features.shape[-2:]
        return paste_logits(
            self.detector.masks(features, corners, rows, finer=finer),
            corners,
            height=height,
            width=width,
            stride=STRIDE,
        )

    def _meant(self, choice: BoxScores, there: Tensor) -> Tensor:
        """Return (B, N) bool: the best box, and each other one that is probably meant too."""
        if not there.shape[1]:
            return there
        best = functional.one_hot(choice.scores.argmax(1), there.shape[1]).bool()
        return (best | (choice.scores.sigmoid() > _SURE)) & there

    def explain(self, frames: Sequence[Prediction]) -> BoxProbabilities:
        """Returns what there is to show of a prediction that was made."""
        return explain_boxes(frames[0])

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return `instance_losses` of a batch of things; else `box_selection_losses`, and of pictures also "mask": of
        the found box that is the target's."""
        if batch.instances is not None:
            # Only here, and below: it takes torchvision, which takes seconds to import.
            from risctl.core.losses.instances import instance_losses

            images = torch.where(batch.padding[:, None], FILL, batch.images)
            return instance_losses(self.detector, images, batch.padding, batch.instances, class_of=_CLASS_OF)
        choice = output.extras["choice"]
        if batch.box_targets is not None:
            return box_selection_losses(choice, batch.box_targets)
        if batch.targets is None:
            raise ValueError("expected a batch with targets")
        visual = output.extras["visual"]
        spans, present = _spans(batch.targets)
        match, chosen = _best_match(spans, visual.things)
        usable = present & (match >= _MATCH)
        there = visual.things.mask
        meant = functional.one_hot(chosen, max(there.shape[1], 1))[:, : there.shape[1]].float() * usable[:, None]
        kinds = visual.things.scores.argmax(-1) if there.shape[1] else there.long()
        # A target that was not found teaches nothing about the choice, and nothing about whether it is there.
        told = usable | ~present
        terms = _of_rows(choice, BoxTargets(boxes=visual.boxes, is_target=meant, category_ids=kinds), told)
        terms["mask"] = visual.maps[0].sum() * 0
        if usable.any():
            rows = torch.nonzero(usable)[:, 0]
            corners = visual.things.corners[rows, chosen[rows]]
            squares = self.detector.masks(visual.maps[0], corners, rows)
            terms["mask"] = _square_loss(squares, batch.targets[rows], corners)
        return terms


def _evidence(choice: BoxScores, things: DetectionBatch) -> Tensor:
    """Return (B,) in [0, 1]: whether what the texts speak of has been seen at all, however doubtfully."""
    if not things.mask.shape[1]:
        return choice.presence.new_zeros(len(choice.presence))
    seen = (things.scores * things.mask[..., None]).amax(1)  # (B, K)
    return ((choice.noun.float().softmax(-1) * seen).sum(-1) / _SEEN).clamp(max=1)


def _found(visual: VisualFeatures) -> FoundFeatures:
    if not isinstance(visual, FoundFeatures):
        raise TypeError(f"expected what encode_image gave; got {type(visual).__name__}")
    return visual


def _of_rows(choice: BoxScores, asked: BoxTargets, rows: Tensor) -> dict[str, Tensor]:
    """Return the losses of the rows (B,) bool alone."""
    if not asked.boxes.mask[rows].any():
        return {name: choice.noun.sum() * 0 for name in ("choice", "each", "presence", "noun")}
    index = torch.nonzero(rows)[:, 0]
    own = BoxScores(scores=choice.scores[index], presence=choice.presence[index], noun=choice.noun[index])
    return box_selection_losses(
        own,
        BoxTargets(
            boxes=asked.boxes.select(index), is_target=asked.is_target[index], category_ids=asked.category_ids[index]
        ),
    )


def _extents(padding: Tensor) -> Tensor:
    """Return (B, 4): left, top, right, bottom of the picture in the input, in pixels, from padding (B, H, W)."""
    inside = (~padding).float()
    columns, rows = inside.amax(1), inside.amax(2)
    width, height = columns.shape[1], rows.shape[1]
    left, top = columns.argmax(1), rows.argmax(1)
    right, bottom = width - columns.flip(1).argmax(1), height - rows.flip(1).argmax(1)
    return torch.stack([left, top, right, bottom], 1).float()


def _padding_at(padding: Tensor, height: int, width: int) -> Tensor:
    """Return (B, height, width) bool: cells that are padding through and through."""
    return functional.adaptive_max_pool2d((~padding).float()[:, None], (height, width))[:, 0] == 0


def _spans(targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return the boxes (B, 4) in input pixels of targets (B, h, w) of stride 4, and whether there is a target (B,)."""
    inside = targets > 0.5
    columns, rows = inside.any(1).float(), inside.any(2).float()
    left, top = columns.argmax(1), rows.argmax(1)
    right = columns.shape[1] - columns.flip(1).argmax(1)
    bottom = rows.shape[1] - rows.flip(1).argmax(1)
    return torch.stack([left, top, right, bottom], 1).float() * STRIDE, inside.flatten(1).any(1)


def _best_match(spans: Tensor, things: DetectionBatch) -> tuple[Tensor, Tensor]:
    """Return (B,) the IoU of each target's box with the found box that fits it best, and that box's index."""
    if not things.mask.shape[1]:
        return spans.new_zeros(len(spans)), torch.zeros(len(spans), dtype=torch.int64, device=spans.device)
    own, found = spans[:, None], things.corners
    low, high = torch.maximum(own[..., :2], found[..., :2]), torch.minimum(own[..., 2:], found[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    areas = (own[..., 2:] - own[..., :2]).prod(-1) + (found[..., 2:] - found[..., :2]).prod(-1)
    overlaps = (shared / (areas - shared).clamp(min=1e-6)).masked_fill(~things.mask, -1)
    best = overlaps.max(1)
    return best.values, best.indices


def _square_loss(squares: Tensor, targets: Tensor, corners: Tensor) -> Tensor:
    """Return cross-entropy plus Dice of squares (M, G, G) with targets (M, h, w) of stride 4 seen through the boxes."""
    from torchvision.ops import roi_align

    from risctl.core.losses.instances import mask_grid_loss

    index = torch.arange(len(corners), device=corners.device, dtype=corners.dtype)
    rois = torch.cat([index[:, None], expand_boxes(corners.detach())], 1)
    wanted = roi_align(targets[:, None], rois, squares.shape[-1], spatial_scale=1 / STRIDE, aligned=True)[:, 0]
    return mask_grid_loss(squares.float(), wanted.clamp(0, 1))
