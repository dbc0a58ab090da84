"""Global-Local CLIP (Yu et al., CVPR 2023): selects one of an image's mask proposals for an expression, untrained.

The published code encodes an image anew for each ref, crops in a loop, and encodes each text alone. Here an image is
encoded once for all its expressions, crops are sampled in one batch, batches have a bounded size, and with a shortlist
only the most promising proposals get local features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from risctl.core.encoders.clip import CLIP
from risctl.core.encoders.visual.clip_resnet import CLIPResNet
from risctl.core.encoders.visual.clip_vit import CLIPViT
from risctl.core.fusion import global_local

Method = Literal["global-local", "cropping", "region-token", "score-map", "gradcam"]
METHODS: tuple[Method, ...] = ("global-local", "cropping", "region-token", "score-map", "gradcam")
"""The paper's method and the baselines that it reports."""

VISUAL_WEIGHTS = {"refcocog": 0.85}
VISUAL_WEIGHT = 0.95
TEXT_WEIGHT = 0.5
"""The published weights: alpha of the global visual feature, 0.85 for RefCOCOg, else 0.95, and beta of
the whole expression."""

PREVIEW_SCALE = 4 / 7
"""The side of a preview, relative to that of a crop."""
PREVIEW_FACTOR = 6
"""How many proposals get previews, as a multiple of the shortlist: the best by the global features."""


class EncodedProposals:
    """The features of one image's N proposals, computed when they are first needed.

    Attributes:
        masks: Bool (N, H, W).
        original: The normalised image, (1, 3, H, W).
        small: The same at the resolution of CLIP.
    """

    def __init__(self, system: GlobalLocalCLIP, image: np.ndarray, masks: np.ndarray) -> None:
        self._system = system
        device = system.device
        height, width = image.shape[:2]
        self.masks = torch.from_numpy(np.ascontiguousarray(masks)).to(device).reshape(-1, height, width)
        own = getattr(system.clip.visual, "normalisation", None)
        pixels = global_local.preprocess(image, normalisation=own).to(device)
        self.original = global_local.resize(pixels, height, width)
        side = system.clip.visual.resolution
        self.small = global_local.resize(pixels, side, side)
        boxes = global_local.mask_boxes(self.masks, system.box)
        self._boxes = global_local.integer_boxes(boxes, height=height, width=width)
        self._context: Tensor | None = None
        self._local: dict[int, Tensor] = {}
        self._previews: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def context(self) -> Tensor:
        """The global-context features (N, E): of the whole image, masked within CLIP."""
        if self._context is None:
            visual = self._system.clip.visual
            grid = global_local.resize(self.masks[:, None].to(self.small.dtype), visual.grid, visual.grid)[:, 0]
            if isinstance(visual, CLIPResNet):
                self._context = visual.masked(visual.maps(self.small), grid)
            else:
                last = self._system.masked_blocks
                backbone = visual.backbone(
                    self.small, blocks=min(visual.depth - last, visual.depth - 1) if last else visual.depth
                )
                self._context = visual.masked(backbone, grid, last=last)
        return self._context

    @property
    def local(self) -> Tensor:
        """The local-context features (N, E): of a masked crop per proposal."""
        return self.local_features(range(len(self)))

    @property
    def num_local(self) -> int:
        """How many proposals have local features so far."""
        return len(self._local)

    @property
    def has_previews(self) -> bool:
        """Whether there are previews; a ResNet has none."""
        return isinstance(self._system.clip.visual, CLIPViT)

    def local_features(self, index: Sequence[int]) -> Tensor:
        """Returns the local features (n, E) of the proposals `index`."""
        return self._crop_features(
            index, self._local, side=self._system.clip.visual.resolution, batch=self._system.batch
        )

    def preview_features(self, index: Sequence[int]) -> Tensor:
        """Returns approximate local features (n, E), from crops of 4/7 of the side, at a third of the cost."""
        visual = self._system.clip.visual
        side = visual.resolution // visual.grid * max(1, round(visual.grid * PREVIEW_SCALE))
        return self._crop_features(index, self._previews, side=side, batch=2 * self._system.batch)

    def _crop_features(self, index: Sequence[int], cache: dict[int, Tensor], *, side: int, batch: int) -> Tensor:
        """Returns the features (n, E) of crops of `side` pixels, computing those that are not in `cache`."""
        visual = self._system.clip.visual
        missing = [row for row in index if row not in cache]
        for start in range(0, len(missing), batch):
            some = missing[start : start + batch]
            rows = torch.tensor(some, device=self.masks.device)
            features = visual.features(
                global_local.masked_crops(self.original, self.masks[rows], self._boxes[rows], size=side)
            )
            if isinstance(visual, CLIPResNet):
                features = functional.normalize(features, dim=-1)
            cache.update(zip(some, features, strict=True))
        if not index:
            return self.original.new_zeros((0, visual.width))
        return torch.stack([cache[row] for row in index])


