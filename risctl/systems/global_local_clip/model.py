"""Global-Local CLIP (CVPR 2023): which of an image's mask proposals a text means, without any training.

The published schedule encodes an image anew for each ref, crops in a loop, and encodes each text alone. Here an image
is encoded once for all its refs and sentences, crops are cut in one batched sampling, batches have a bounded size, and
with a shortlist only the most promising proposals are looked at on their own.
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
"""The paper's method, and the baselines that it tables."""

VISUAL_WEIGHTS = {"refcocog": 0.85}
VISUAL_WEIGHT = 0.95
TEXT_WEIGHT = 0.5
"""The published weights: of the global feature (0.85 for RefCOCOg, else 0.95), of the sentence."""

PREVIEW = 4 / 7
"""Of the side of a crop, what a preview of it has."""
PREVIEWED = 6
"""Times the shortlist's length: of how many proposals, the best by the global features, a text gets previews."""


class EncodedImage:
    """An image's proposals as features; what looks at each proposal alone is computed when first asked for.

    context (N, E): the global features; masks (N, H, W) bool.
    """

    def __init__(self, system: GlobalLocalCLIP, image: np.ndarray, masks: np.ndarray) -> None:
        self._system = system
        device = system.device
        height, width = image.shape[:2]
        self.masks = torch.from_numpy(np.ascontiguousarray(masks)).to(device).reshape(-1, height, width)
        pixels = global_local.preprocess(image).to(device)
        self.original = global_local.resize(pixels, height, width)
        side = system.clip.visual.resolution
        self.small = global_local.resize(pixels, side, side)
        found = global_local.mask_boxes(self.masks, system.box)
        self._boxes = global_local.integer_boxes(found, height=height, width=width)
        self._context: Tensor | None = None
        self._local: dict[int, Tensor] = {}
        self._previews: dict[int, Tensor] = {}

    def __len__(self) -> int:
        return len(self.masks)

    @property
    def context(self) -> Tensor:
        """The global features (N, E)."""
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
        """The local features (N, E)."""
        return self.local_of(range(len(self)))

    @property
    def looked_at(self) -> int:
        """How many proposals were looked at on their own so far."""
        return len(self._local)

    @property
    def can_preview(self) -> bool:
        """Whether there are previews: a ResNet has none."""
        return isinstance(self._system.clip.visual, CLIPViT)

    def local_of(self, chosen: Sequence[int]) -> Tensor:
        """Return the local features (n, E) of some proposals."""
        return self._looked(chosen, self._local, side=self._system.clip.visual.resolution, batch=self._system.batch)

    def preview_of(self, chosen: Sequence[int]) -> Tensor:
        """Return nearly the local features (n, E) of some, from crops of 4/7 of the side, a third of the work."""
        visual = self._system.clip.visual
        side = visual.resolution // visual.grid * max(1, round(visual.grid * PREVIEW))
        return self._looked(chosen, self._previews, side=side, batch=2 * self._system.batch)

    def _looked(self, chosen: Sequence[int], known: dict[int, Tensor], *, side: int, batch: int) -> Tensor:
        """Return the features (n, E) of some proposals' crops of `side` pixels, those not `known` computed."""
        visual = self._system.clip.visual
        missing = [one for one in chosen if one not in known]
        for start in range(0, len(missing), batch):
            some = missing[start : start + batch]
            index = torch.tensor(some, device=self.masks.device)
            features = visual.features(
                global_local.masked_crops(self.original, self.masks[index], self._boxes[index], size=side)
            )
            if isinstance(visual, CLIPResNet):
                features = functional.normalize(features, dim=-1)
            known.update(zip(some, features, strict=True))
        if not chosen:
            return self.original.new_zeros((0, visual.width))
        return torch.stack([known[one] for one in chosen])


