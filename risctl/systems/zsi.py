"""ZSI: zero-shot instance segmentation (Zheng et al., CVPR 2021).

Follows the published code (zhengye1995/Zero-shot-Instance-Segmentation, 6b25b31), which the parity cases compare with,
where the paper does not say otherwise; each module says where they differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.core.encoders.text.asked_word import AskedWord
from risctl.core.fusion.background_sync import with_background
from risctl.core.fusion.place_choice import choose_by_place
from risctl.core.heads.background_rpn import BackgroundRPN, Proposing
from risctl.core.heads.box_conventions import Conventions
from risctl.core.heads.class_detections import Detecting, Detections
from risctl.core.heads.mask_paste import mask_logits, paste
from risctl.core.heads.semantic_box import DEVIATIONS, SemanticBoxes, SemanticBoxHead, take_deltas
from risctl.core.heads.semantic_box import POOLED as BOX_POOLED
from risctl.core.heads.semantic_mask import POOLED as MASK_POOLED
from risctl.core.heads.semantic_mask import SemanticMaskHead, SemanticMasks
from risctl.data.batch import Batch, Geometry, Preprocess
from risctl.language.coco_classes import CLASSES, ClassSplit
from risctl.systems.base import Found, Output, System
from risctl.systems.zsi_regions import Question, RegionFeatures, Regions
from risctl.systems.zsi_targets import Instances, mask_targets, sample_anchors, sample_regions
from risctl.vision import rle

STRIDES = (4, 8, 16, 32, 64)
_POOLED_LEVELS = 4
_LARGEST_STRIDE = 32


class ZSI(System):
    """A picture and class names to instances, or a picture and a phrase to the mask of what it means.

    A class is a word vector, so any word with a vector can be asked for. Of a phrase the head noun is looked for, and
    among what is found the words of place choose. Logits have the input's size; `scores` are those of the chosen
    detection.
    """

    learns_things = True
    class_split: ClassSplit
    seen: Tensor
    unseen: Tensor

    def __init__(
        self,
        *,
        preprocess: Preprocess,
        visual: nn.Module,
        visual_channels: Sequence[int],
        channels: int,
        rpn: BackgroundRPN,
        box_head: SemanticBoxHead,
        mask_head: SemanticMaskHead,
        text: AskedWord,
        seen: Tensor,
        unseen: Tensor,
        conventions: Conventions,
        proposing: Proposing,
        mask_background_sync: Literal["always", "never", "generalised"] = "always",
        unseen_boxes: Literal["nearest", "reference"] = "nearest",
        classes: ClassSplit | None = None,
    ) -> None:
        """Compose it.

        visual_channels: of the trunk's four maps; channels: of the pyramid's; seen (K + 1, D), unseen (U + 1, D): word
        vectors of the split's classes after background's; classes: their names.
        """
        super().__init__()
        self.preprocess = preprocess
        self.visual = visual
        self.neck = FeaturePyramidNetwork(list(visual_channels), channels, extra_blocks=LastLevelMaxPool())
        self.rpn = rpn
        self.box_head = box_head
        self.mask_head = mask_head
        self.text = text
        self.register_buffer("seen", seen)
        self.register_buffer("unseen", unseen)
        self.conventions = conventions
        self.proposing = proposing
        self.detecting = Detecting()
        self.mask_background_sync = mask_background_sync
        self.unseen_boxes = unseen_boxes
        self.class_split = classes or ClassSplit(seen=(), unseen=())
        ids = {name: number for number, name in CLASSES.items()}
        self._labels = {ids[name]: label for label, name in enumerate(self.class_split.seen, start=1)}

    def encode_image(self, images: Tensor, padding: Tensor) -> RegionFeatures:
        """Propose regions in images (B, 3, H, W) with padding (B, H, W), each picture in an input of its own size."""
        regions = tuple(
            self.propose(maps, height=height, width=width) for maps, height, width in self._seen_maps(images, padding)
        )
        return RegionFeatures(maps=(), strides=STRIDES, padding=padding, regions=regions)

    def encode_text(self, words: Tensor, word_mask: Tensor) -> TextFeatures:
        """Read word ids (B, L) with mask (B, L)."""
        return self.text(words, word_mask)

    def decode(self, visual: VisualFeatures, text: TextFeatures) -> Output:
        """Join N images with N texts, row by row. In training nothing is decoded: the logits are zeros."""
        if not isinstance(visual, RegionFeatures):
            raise TypeError(f"expected what encode_image gave; got {type(visual).__name__}")
        extras = {"regions": visual.regions, "asked": text.sentence}
        if self.training:
            return Output(logits=torch.zeros_like(visual.padding, dtype=torch.float32), extras=extras)
        found = [
            self._answer(regions, asked, padding)
            for regions, asked, padding in zip(visual.regions, text.sentence, visual.padding, strict=True)
        ]
        return Output(
            logits=torch.stack([logits for logits, _ in found]),
            scores=torch.stack([score for _, score in found]).clamp(0, 1),
            extras=extras,
        )

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Return the terms of the proposals, the regions and their masks, the mean over the pictures.

        Things of unseen classes, and of none, are not learned from: training pictures should show none. Of a batch
        without things, each phrase's target is the one thing, of the seen class most like the phrase's noun.
        """
        terms: dict[str, list[Tensor]] = {}
        for row, regions in enumerate(output.extras["regions"]):
            instances = self._instances(row, regions, output.extras["asked"][row], batch)
            for name, value in self._picture_loss(regions, instances).items():
                terms.setdefault(name, []).append(value)
        return {name: torch.stack(values).mean() for name, values in terms.items()}

    @property
    def background(self) -> Tensor:
        """v_b (D,), without gradient."""
        return self.rpn.background.detach()

    def propose(self, maps: Sequence[Tensor], *, height: int, width: int) -> Regions:
        """Return the regions of one picture by its trunk's four maps (1, C_i, H_i, W_i)."""
        named = self.neck({str(level): one for level, one in enumerate(maps)})
        pyramid = tuple(named.values())
        logits, deltas = self.rpn(pyramid)
        proposals = self.proposing(
            [one[0] for one in logits],
            [one[0] for one in deltas],
            self.conventions.anchors(pyramid, STRIDES),
            conventions=self.conventions,
            height=height,
            width=width,
        )
        boxes = None if self.training else self.compare(pyramid, proposals.corners)
        return Regions(
            maps=pyramid,
            logits=tuple(one[0] for one in logits),
            deltas=tuple(one[0] for one in deltas),
            height=height,
            width=width,
            corners=proposals.corners,
            scores=proposals.scores,
            boxes=boxes,
        )

    def pool(self, maps: Sequence[Tensor], corners: Tensor, size: int) -> Tensor:
        """Return features (N, C, size, size) of regions (N, 4) of one picture's maps."""
        own = torch.zeros(len(corners), dtype=torch.int64, device=corners.device)
        return self.conventions.pool(maps[:_POOLED_LEVELS], STRIDES[:_POOLED_LEVELS], corners, own, size)

    def compare(self, maps: Sequence[Tensor], corners: Tensor) -> SemanticBoxes:
        """Return what the box head says of regions (N, 4)."""
        return self.box_head(self.pool(maps, corners, BOX_POOLED), with_background(self.seen, self.background))

    def look(self, maps: Sequence[Tensor], corners: Tensor) -> SemanticMasks:
        """Return what the mask head sees in regions (N, 4)."""
        return self.mask_head(self.pool(maps, corners, MASK_POOLED))

    def mask_vectors(self, vectors: Tensor, *, generalised: bool) -> Tensor:
        """Return class vectors (U + 1, D) as the mask head compares with them."""
        synced = self.mask_background_sync == "always" or (self.mask_background_sync == "generalised" and generalised)
        return with_background(vectors, self.background if synced else None)

    def ask_split(self) -> tuple[Question, Question]:
        """Return the questions for the split's seen and unseen classes."""
        device = self.seen.device
        seen = Question(vectors=self.seen, box_classes=torch.arange(1, len(self.seen), device=device))
        if self.unseen_boxes == "nearest":
            return seen, self.ask(self.unseen[1:])
        classes = torch.arange(1, len(self.unseen), device=device).clamp(max=len(self.seen) - 1)
        return seen, Question(vectors=self.unseen, box_classes=classes)

    def ask(self, vectors: Tensor) -> Question:
        """Return the question for any classes, by their word vectors (U, D)."""
        return Question(vectors=torch.cat([self.seen[:1], vectors]), box_classes=self._nearest(vectors))

    def classify(self, boxes: SemanticBoxes, question: Question) -> Tensor:
        """Return scores (R, U + 1) of what is asked, the first for background."""
        return boxes.of_classes(
            with_background(self.seen, self.background), with_background(question.vectors, self.background)
        )

    def detect(
        self, regions: Regions, question: Question, *, scale: float = 1.0, detecting: Detecting | None = None
    ) -> Detections:
        """Return what is found of the classes asked for, boxes in input pixels divided by `scale`."""
        if regions.boxes is None:
            raise ValueError("expected features of evaluation mode; call eval() first")
        scores = self.classify(regions.boxes, question)[:, 1:]
        corners = self.conventions.decode(
            regions.corners[:, None],
            take_deltas(regions.boxes.deltas, question.box_classes),
            deviations=DEVIATIONS,
            height=regions.height,
            width=regions.width,
        )
        return (detecting or self.detecting)(corners / scale, scores, conventions=self.conventions)

    @torch.no_grad()
    def find(self, visual: VisualFeatures, names: Sequence[str], *, geometry: Geometry, score: float) -> list[Found]:
        """Return what is found of classes by name in the one picture of `visual`, best first, 100 at most."""
        if not isinstance(visual, RegionFeatures):
            raise TypeError(f"expected what encode_image gave; got {type(visual).__name__}")
        question, regions = self._ask_names(names), visual.regions[0]
        found = self.detect(regions, question, detecting=replace(self.detecting, score=score))
        ratio = found.boxes.new_tensor([geometry.width / regions.width, geometry.height / regions.height] * 2)
        listed = []
        # One at a time: masks have the picture's size.
        for box, certainty, label in zip(found.boxes, found.scores.tolist(), found.labels, strict=True):
            masks, name = self.look(regions.maps, box[None]), names[int(label)]
            known = name in self.class_split.seen
            asked = label.new_tensor([self.class_split.seen.index(name)]) if known else label[None]
            square = self.masks_of(masks, asked, question, of_seen=known, generalised=True).sigmoid()
            own = box * ratio
            mask = paste(square, own[None], height=geometry.height, width=geometry.width, conventions=self.conventions)[
                0
            ]
            left, top, right, bottom = own.tolist()
            listed.append(
                Found(
                    name=name,
                    score=min(max(certainty, 0.0), 1.0),
                    box=(left, top, right - left, bottom - top),
                    segmentation=rle.encode((mask > 0.5).cpu().numpy()),
                )
            )
        return listed

    def vectors_of(self, names: Sequence[str]) -> Tensor:
        """Return the word vectors (N, D) of classes by name, several words as their mean.

        Raises `UsageError` for a name none of whose words has a vector.
        """
        own = (*self.class_split.seen, *self.class_split.unseen)
        of_classes = torch.cat([self.seen[1:], self.unseen[1:]])
        return torch.stack(
            [of_classes[own.index(name)] if name in own else self.text.vector_of(name) for name in names]
        )

    def _ask_names(self, names: Sequence[str]) -> Question:
        question = self.ask(self.vectors_of(names))
        if self.unseen_boxes == "reference":
            of_split = self.ask_split()[1].box_classes
            for place, name in enumerate(names):
                if name in self.class_split.unseen:
                    question.box_classes[place] = of_split[self.class_split.unseen.index(name)]
        return question

    def masks_of(
        self, masks: SemanticMasks, labels: Tensor, question: Question, *, of_seen: bool, generalised: bool
    ) -> Tensor:
        """Return logits (N, 28, 28) of the classes labels (N,), from 0, of `question`."""
        seen = self.mask_vectors(self.seen, generalised=generalised)
        if of_seen:
            logits = masks.of_seen(seen)
        else:
            logits = masks.of_classes(seen, self.mask_vectors(question.vectors, generalised=generalised))
        return logits[torch.arange(len(labels), device=labels.device), labels + 1]

    def _nearest(self, vectors: Tensor) -> Tensor:
        """Return which seen class, 1 to K, is most like each of vectors (U, D)."""
        ours = functional.normalize(self.seen[1:], dim=1)
        return (functional.normalize(vectors, dim=1) @ ours.T).argmax(1) + 1

    def _seen_maps(self, images: Tensor, padding: Tensor) -> list[tuple[tuple[Tensor, ...], int, int]]:
        """Return the trunk's maps, height and width of each picture, which lies at the top left of its input."""
        spans = []
        for hidden in padding:
            height, width = int((~hidden).any(1).sum()), int((~hidden).any(0).sum())
            spans.append((height, width, _whole(height), _whole(width)))
        if self.training:
            # Norms that learn take their statistics from the whole batch.
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
            # In the larger input of another picture, convolutions would see other things beyond the border.
            image, hidden = images[row : row + 1, :, :bottom, :right], padding[row : row + 1, :bottom, :right]
            seen.append((self.visual(image, hidden).maps, height, width))
        return seen

    @torch.no_grad()
    def _answer(self, regions: Regions, asked: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (H, W) of an input with padding (H, W), and the score, of what a phrase means."""
        dim = self.seen.shape[1]
        question = self.ask(asked[None, :dim])
        found = self.detect(regions, question, detecting=Detecting(score=float("-inf"), most=20))
        height, width = padding.shape
        chosen = choose_by_place(found.boxes, found.scores, asked[dim:], height=regions.height, width=regions.width)
        box = found.boxes[chosen][None]
        masks = self.look(regions.maps, box)
        squares = self.masks_of(
            masks, torch.zeros(1, dtype=torch.int64, device=box.device), question, of_seen=False, generalised=True
        ).sigmoid()
        laid = paste(squares, box, height=height, width=width, conventions=self.conventions)[0]
        return mask_logits(laid.masked_fill(padding, 0)), found.scores[chosen]

    def _instances(self, row: int, regions: Regions, asked: Tensor, batch: Batch) -> Instances:
        """Return what there is to find in the picture `row` of `batch`."""
        if batch.things is not None:
            things = batch.things[row]
            labels = things.categories.new_tensor([self._labels.get(one, 0) for one in things.categories.tolist()])
            seen = labels > 0
            return Instances.of_masks(things.masks[seen][:, : regions.height, : regions.width], labels[seen])
        if batch.targets is None:
            raise ValueError("expected a batch with things or targets")
        target = batch.targets[row, : regions.height, : regions.width]
        return Instances.of_masks(target[None] > 0.5, self._nearest(asked[None, : self.seen.shape[1]]))

    def _picture_loss(self, regions: Regions, instances: Instances) -> dict[str, Tensor]:
        terms = sample_anchors(
            regions.logits,
            regions.deltas,
            self.conventions.anchors(regions.maps, STRIDES),
            instances,
            conventions=self.conventions,
            height=regions.height,
            width=regions.width,
        ).losses()
        sampled = sample_regions(regions.corners, instances, conventions=self.conventions, deviations=DEVIATIONS)
        terms |= sampled.losses(self.compare(regions.maps, sampled.corners))
        masks = self.look(regions.maps, sampled.corners[sampled.inside])
        logits = masks.of_seen(self.mask_vectors(self.seen, generalised=False))
        return terms | mask_targets(sampled, instances, size=logits.shape[-1]).losses(masks, logits)


def _whole(side: int) -> int:
    return -(-side // _LARGEST_STRIDE) * _LARGEST_STRIDE