class GlobalLocalCLIP(nn.Module):
    """Scores the proposals of an image for expressions by CLIP; it is not trained and stands in no recipe."""

    def __init__(self, clip: CLIP, *, box: global_local.Box = "tight", masked_blocks: int = 3, batch: int = 32) -> None:
        """Composes the system.

        Args:
            clip: The CLIP.
            box: How a proposal's box is found: "tight", or the estimate of the published code.
            masked_blocks: The k last blocks of a ViT in which tokens outside the mask are ignored.
            batch: Crops that are encoded together.
        """
        super().__init__()
        self.clip = clip
        self.box: global_local.Box = box
        self.masked_blocks = min(masked_blocks, clip.visual.depth) if isinstance(clip.visual, CLIPViT) else 0
        self.batch = batch
        self.eval()

    @property
    def device(self) -> torch.device:
        """The device that it computes on."""
        return self.clip.logit_scale.device

    @torch.no_grad()
    def encode_image(self, image: np.ndarray, masks: np.ndarray) -> EncodedProposals:
        """Returns the features of `masks`, bool (N, H, W), in an RGB `image`, uint8 (H, W, 3)."""
        return EncodedProposals(self, image, masks)

    @torch.no_grad()
    def encode_text(self, ids: Tensor, ends: Tensor) -> Tensor:
        """Returns text features (N, E) of token ids (N, L) that end at `ends` (N,), normalised if CLIP is a ResNet."""
        features = self.clip.text(ids.to(self.device), ends.to(self.device))
        return functional.normalize(features, dim=-1) if self.clip.is_resnet else features

    @torch.no_grad()
    def score(self, image: EncodedProposals, texts: Tensor, *, visual_weight: float = VISUAL_WEIGHT) -> Tensor:
        """Returns the scores (T, N), float32, of texts (T, E) that combine an expression with its noun phrase."""
        joined = global_local.combine(image.context, image.local, visual_weight) if visual_weight else image.local
        return self._similarity(joined, texts)

    @torch.no_grad()
    def score_subset(
        self, image: EncodedProposals, texts: Tensor, index: Sequence[int], *, visual_weight: float = VISUAL_WEIGHT
    ) -> Tensor:
        """Returns the scores (T, n) of texts (T, E) for the proposals `index`; only these get local features."""
        both = global_local.combine(image.context[list(index)], image.local_features(index), visual_weight)
        return self._similarity(both, texts)

    @torch.no_grad()
    def score_shortlist(
        self, image: EncodedProposals, texts: Tensor, *, visual_weight: float = VISUAL_WEIGHT, shortlist: int
    ) -> Tensor:
        """Scores a shortlist of the most promising proposals per text, without local features of the others.

        Proposals are ranked by the global feature; with a ViT, the best of these once more, with previews of the local
        features. The scores of a text do not depend on the other texts.

        Args:
            image: The encoded proposals.
            texts: Text features (T, E).
            visual_weight: Weight of the global feature.
            shortlist: How many proposals per text get local features.

        Returns:
            Scores (T, N), minus infinity for proposals that are not on the shortlist.
        """

        def refined(before: Tensor, count: int, local: Callable[[Sequence[int]], Tensor]) -> Tensor:
            """Returns the scores of each text's `count` best by `before`, with their local features."""
            kept = before.topk(min(count, len(image)), dim=1).indices
            index = sorted(set(kept.flatten().tolist()))
            scores = torch.full_like(before, -torch.inf)
            scores[:, index] = self._similarity(
                global_local.combine(image.context[index], local(index), visual_weight), texts
            )
            outside = torch.ones_like(before, dtype=torch.bool).scatter(1, kept, False)
            return scores.masked_fill(outside, -torch.inf)

        scores = self._similarity(image.context, texts)
        if image.has_previews and shortlist < len(image):
            scores = refined(scores, PREVIEW_FACTOR * shortlist, image.preview_features)
        return refined(scores, shortlist, image.local_features)

    def score_with(self, method: Method, image: EncodedProposals, texts: Tensor, *, visual_weight: float) -> Tensor:
        """Returns the scores (T, N) by the paper's method or one of the baselines that it reports."""
        if method == "global-local":
            return self.score(image, texts, visual_weight=visual_weight)
        if method == "cropping":
            return self.score(image, texts, visual_weight=0.0)
        if method == "region-token":
            return self._by_region_token(image, texts)
        heat = self._gradcam(image, texts) if method == "gradcam" else self._score_map(image, texts)
        return _inside(heat, image.masks)

    def _similarity(self, visual: Tensor, texts: Tensor) -> Tensor:
        return global_local.similarities(visual, texts, self.clip.logit_scale, normalise=not self.clip.is_resnet)

    @torch.no_grad()
    def _by_region_token(self, image: EncodedProposals, texts: Tensor) -> Tensor:
        visual = self.clip.visual
        grid = functional.interpolate(image.masks[:, None].float(), size=(visual.grid, visual.grid), mode="nearest")[
            :, 0
        ]
        features = visual.region_tokens(image.small, grid > 0.5)
        return global_local.similarities(features, texts, self.clip.logit_scale, normalise=True)

    @torch.no_grad()
    def _score_map(self, image: EncodedProposals, texts: Tensor) -> Tensor:
        cells = functional.normalize(self.clip.visual.dense(image.small)[0].float(), dim=0)
        return torch.einsum("te,ehw->thw", functional.normalize(texts.float(), dim=-1), cells)

    def _gradcam(self, image: EncodedProposals, texts: Tensor) -> Tensor:
        """Returns Grad-CAM's maps (T, grid, grid) of the similarity to each text (Selvaraju 2017, eq. 2)."""
        with torch.enable_grad():
            cells, features = self.clip.visual.activations(image.small)
            similar = functional.normalize(features.float(), dim=-1) @ functional.normalize(texts.float(), dim=-1).T
            maps = []
            for column in range(len(texts)):
                [gradient] = torch.autograd.grad(similar[0, column], cells, retain_graph=True)
                weights = gradient.mean(dim=(2, 3), keepdim=True)
                maps.append(functional.relu((weights * cells).sum(1)[0]))
        return torch.stack(maps).detach().float()


def _inside(heat: Tensor, masks: Tensor) -> Tensor:
    """Returns the mean (T, N) over each mask (N, H, W) of maps (T, h, w) that are scaled to [0, 1] and to the image.

    The paper says only that scores are aggregated over a mask; a sum would always favour the largest mask.
    """
    low, high = heat.amin((1, 2), keepdim=True), heat.amax((1, 2), keepdim=True)
    stretched = (heat - low) / (high - low).clamp(min=1e-12)
    full = global_local.resize(stretched[:, None], *masks.shape[1:])[:, 0].flatten(1)
    flat = masks.flatten(1).to(full.dtype)
    return full @ flat.T / flat.sum(1).clamp(min=1)
