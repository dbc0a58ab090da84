"""LAVT, step by step."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.beyond_plain.swin import PlainBert, PlainSwin


class Plain(nn.Module):
    """LAVT with the weights of a built system."""

    def __init__(self, system: Any) -> None:
        """Takes the layers of `system`, a `risctl.systems.lavt.model.LAVT`."""
        super().__init__()
        self.text, self.visual, self.decoder = PlainBert(system.text), PlainSwin(system.visual), system.decoder

    def forward(self, images: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
        """Returns the object's logits minus the background's, (B, H, W)."""
        *finer, x = self.visual(images, self.text(ids, mask), mask)
        for join, own in zip(self.decoder.joins, reversed(finer), strict=True):
            x = functional.interpolate(x, size=own.shape[-2:], mode="bilinear", align_corners=True)
            x = torch.cat([x, own], dim=1)
            for layer in join:
                x = layer(x)
        logits = self.decoder.out(x)
        logits = functional.interpolate(logits, size=images.shape[-2:], mode="bilinear", align_corners=True)
        return logits[:, 1] - logits[:, 0]
