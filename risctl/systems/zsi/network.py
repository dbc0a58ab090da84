"""Composes the network of ZSI: backbone, region proposals, box head and mask head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from risctl.core.encoders.text.query_word import QueryWordEmbedding
from risctl.core.fusion.background_sync import with_background
from risctl.core.heads.background_rpn import BackgroundRPN, ProposalFilter
from risctl.core.heads.box_conventions import BoxConvention
from risctl.core.heads.class_detections import DetectionFilter, Detections
from risctl.core.heads.semantic_box import POOLED as BOX_POOLED
from risctl.core.heads.semantic_box import STDS, SemanticBoxes, SemanticBoxHead, select_deltas
from risctl.core.heads.semantic_mask import POOLED as MASK_POOLED
from risctl.core.heads.semantic_mask import SemanticMaskHead, SemanticMasks
from risctl.data.batch import Preprocess
from risctl.language.coco_classes import CLASSES, ClassSplit
from risctl.systems.base import System
from risctl.systems.zsi.regions import CategoryQuery, Regions

STRIDES = (4, 8, 16, 32, 64)
_POOLED_LEVELS = 4


class ZSINetwork(System):
    """The backbone, the proposals and both heads of ZSI, queried for categories by word vectors."""

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
        text: QueryWordEmbedding,
        seen: Tensor,
        unseen: Tensor,
        conventions: BoxConvention,
        proposing: ProposalFilter,
        training_proposing: ProposalFilter | None = None,
        border_anchors: bool = False,
        loss_pooling: Literal["batch", "image"] = "batch",
        learned_regions: int = 512,
        learned_masks: int | None = None,
        box_background_sync: bool = True,
        mask_background_sync: Literal["always", "never", "generalised"] = "always",
        unseen_boxes: Literal["nearest", "reference"] = "nearest",
        classes: ClassSplit | None = None,
    ) -> None:
        """Composes the network.

        Args:
            preprocess: Prepares images, expressions and masks.
            visual: The backbone.
            visual_channels: Channels of its four maps.
            channels: Channels of the feature pyramid.
            rpn: The background-aware region proposal network.
            box_head: The semantic box head.
            mask_head: The semantic mask head.
            text: Embeds words and reads the head noun of expressions.
            seen: (K + 1, D), word vectors of the seen categories after that of the background.
            unseen: (U + 1, D), the same of the unseen ones.
            conventions: What a box is.
            proposing: Selects proposals.
            training_proposing: Selects them in training; None: as otherwise.
            border_anchors: Whether anchors that reach across the image's border are trained.
            loss_pooling: Over what the losses are means: all samples of a batch, or those of each image first.
            learned_regions: Regions per image that the heads are trained on.
            learned_masks: How many of them at most train the mask head; None: all that match an instance.
            box_background_sync: Whether the box head takes its background vector from the proposals.
            mask_background_sync: When the mask head takes its background vector from the proposals.
            unseen_boxes: Whose boxes unseen categories get.
            classes: The names of the categories.
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
        self.training_proposing = training_proposing or proposing
        self.border_anchors = border_anchors
        self.loss_pooling = loss_pooling
        self.learned_regions = learned_regions
        self.learned_masks = learned_masks
        self.detecting = DetectionFilter()
        self.box_background_sync = box_background_sync
        self.mask_background_sync = mask_background_sync
        self.unseen_boxes = unseen_boxes
        self.class_split = classes or ClassSplit(seen=(), unseen=())
        ids = {name: number for number, name in CLASSES.items()}
        self._labels = {ids[name]: label for label, name in enumerate(self.class_split.seen, start=1)}

    @property
    def background(self) -> Tensor | None:
        """v_b (D,), without gradient; None if the proposals learn none."""
        learned = self.rpn.background
        return None if learned is None else learned.detach()

    def box_vectors(self, vectors: Tensor) -> Tensor:
        """Returns class vectors (U + 1, D) as the box head compares with them."""
        return with_background(vectors, self.background if self.box_background_sync else None)

    def propose(self, maps: Sequence[Tensor], *, height: int, width: int) -> Regions:
        """Proposes regions in one image, given the backbone's four maps (1, C_i, H_i, W_i)."""
        named = self.neck({str(level): one for level, one in enumerate(maps)})
        pyramid = tuple(named.values())
        logits, deltas = self.rpn(pyramid)
        select = self.training_proposing if self.training else self.proposing
        proposals = select(
            [logit[0] for logit in logits],
            [delta[0] for delta in deltas],
            self.conventions.anchors(pyramid, STRIDES),
            conventions=self.conventions,
            height=height,
            width=width,
        )
        boxes = None if self.training else self.compare(pyramid, proposals.corners)
        return Regions(
            maps=pyramid,
            logits=tuple(logit[0] for logit in logits),
            deltas=tuple(delta[0] for delta in deltas),
            height=height,
            width=width,
            corners=proposals.corners,
            scores=proposals.scores,
            boxes=boxes,
        )

    def pool(self, maps: Sequence[Tensor], corners: Tensor, size: int) -> Tensor:
        """Returns pooled features (N, C, size, size) of regions (N, 4) in one image's maps."""
        own = torch.zeros(len(corners), dtype=torch.int64, device=corners.device)
        return self.conventions.pool(maps[:_POOLED_LEVELS], STRIDES[:_POOLED_LEVELS], corners, own, size)

    def compare(self, maps: Sequence[Tensor], corners: Tensor) -> SemanticBoxes:
        """Returns the box head's predictions for regions (N, 4)."""
        return self.box_head(self.pool(maps, corners, BOX_POOLED), self.box_vectors(self.seen))

    def look(self, maps: Sequence[Tensor], corners: Tensor) -> SemanticMasks:
        """Returns the mask head's features of regions (N, 4)."""
        return self.mask_head(self.pool(maps, corners, MASK_POOLED))

    def mask_vectors(self, vectors: Tensor, *, generalised: bool) -> Tensor:
        """Returns class vectors (U + 1, D) as the mask head compares with them."""
        synced = self.mask_background_sync == "always" or (self.mask_background_sync == "generalised" and generalised)
        return with_background(vectors, self.background if synced else None)

    def query_split(self) -> tuple[CategoryQuery, CategoryQuery]:
        """Returns the queries for the split's seen and unseen categories."""
        device = self.seen.device
        seen = CategoryQuery(vectors=self.seen, box_classes=torch.arange(1, len(self.seen), device=device))
        if self.unseen_boxes == "nearest":
            return seen, self.query(self.unseen[1:])
        classes = torch.arange(1, len(self.unseen), device=device).clamp(max=len(self.seen) - 1)
        return seen, CategoryQuery(vectors=self.unseen, box_classes=classes)

    def query(self, vectors: Tensor) -> CategoryQuery:
        """Returns the query for any categories by their word vectors (U, D)."""
        return CategoryQuery(vectors=torch.cat([self.seen[:1], vectors]), box_classes=self.nearest_seen(vectors))

    def classify(self, boxes: SemanticBoxes, query: CategoryQuery) -> Tensor:
        """Returns scores (R, U + 1) of the queried categories, the first for background."""
        return boxes.of_classes(self.box_vectors(self.seen), self.box_vectors(query.vectors))

    def detect_in(
        self, regions: Regions, query: CategoryQuery, *, scale: float = 1.0, detecting: DetectionFilter | None = None
    ) -> Detections:
        """Detects the queried categories in `regions`; boxes are in input pixels divided by `scale`."""
        if regions.boxes is None:
            raise ValueError("expected features of evaluation mode; call eval() first")
        scores = self.classify(regions.boxes, query)[:, 1:]
        corners = self.conventions.decode(
            regions.corners[:, None],
            select_deltas(regions.boxes.deltas, query.box_classes),
            stds=STDS,
            height=regions.height,
            width=regions.width,
        )
        return (detecting or self.detecting)(corners / scale, scores, conventions=self.conventions)

    def masks_of(
        self, masks: SemanticMasks, labels: Tensor, query: CategoryQuery, *, of_seen: bool, generalised: bool
    ) -> Tensor:
        """Returns mask logits (N, 28, 28) of the categories `labels` (N,), from 0, of the query."""
        seen = self.mask_vectors(self.seen, generalised=generalised)
        if of_seen:
            logits = masks.of_seen(seen)
        else:
            logits = masks.of_classes(seen, self.mask_vectors(query.vectors, generalised=generalised))
        return logits[torch.arange(len(labels), device=labels.device), labels + 1]

    def squares(
        self,
        regions: Regions,
        boxes: Tensor,
        *,
        labels: Tensor,
        labels_seen: Tensor,
        query: CategoryQuery,
        generalised: bool,
    ) -> Tensor:
        """Returns mask probabilities (N, 28, 28) in boxes (N, 4).

        Args:
            regions: The regions of the image.
            boxes: (N, 4), xyxy in input pixels.
            labels: (N,), categories of the query, from 0.
            labels_seen: (N,), the same as indices of seen categories, -1 for others; masks of seen categories are
                compared with their own vectors.
            query: The categories to score.
            generalised: Whether seen categories are queried as well.
        """
        masks, known = self.look(regions.maps, boxes), labels_seen >= 0
        logits = self.masks_of(masks, labels, query, of_seen=False, generalised=generalised)
        if known.any():
            own = self.masks_of(masks, labels_seen.clamp(min=0), query, of_seen=True, generalised=generalised)
            logits = torch.where(known[:, None, None], own, logits)
        return logits.sigmoid()

    def vectors_of(self, names: Sequence[str]) -> Tensor:
        """Returns the word vectors (N, D) of categories by name; several words have the mean of their vectors.

        Raises:
            UsageError: No word of a name has a vector.
        """
        own = (*self.class_split.seen, *self.class_split.unseen)
        of_classes = torch.cat([self.seen[1:], self.unseen[1:]])
        return torch.stack(
            [of_classes[own.index(name)] if name in own else self.text.vector_of(name) for name in names]
        )

    def query_names(self, names: Sequence[str]) -> CategoryQuery:
        """Returns the query for categories by name. Raises `UsageError` for a name without a vector."""
        query = self.query(self.vectors_of(names))
        if self.unseen_boxes == "reference":
            of_split = self.query_split()[1].box_classes
            for place, name in enumerate(names):
                if name in self.class_split.unseen:
                    query.box_classes[place] = of_split[self.class_split.unseen.index(name)]
        return query

    def nearest_seen(self, vectors: Tensor) -> Tensor:
        """Returns the index (U,), 1 to K, of the seen category closest to each of `vectors` (U, D)."""
        ours = functional.normalize(self.seen[1:], dim=1)
        return (functional.normalize(vectors, dim=1) @ ours.T).argmax(1) + 1
