"""Text-prompted networks answering in the zero-shot seat, so that one protocol compares them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from risctl.data.hub import MODEL, PROCESSOR, TOKENIZER, model_folder
from risctl.engine.zeroshot import Answer
from risctl.errors import CheckpointError, UsageError
from risctl.proposals.base import Picture, Proposals, none_for
from risctl.systems.base import Prediction
from risctl.systems.text_prompted import CLIPSeg, TextPrompted
from risctl.vision import rle

DEFAULT = "CIDAS/clipseg-rd64-refined"


class Prompted:
    """Answers by a text-prompted network. A pixel is in the mask if its probability is above `threshold`."""

    def __init__(self, network: TextPrompted, *, threshold: float = 0.5) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._network, self._threshold = network, threshold
        self._picture: Picture | None = None

    def describe(self) -> str:
        """Return one line on what answers."""
        return f"{self._network.name}, no proposals, mask where probability > {self._threshold:g}"

    def look(self, picture: Picture) -> Proposals:
        """Take a picture in hand; there are no proposals."""
        self._picture = picture
        return none_for(picture)

    def answers(self, texts: Sequence[str]) -> list[Answer]:
        """Return an answer a text about the picture in hand; its seconds count as visual, since both go together."""
        if self._picture is None:
            raise UsageError("no picture in hand: call look(picture) first")
        began = time.perf_counter()
        found = self._network.maps(self._picture.pixels, texts)
        self.seconds["visual"] += time.perf_counter() - began
        return [self._answer(text, *one) for text, one in zip(texts, found, strict=True)]

    def is_cut(self, text: str) -> bool:
        """Return False: how much is read, the network's own processor decides."""
        return False

    def _answer(self, text: str, probability: np.ndarray, score: float) -> Answer:
        mask = probability > self._threshold
        return Answer(
            prediction=Prediction(
                text=text,
                probability=probability,
                threshold=self._threshold,
                score=score,
                box=rle.box(rle.encode(mask)) if mask.any() else None,
                image=None if self._picture is None else self._picture.pixels,
            ),
            phrase=text,
            chosen=None,
            scores=np.zeros(0, dtype=np.float32),
        )


def load_clipseg(source: str, *, device: torch.device | str = "cpu", option: str = "--clip") -> Prompted:
    """Return CLIPSeg of a folder or hub id. Raises `CheckpointError` or `MachineError` as `model_folder`."""
    from transformers import AutoConfig, CLIPSegForImageSegmentation, CLIPSegProcessor

    folder = str(model_folder(source, (*MODEL, *PROCESSOR, *TOKENIZER), option=option))
    try:
        kind = AutoConfig.from_pretrained(folder).model_type
        if kind != "clipseg":
            raise CheckpointError(f"expected a CLIPSeg at {source}, got {kind}")
        model: nn.Module = CLIPSegForImageSegmentation.from_pretrained(folder, local_files_only=True)
        processor = CLIPSegProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{folder} cannot be read as a CLIPSeg: {str(error).splitlines()[0]}") from error
    return Prompted(CLIPSeg(model.to(device), processor, name=f"CLIPSeg {source}"))
