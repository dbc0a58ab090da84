"""Defines ReferFormer: language as queries for referring video object segmentation (Wu et al., CVPR 2022).

Follows the published code (wjn922/ReferFormer, 06fc218), with which the parity cases compare. An image is a clip of one
frame.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.encoders.base import TextFeatures, VisualFeatures, padding_at
from risctl.core.fusion.cross_modal import EarlyFusion
from risctl.core.fusion.cross_modal_fpn import CrossModalFPN
from risctl.core.fusion.deformable_transformer import DecoderOutput, DeformableTransformer
from risctl.core.fusion.sine_position import sine_position_2d
from risctl.core.heads.dynamic_mask import DynamicMaskHead
from risctl.core.losses.boxes import cxcywh_to_xyxy, masks_to_cxcywh
from risctl.core.losses.clip_queries import WEIGHTS, ClipPredictions, ClipTargets, layer_losses
from risctl.data.batch import Batch, Preprocess
from risctl.errors import UsageError
from risctl.results import Prediction
from risctl.systems.base import Output
from risctl.systems.cacheable import FeatureCacheable
from risctl.systems.exportable import ClipGraphs
from risctl.systems.referformer.explain import QueriesOverTime, explain_queries
from risctl.systems.referformer.export import clip_graphs
from risctl.vision.geometry import Geometry

STRIDE = 4
"""Input pixels per cell of the masks."""

_TRAINING_MULTIPLE = 32
"""Training inputs are padded to multiples of it, as published."""


class ReferFormer(FeatureCacheable):
    """Segments the object that an expression refers to in every frame of a clip.

    The sentence embedding, repeated, initialises a few object queries; each query follows one object through the frames
    and generates the dynamic convolutions that segment it. The query with the highest class score, averaged over the
    frames, is the answer. Logits have a quarter of the input's size: (B, h, w) of images,
    (B, T, h, w) of clips; boxes are (B, 4) or (B, T, 4), in shares of the image.

    Maps of an output, in evaluation mode only: "query_scores" (B, T, Q), "query_boxes" (B, T, Q, 4) and "query_masks"
    (B, T, Q, h, w), probabilities.
    """

    padding_changes_features = True

    explanation_kind = "queries"

    def __init__(
        self,
        *,
        preprocess: Preprocess,
        visual: nn.Module,
        text: nn.Module,
        projections: nn.ModuleList,
        fusion: EarlyFusion,
        transformer: DeformableTransformer,
        pyramid: CrossModalFPN,
        classes: nn.ModuleList,
        boxes: nn.ModuleList,
        mask_head: DynamicMaskHead,
        queries: int,
        hidden: int,
        box_refinement: bool = True,
        auxiliary_losses: bool = True,
        loss_weights: Mapping[str, float] = WEIGHTS,
        match_weights: Mapping[str, float] = WEIGHTS,
        centre_only: bool = False,
        window: int = 1,
    ) -> None:
        """Composes the model.

        Args:
            preprocess: Prepares images, expressions and masks.
            visual: The backbone, with four maps.
            text: The text encoder.
            projections: Project the three coarser maps, and the coarsest once more, to `hidden` channels.
            fusion: Fuses each map with the words.
            transformer: The deformable transformer.
            pyramid: The cross-modal feature pyramid.
            classes: A class head per decoder layer; a single one serves all.
            boxes: A box head per decoder layer; a single one serves all.
            mask_head: The dynamic mask head.
            queries: The number of object queries.
            hidden: The width of the transformer.
            box_refinement: Whether each decoder layer refines the boxes of the one before.
            auxiliary_losses: Whether every decoder layer is trained, or the last alone.
            loss_weights: Weights of the losses, by their names.
            match_weights: Weights of the costs by which queries are matched.
            centre_only: Whether to decode only the middle frame of a clip, or the annotated one.
            window: Frames around a single annotated one that the backbone is given when predicting.
        """
        super().__init__()
        self.preprocess = preprocess
        self.visual = visual
        self.text = text
        self.projections = projections
        self.fusion = fusion
        self.transformer = transformer
        self.pyramid = pyramid
        self.classes = classes
        self.boxes = boxes
        self.mask_head = mask_head
        self.query_embedding = nn.Parameter(torch.randn(queries, hidden))
        self.hidden = hidden
        self.box_refinement = box_refinement
        self.auxiliary_losses = auxiliary_losses
        self.loss_weights = dict(loss_weights)
        self.match_weights = dict(match_weights)
        self.num_categories = _outputs(classes)
        self.centre_only = centre_only
        self.window = window
        # A model that decodes the middle frame alone is run frame by frame.
        self.takes_clips = not centre_only

    def encode_image(self, images: Tensor, padding: Tensor) -> VisualFeatures:
        """Encodes images (B, 3, H, W) or clips (B, T, 3, H, W) with padding (B, H, W).

        Returns:
            The backbone's map at stride 4 and the projected maps at strides 8 to 64.
        """
        if self.centre_only and images.ndim == 5:
            middle = torch.full((len(images),), images.shape[1] // 2, device=images.device)
            return self.encode_window(images, padding, middle)
        return super().encode_image(images, padding)

    def encode_window(self, images: Tensor, padding: Tensor, frame: Tensor) -> VisualFeatures:
        """Encodes clips (B, T, 3, H, W) with padding (B, H, W); the features are of the frames `frame` (B,) alone."""
        features = self.visual(*self.before_backbone(images, padding))
        rows = torch.arange(frame.shape[0], device=frame.device)
        maps = tuple(feature_map[rows, frame][:, None] for feature_map in features.maps)
        return self.after_backbone(replace(features, maps=maps))

    def forward(self, batch: Batch) -> Output:
        """Returns the output for each pair of `batch`; of clips with one annotated frame, for that frame."""
        if batch.annotated is None:
            return super().forward(batch)
        visual = self.encode_window(batch.images, batch.padding, batch.annotated)
        return self.decode(visual, self.encode_text(batch.words, batch.word_mask))

    def before_backbone(self, images: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        """Returns images and padding, padded to multiples of 32 while training, as the published code does."""
        return _padded(images, padding) if self.training else (images, padding)

    def after_backbone(self, features: VisualFeatures) -> VisualFeatures:
        """Returns what `encode_image` makes of the backbone's maps."""
        return self.project(features)

    def project(self, features: VisualFeatures) -> VisualFeatures:
        """Returns the backbone's features with all maps but the finest projected, and one more, twice as coarse."""
        finest, *coarser = features.maps
        sources = [*coarser, coarser[-1]]
        projected = [_per_frame(project, source) for project, source in zip(self.projections, sources, strict=True)]
        return VisualFeatures(maps=(finest, *projected), strides=(4, 8, 16, 32, 64), padding=features.padding)

    def encode_text(self, words: Tensor, word_mask: Tensor) -> TextFeatures:
        """Encodes token ids (B, L) with mask (B, L)."""
        return self.text(words, word_mask)

    def decode(self, visual: VisualFeatures, text: TextFeatures) -> Output:
        """Segments N clips by N expressions, row by row."""
        return self.decode_layers(visual, text, every=self.training and self.auxiliary_losses)

    def decode_layers(self, visual: VisualFeatures, text: TextFeatures, *, every: bool) -> Output:
        """Decodes as `decode` does; `every`: whether to predict from every decoder layer, for the loss, or the last."""
        single = visual.maps[0].ndim == 4
        clips = [feature_map[:, None] if single else feature_map for feature_map in visual.maps]
        batch, frames = clips[0].shape[:2]
        padding = visual.padding
        paddings = [padding_at(padding, height=clip.shape[3], width=clip.shape[4]) for clip in clips]
        positions = [self.position(one) for one in paddings]
        fused = [self.fusion(clip, text).flatten(0, 1) for clip in clips[1:]]
        memory = self.transformer.encode(
            fused,
            [_each_frame(one, frames) for one in paddings[1:]],
            [_each_frame(position, frames) for position in positions[1:]],
        )
        queries = _each_frame(text.sentence, frames)[:, None].expand(-1, len(self.query_embedding), -1)
        layers = len(self.transformer.decoder)
        boxes = [_of_layer(self.boxes, number) for number in range(layers)]
        decoded = self.transformer.decode(queries, self.query_embedding, memory, boxes, refine=self.box_refinement)
        encoded = [feature_map.unflatten(0, (batch, frames)) for feature_map in memory.maps()[:3]]
        inputs = ([clips[0], *encoded], positions[:4], paddings[:4], text)
        draw: Callable[[Tensor, Tensor], Tensor]
        if every:
            draw = partial(self.mask_head, self.pyramid(*inputs).flatten(0, 1))
        else:
            # The masks of all layers share the features; for one layer alone it is cheaper not to compute them.
            draw = partial(self.mask_head.forward_with_projection, self.pyramid.out, self.pyramid.mix(*inputs))
        own = torch.stack([(~padding[:, 0]).sum(1), (~padding[:, :, 0]).sum(1)], dim=1)  # (B, 2): width, height
        chosen = range(0 if every else layers - 1, layers)
        return self._answer(tuple(self._predicted(decoded, number, draw, own) for number in chosen), single=single)

    def position(self, padding: Tensor) -> Tensor:
        """Returns the position encoding (B, C, h, w) of a map with padding (B, h, w)."""
        return sine_position_2d(padding, channels=self.hidden)

    def explain(self, frames: Sequence[Prediction]) -> QueriesOverTime:
        """Returns what there is to show of a prediction that was made."""
        return explain_queries(frames)

    def clip_graphs(self) -> ClipGraphs:
        """Returns the system's halves. See `ExportableClips.clip_graphs`."""
        visual: Any = self.visual
        preprocess: Any = self.preprocess
        return clip_graphs(
            self,
            channels=(visual.channels[0], *[self.hidden] * len(self.projections)),
            queries=len(self.query_embedding),
            most_tokens=preprocess.max_words,
            apart=self.centre_only,
            windowed=getattr(visual, "video", False),
        )

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns the weighted terms "class", "box", "giou", "mask" and "dice" over all decoder layers of `output`."""
        if batch.targets is None:
            raise ValueError("expected a batch with targets")
        layers = output.extras["layers"]
        targets = batch.targets if batch.targets.ndim == 4 else batch.targets[:, None]
        if self.centre_only and targets.shape[1] > 1:  # of clips whose frames are all annotated
            middle = targets.shape[1] // 2
            targets = targets[:, middle : middle + 1]
            batch = replace(batch, boxes=None if batch.boxes is None else batch.boxes[:, middle : middle + 1])
        boxes = batch.boxes if batch.boxes is None or batch.boxes.ndim == 3 else batch.boxes[:, None]
        clip_target = clip_targets(targets, batch.row_padding, boxes=boxes, like=layers[0].masks)
        if self.num_categories > 1:
            clip_target = replace(clip_target, labels=self._labels(batch))
        return layer_losses(layers, clip_target, weights=self.loss_weights, match_weights=self.match_weights)

    @torch.no_grad()
    def predict(
        self, output: Output, *, geometries: Sequence[Geometry], texts: Sequence[str], threshold: float
    ) -> list[Prediction]:
        """Turns an output into one prediction per row, at the size of each image. See `System.predict`.

        As published, the logits, not the probabilities, are resized to the image.
        """
        logits = output.logits.float()
        whole = []
        for row, geometry in enumerate(geometries):
            height, width = geometry.padding().shape
            own = logits[row : row + 1, : -(-height // STRIDE), : -(-width // STRIDE)]
            whole.append(geometry.invert(own))
        predictions = []
        for row, (geometry, text) in enumerate(zip(geometries, texts, strict=True)):
            single = Output(
                logits=whole[row],
                scores=None if output.scores is None else output.scores[row : row + 1],
                maps={name: values[row : row + 1] for name, values in output.maps.items()},
            )
            full_size = _FullSize(height=whole[row].shape[1], width=whole[row].shape[2])
            [prediction] = super().predict(single, geometries=[full_size], texts=[text], threshold=threshold)
            box = None if output.boxes is None or output.boxes.ndim != 2 else _pixels(output.boxes[row], whole[row])
            predictions.append(replace(prediction, geometry=geometry, predicted_box=box))
        return predictions

    def _labels(self, batch: Batch) -> Tensor:
        """Returns the category id (B,) of each referred object, as COCO's 91 ids count."""
        numbers = [None if identity is None else identity.category_id for identity in batch.ids]
        if any(number is not None and not 0 <= number < self.num_categories for number in numbers):
            raise UsageError(
                f"expected categories numbered below {self.num_categories}, got {max(filter(None, numbers))}"
            )
        # Without a referred object no frame is valid, and no class is learned.
        return torch.tensor([number or 0 for number in numbers], device=batch.images.device)

    def _predicted(
        self, decoded: DecoderOutput, number: int, draw: Callable[[Tensor, Tensor], Tensor], own: Tensor
    ) -> ClipPredictions:
        states = decoded.states[number]
        batch, frames = own.shape[0], states.shape[0] // own.shape[0]
        centres = decoded.centres[number] * _each_frame(own, frames)[:, None]
        masks = draw(states, centres)
        return ClipPredictions(
            classes=_of_layer(self.classes, number)(states).unflatten(0, (batch, frames)),
            boxes=decoded.boxes[number].unflatten(0, (batch, frames)),
            masks=masks.unflatten(0, (batch, frames)),
        )

    def select_query(self, output: Output, query: Tensor) -> Output:
        """Returns `output` with the queries `query` (B,) as answers."""
        return self._answer(output.extras["layers"], single=output.logits.ndim == 3, chosen=query)

    def _answer(self, layers: tuple[ClipPredictions, ...], *, single: bool, chosen: Tensor | None = None) -> Output:
        last = layers[-1]
        probabilities = last.classes.sigmoid()  # (B, T, Q, K)
        # Of several classes, each query takes the one with the highest mean score over all frames.
        label = probabilities.mean(1, keepdim=True).argmax(-1, keepdim=True)
        scores = probabilities.gather(-1, label.expand(-1, probabilities.shape[1], -1, -1))[..., 0]  # (B, T, Q)
        mean = scores.mean(1)
        if chosen is None:
            chosen = mean.argmax(1)
        rows = torch.arange(chosen.shape[0], device=chosen.device)
        score = mean[rows, chosen]
        logits, boxes = last.masks[rows, :, chosen], cxcywh_to_xyxy(last.boxes[rows, :, chosen])
        maps = {}
        if not self.training:
            maps = {"query_scores": scores, "query_boxes": last.boxes, "query_masks": last.masks.sigmoid()}
        return Output(
            logits=logits[:, 0] if single else logits,
            scores=score,
            boxes=boxes[:, 0] if single else boxes,
            maps=maps,
            extras={"layers": layers},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _FullSize:
    """The geometry of maps that have the image's size already."""

    height: int
    width: int

    def padding(self) -> Tensor:
        return torch.zeros((self.height, self.width), dtype=torch.bool)

    def invert(self, maps: Tensor) -> Tensor:
        return maps


def clip_targets(masks: Tensor, padding: Tensor, *, like: Tensor, boxes: Tensor | None = None) -> ClipTargets:
    """Returns the training targets of clips.

    As published, each cell is compared with one pixel, the third of its four in rows and columns.

    Args:
        masks: (B, T, H, W) in [0, 1], at the input's size.
        padding: Bool (B, H, W).
        like: Predicted masks (B, T, Q, h, w).
        boxes: (B, T, 4), centre and size as fractions of each image, zeros where nothing is seen; None: the boxes of
            the masks.
    """
    height, width = like.shape[3] * STRIDE, like.shape[4] * STRIDE
    whole = functional.pad(masks, (0, width - masks.shape[3], 0, height - masks.shape[2]))
    shown = masks > 0.5
    rows, columns = (~padding[:, :, 0]).sum(1), (~padding[:, 0]).sum(1)
    extent = torch.stack([columns, rows, columns, rows], dim=1)[:, None]
    return ClipTargets(
        masks=whole[..., STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE],
        boxes=masks_to_cxcywh(shown) / extent if boxes is None else boxes.to(masks.dtype),
        valid=shown.flatten(2).any(2) if boxes is None else boxes.any(2),
        labels=torch.zeros(len(masks), dtype=torch.int64, device=masks.device),
    )


def _outputs(classes: nn.ModuleList) -> int:
    head = classes[0]
    assert isinstance(head, nn.Linear)
    return head.out_features


def _pixels(corners: Tensor, image: Tensor) -> tuple[float, float, float, float]:
    """Returns a box (4,) xyxy, in shares of an image (1, H, W), as x, y, width and height in its pixels."""
    height, width = image.shape[-2:]
    left, top, right, bottom = corners.float().tolist()
    return left * width, top * height, (right - left) * width, (bottom - top) * height


def _of_layer(heads: nn.ModuleList, number: int) -> nn.Module:
    return heads[min(number, len(heads) - 1)]


def _each_frame(rows: Tensor, frames: int) -> Tensor:
    """Repeats what clips (B, ...) have for each of their frames, (B * T, ...)."""
    return rows[:, None].repeat(1, frames, *[1] * (rows.ndim - 1)).flatten(0, 1)


def _per_frame(module: nn.Module, maps: Tensor) -> Tensor:
    if maps.ndim == 4:
        return module(maps)
    return module(maps.flatten(0, 1)).unflatten(0, tuple(maps.shape[:2]))


def _padded(images: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
    below, right = (-side % _TRAINING_MULTIPLE for side in padding.shape[-2:])
    return functional.pad(images, (0, right, 0, below)), functional.pad(padding, (0, right, 0, below), value=True)
