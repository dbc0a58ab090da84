"""Holds CLIP as the zero-shot systems use it: an image encoder, a text encoder and the logit scale."""

from __future__ import annotations

from torch import Tensor, nn

from risctl.core.encoders.text.clip_text import CLIPText
from risctl.core.encoders.text.library_text import LibraryText
from risctl.core.encoders.visual.clip_resnet import CLIPResNet
from risctl.core.encoders.visual.clip_vit import CLIPViT


class CLIP(nn.Module):
    """Two encoders that embed into one space of `visual.width` channels (Radford et al., 2021).

    `logit_scale` is a logarithm, as published.
    """

    def __init__(self, *, visual: CLIPViT | CLIPResNet, text: CLIPText | LibraryText, logit_scale: Tensor) -> None:
        super().__init__()
        self.visual = visual
        self.text = text
        self.logit_scale = nn.Parameter(logit_scale.detach().clone().float().reshape(()))
        self.requires_grad_(False)

    @property
    def is_resnet(self) -> bool:
        """Whether the image encoder is OpenAI's ResNet: the published scores then differ (`fusion/global_local.py`)."""
        return isinstance(self.visual, CLIPResNet)
