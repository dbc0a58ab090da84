"""Defines ReLA: region-language attention for expressions with several targets or none (Liu et al., CVPR 2023).

Follows the published code (henghuiding/ReLA, 3ca9551), with which the parity cases compare. Modules say where the code
goes beyond the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.encoders.base import TextFeatures, VisualFeatures
from risctl.core.fusion.deformable_pixel_decoder import DeformablePixelDecoder, PixelFeatures
from risctl.core.fusion.language_backbone import LanguageBackbone
from risctl.core.fusion.region_decoder import RegionDecoder, RegionOutput
from risctl.core.losses.region_masks import WEIGHTS, region_losses
from risctl.data.batch import Batch, Preprocess
from risctl.results import Prediction
from risctl.systems.base import Output
from risctl.systems.cacheable import FeatureCacheable
from risctl.systems.exportable import ExportsMaps
from risctl.systems.rela.explain import RegionWeights, explain_regions
from risctl.vision.geometry import Geometry

_STRONGEST = 4
"""Regions whose own masks an output shows."""


class ReLA(FeatureCacheable, ExportsMaps):
    """Segments all that an expression refers to, or says that nothing is.

    A pixel decoder makes mask features of a backbone's maps. A hundred regions attend to their part of the image, to
    the words and to each other; each has a filter of the mask features, and its cell of the minimap says how much the
    filter counts (section 4 of the paper). With language gates the backbone reads the words after each stage. Logits,
    target against background, have a quarter of the input's size; `scores` are the probabilities that there is a
    target.

    Maps of an output, in evaluation mode only: "class_logits" (B, 2, H/4, W/4), of background and target; "minimap"
    (B, rows, columns), the probability of target in each region;
    "region_weights" (B, rows, columns), how each region's filter counts for the target against the background;
    "strongest" (B, 4), the regions with the largest weights, and "region_masks" (B, 4, H/4, W/4), their own masks.
    """

    explanation_kind = "regions"
    compares_at_input = True

    def __init__(
        self,
        *,
        preprocess: Preprocess,
        visual: nn.Module,
        text: nn.Module,
        pixel_decoder: DeformablePixelDecoder,
        region_decoder: RegionDecoder,
        grid: tuple[int, int],
        no_target_threshold: float = 0.5,
    ) -> None:
        """Composes the model.

        Args:
            preprocess: Prepares images, expressions and masks.
            visual: The backbone, with four maps; a `LanguageBackbone` reads the words.
            text: The text encoder.
            pixel_decoder: Decodes the backbone's maps.
            region_decoder: Decodes the regions.
            grid: Rows and columns of the regions.
            no_target_threshold: The score below which an answer is "none".
        """
        super().__init__()
        self.preprocess = preprocess
        self.visual = visual
        self.text = text
        self.pixel_decoder = pixel_decoder
        self.region_decoder = region_decoder
        self.grid = grid
        self.no_target_threshold = no_target_threshold

    def after_backbone(self, features: VisualFeatures) -> VisualFeatures:
        """Returns what `encode_image` makes of the backbone's features: decoded maps, unless it reads the words.

        Without language gates nothing before the region decoder depends on the expression: the maps are the mask
        features and the encoded levels, coarsest first.
        """
        if isinstance(self.visual, LanguageBackbone):
            return features
        pixels = self.pixel_decoder(features.maps)
        return replace(features, maps=(pixels.mask_features, *pixels.levels), strides=(4, 32, 16, 8))

    def encode_text(self, words: Tensor, word_mask: Tensor) -> TextFeatures:
        """Encodes token ids (B, L) with mask (B, L)."""
        features: TextFeatures = self.text(words, word_mask)
        return features

    def decode(self, visual: VisualFeatures, text: TextFeatures) -> Output:
        """Segments N images by N expressions, row by row."""
        pixels = self.pixels(visual, text)
        regions: RegionOutput = self.region_decoder(pixels, text.words)
        background, target = regions.mask_logits.unbind(1)
        return Output(
            logits=target - background,
            scores=regions.no_target.float().softmax(1)[:, 0],
            maps={} if self.training or torch.compiler.is_compiling() else self._maps(regions, pixels.mask_features),
            extras={"regions": regions},
        )

    def pixels(self, visual: VisualFeatures, text: TextFeatures) -> PixelFeatures:
        """Returns the pixel decoder's output for N images, read with N expressions where the backbone reads them."""
        if isinstance(self.visual, LanguageBackbone):
            decoded: PixelFeatures = self.pixel_decoder(self.visual.read(visual, text).maps)
            return decoded
        return PixelFeatures(mask_features=visual.maps[0], levels=visual.maps[1:])

    def explain(self, frames: Sequence[Prediction]) -> RegionWeights:
        """Returns what there is to show of a prediction that was made."""
        return explain_regions(frames[0])

    def loss(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """Returns the weighted terms "mask", "minimap" and "no_target" of the last layer."""
        if batch.targets is None:
            raise ValueError("expected a batch with targets")
        regions: RegionOutput = output.extras["regions"]
        terms = region_losses(
            regions.mask_logits,
            regions.minimap,
            regions.no_target,
            masks=batch.targets,
            absent=_absent(batch),
            grid=self.grid,
        )
        return {name: WEIGHTS[name] * term for name, term in terms.items()}

    @torch.no_grad()
    def predict(
        self, output: Output, *, geometries: Sequence[Geometry], texts: Sequence[str], threshold: float
    ) -> list[Prediction]:
        """Turns an output into one prediction per row, at the size of each image. See `System.predict`.

        As published, the logits of both classes are resized, not probabilities. The published code then compares the
        sigmoids of the two: where both are 1 in float32, the pixel is background, and it is so here. It keeps the mask
        of an answer "none" in its figures; the prediction has it as `uncleared`.
        """
        pairs = output.maps.get("class_logits")
        if pairs is None:  # only the difference of the two is known, as of a single map that is handed on
            pairs = torch.stack([torch.zeros_like(output.logits), output.logits], dim=1)
        predictions = []
        for row, (geometry, text) in enumerate(zip(geometries, texts, strict=True)):
            pair = pairs[row].float()
            size = tuple(geometry.padding().shape)
            full = functional.interpolate(pair[None], size=size, mode="bilinear", align_corners=False)[0]
            probability, at_input = (target_probability(one).cpu().numpy() for one in (geometry.invert(pair), full))
            made = self.prediction(
                output,
                row,
                probability=probability,
                at_input=at_input,
                geometry=geometry,
                text=text,
                threshold=threshold,
            )
            cleared = None if made.matched else (probability, at_input)
            predictions.append(replace(made, said_none=not made.matched, uncleared=cleared))
        return predictions

    def _maps(self, regions: RegionOutput, mask_features: Tensor) -> dict[str, Tensor]:
        minimap = regions.minimap.float()
        weights = minimap[..., 1] - minimap[..., 0]
        strongest = weights.topk(min(_STRONGEST, weights.shape[1]), dim=1).indices
        filters = regions.filters.take_along_dim(strongest[..., None], dim=1)
        return {
            "class_logits": regions.mask_logits,
            "minimap": weights.sigmoid().unflatten(1, self.grid),
            "region_weights": weights.unflatten(1, self.grid),
            "strongest": strongest,
            "region_masks": torch.einsum("brm,bmhw->brhw", filters, mask_features).sigmoid(),
        }


def target_probability(logits: Tensor) -> Tensor:
    """Returns the probability of target (H, W) of logits of background and target, (2, H, W).

    At most 0.5 where the sigmoid of the target is not larger than that of the background.
    """
    background, target = logits.unbind(0)
    probability = (target - background).sigmoid()
    return torch.where(target.sigmoid() > background.sigmoid(), probability, probability.clamp(max=0.5))


def _absent(batch: Batch) -> Tensor:
    """Returns which expressions have no target, bool (B,): those without an annotation, where the ids tell."""
    assert batch.targets is not None
    empty = ~batch.targets.flatten(1).any(1)
    told = [None if identity is None else identity.category_id is None for identity in batch.ids]
    known = torch.tensor([one is not None for one in told], device=empty.device)
    return torch.where(known, torch.tensor([bool(one) for one in told], device=empty.device), empty)