class GlobalLocalCLIP(nn.Module):
    """The zero-shot selector of proposals. Not trained and not in recipes: it takes a CLIP and proposals as they come.

    box: how a proposal's box is found; masked_blocks: the k last blocks of a ViT that see the mask; batch: crops
    encoded together.
    """

    def __init__(self, clip: CLIP, *, box: global_local.Box = "tight", masked_blocks: int = 3, batch: int = 32) -> None:
        super().__init__()
        self.clip = clip
        self.box: global_local.Box = box
        self.masked_blocks = min(masked_blocks, clip.visual.depth) if isinstance(clip.visual, CLIPViT) else 0
        self.batch = batch
        self.eval()

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.clip.logit_scale.device

    @torch.no_grad()
    def encode_image(self, image: np.ndarray, masks: np.ndarray) -> EncodedImage:
        """Return the features of a picture (H, W, 3) uint8 for its proposals (N, H, W) bool."""
        return EncodedImage(self, image, masks)

    @torch.no_grad()
    def encode_ids(self, ids: Tensor, ends: Tensor) -> Tensor:
        """Return text features (N, E) of token ids (N, L) that end at `ends` (N,); a ResNet's are normalised."""
        found = self.clip.text(ids.to(self.device), ends.to(self.device))
        return functional.normalize(found, dim=-1) if self.clip.is_resnet else found

    @torch.no_grad()
    def score(self, image: EncodedImage, texts: Tensor, *, visual_weight: float = VISUAL_WEIGHT) -> Tensor:
        """Return the scores (T, N) of texts (T, E), each sentence and noun phrase combined, float32."""
        joined = global_local.combine(image.context, image.local, visual_weight) if visual_weight else image.local
        return self._fit(joined, texts)

    @torch.no_grad()
    def score_some(
        self, image: EncodedImage, texts: Tensor, chosen: Sequence[int], *, visual_weight: float = VISUAL_WEIGHT
    ) -> Tensor:
        """Return the scores (T, n) of texts (T, E) for some proposals, only these looked at alone."""
        both = global_local.combine(image.context[list(chosen)], image.local_of(chosen), visual_weight)
        return self._fit(both, texts)

    @torch.no_grad()
    def score_shortlist(
        self, image: EncodedImage, texts: Tensor, *, visual_weight: float = VISUAL_WEIGHT, shortlist: int
    ) -> Tensor:
        """Return the scores (T, N), minus infinity but for each text's `shortlist` best at first sight.

        First sight is the global feature; with a ViT, of those that are best by it, with a preview of the local one.
        A text's scores do not depend on which others are asked with it.
        """

        def refined(before: Tensor, count: int, looked: Callable[[Sequence[int]], Tensor]) -> Tensor:
            """Return the scores of each text's `count` best by `before`, with a closer look at them."""
            kept = before.topk(min(count, len(image)), dim=1).indices
            chosen = sorted(set(kept.flatten().tolist()))
            found = torch.full_like(before, -torch.inf)
            found[:, chosen] = self._fit(
                global_local.combine(image.context[chosen], looked(chosen), visual_weight), texts
            )
            outside = torch.ones_like(before, dtype=torch.bool).scatter(1, kept, False)
            return found.masked_fill(outside, -torch.inf)

        seen = self._fit(image.context, texts)
        if image.can_preview and shortlist < len(image):
            seen = refined(seen, PREVIEWED * shortlist, image.preview_of)
        return refined(seen, shortlist, image.local_of)

    def score_by(self, method: Method, image: EncodedImage, texts: Tensor, *, visual_weight: float) -> Tensor:
        """Return the scores (T, N) by the paper's method or one of the baselines that it tables."""
        if method == "global-local":
            return self.score(image, texts, visual_weight=visual_weight)
        if method == "cropping":
            return self.score(image, texts, visual_weight=0.0)
        if method == "region-token":
            return self._by_region_token(image, texts)
        heat = self._gradcam(image, texts) if method == "gradcam" else self._score_map(image, texts)
        return _inside(heat, image.masks)

    def _fit(self, visual: Tensor, texts: Tensor) -> Tensor:
        return global_local.similarities(visual, texts, self.clip.logit_scale, normalise=not self.clip.is_resnet)

    @torch.no_grad()
    def _by_region_token(self, image: EncodedImage, texts: Tensor) -> Tensor:
        visual = self.clip.visual
        grid = functional.interpolate(image.masks[:, None].float(), size=(visual.grid, visual.grid), mode="nearest")[
            :, 0
        ]
        features = visual.region_tokens(image.small, grid > 0.5)
        return global_local.similarities(features, texts, self.clip.logit_scale, normalise=True)

    @torch.no_grad()
    def _score_map(self, image: EncodedImage, texts: Tensor) -> Tensor:
        cells = functional.normalize(self.clip.visual.dense(image.small)[0].float(), dim=0)
        return torch.einsum("te,ehw->thw", functional.normalize(texts.float(), dim=-1), cells)

    def _gradcam(self, image: EncodedImage, texts: Tensor) -> Tensor:
        """Return Grad-CAM's maps (T, grid, grid) of the similarity to each text (Selvaraju 2017, equation 2)."""
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
    """Return the mean (T, N), over each mask (N, H, W), of maps (T, h, w) stretched to [0, 1] and to the picture.

    The paper says only that scores are aggregated over a mask; their sum would always take the largest one.
    """
    low, high = heat.amin((1, 2), keepdim=True), heat.amax((1, 2), keepdim=True)
    stretched = (heat - low) / (high - low).clamp(min=1e-12)
    full = global_local.resize(stretched[:, None], *masks.shape[1:])[:, 0].flatten(1)
    flat = masks.flatten(1).to(full.dtype)
    return full @ flat.T / flat.sum(1).clamp(min=1)
