"""Opens any image-text model of transformers whose vision tower can be masked, in the place of CLIP.

What can be is told by its parts, not by its name: a ViT as CLIP's, with a CLS token (CLIP, MetaCLIP 2, AltCLIP,
Chinese-CLIP), or as SigLIP's, with a query that pools the patches (SigLIP, and SigLIP 2 at one resolution, which is
published as a SigLIP).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import AutoImageProcessor, AutoModelForZeroShotImageClassification, AutoTokenizer

from risctl.core.encoders.clip import CLIP
from risctl.core.encoders.text.library_text import LibraryText
from risctl.core.encoders.visual.clip_vit import CLIPViT
from risctl.core.encoders.visual.siglip_vit import SigLIPViT
from risctl.data.download.hub import MODEL, PROCESSOR
from risctl.data.download.pretrained import Pretrained
from risctl.errors import CheckpointError, UsageError

_WORDS = ("tokenizer.json", "vocab.json+merges.txt", "vocab.txt", "tokenizer.model", "spiece.model")
WANTED = (*MODEL, *PROCESSOR, _WORDS)
_ABSENT = 1_000_000  # a tokenizer that states no length states a far larger number


class LibraryTokens:
    """Tokenizes texts with a tokenizer of transformers, in the place of `ClipTokens`."""

    def __init__(self, tokenizer: Any, *, context: int, whole: bool) -> None:
        """Takes a tokenizer; `whole`: every text is padded to `context` tokens."""
        self._tokenizer, self.context, self._whole = tokenizer, context, whole

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Returns the ids (N, L) of N texts, padded, and the place of each one's last token (N,).

        Raises:
            UsageError: A text is empty.
        """
        if not all(text.strip() for text in texts):
            raise UsageError("a text is empty; say what to look for")
        rows = [self._tokenizer(text, truncation=True, max_length=self.context)["input_ids"] for text in texts]
        length = self.context if self._whole else max(map(len, rows), default=1)
        pad = self._tokenizer.pad_token_id or 0
        ids = torch.tensor([[*row, *[pad] * (length - len(row))] for row in rows], dtype=torch.int64)
        return ids, torch.tensor([len(row) - 1 for row in rows], dtype=torch.int64)

    def is_cut(self, text: str) -> bool:
        """Returns whether `text` has more tokens than are read."""
        return len(self._tokenizer(text, truncation=False, verbose=False)["input_ids"]) > self.context


def load_image_text(source: str, *, option: str) -> tuple[CLIP, LibraryTokens]:
    """Opens an image-text model.

    Args:
        source: A folder or hub id.
        option: The option that names it, for messages.

    Returns:
        The model in evaluation mode, and its tokenizer.

    Raises:
        CheckpointError: Its vision tower cannot be masked; the message says why.
        MachineError: It is neither here nor to be had.
    """
    found = Pretrained(source, what="an image-text model", kinds=None, wanted=WANTED, option=option)
    model = found.model(AutoModelForZeroShotImageClassification).float().eval()
    visual = _visual(model, source=source, kind=found.kind)
    processor = found.part(AutoImageProcessor)
    visual.normalisation = (tuple(processor.image_mean), tuple(processor.image_std))
    tokenizer = found.part(AutoTokenizer)
    pools = isinstance(visual, SigLIPViT)
    context = _longest(model, tokenizer)
    text = LibraryText(model, context=context, masked=not pools)
    clip = CLIP(visual=visual, text=text, logit_scale=model.logit_scale).eval()
    return clip, LibraryTokens(tokenizer, context=context, whole=pools)


def _visual(model: Any, *, source: str, kind: str) -> CLIPViT:
    tower: Any = getattr(model, "vision_model", None)
    layers = getattr(getattr(tower, "encoder", None), "layers", None)
    if layers is None:
        raise CheckpointError(
            f"{source} holds a {kind}, whose vision tower has no patches of a transformer: no object can be masked in "
            "it; use a clip, metaclip_2, altclip, chinese_clip or siglip"
        )
    if all(hasattr(tower, name) for name in ("pre_layrnorm", "post_layernorm")) and hasattr(model, "visual_projection"):
        return CLIPViT(tower, model.visual_projection)
    of_one_size = isinstance(getattr(tower.config, "image_size", None), int)
    if hasattr(getattr(tower, "head", None), "probe") and of_one_size:
        return SigLIPViT(tower)
    raise CheckpointError(
        f"{source} holds a {kind}, whose vision tower is neither as CLIP's nor as SigLIP's at one resolution, so that "
        "risctl cannot mask an object in it; use a clip, metaclip_2, altclip, chinese_clip or siglip"
    )


def _longest(model: Any, tokenizer: Any) -> int:
    """Returns how many tokens are read, by the tokenizer and the configuration."""
    text = model.config.text_config
    limits = [int(tokenizer.model_max_length), int(getattr(text, "max_position_embeddings", _ABSENT))]
    if getattr(text, "model_type", "") == "altclip_text_model":
        limits[1] -= 2  # its positions begin behind the padding's, as XLM-R's
    return min(limit for limit in limits if limit < _ABSENT)
