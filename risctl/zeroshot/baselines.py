"""Text-prompted networks answering in the zero-shot seat, so that one protocol compares them."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from risctl.data.download.hub import MODEL, PROCESSOR, TOKENIZER
from risctl.data.download.pretrained import Pretrained
from risctl.errors import UsageError, unknown_name
from risctl.results import Prediction
from risctl.vision import rle
from risctl.zeroshot.predictor import Answer
from risctl.zeroshot.proposals.base import Picture, Proposals, none_for
from risctl.zeroshot.text_prompted import SAM3, CLIPSeg, GroundedSAM, TextPrompted


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
        """Return whether `text` is longer than the network reads."""
        return self._network.is_cut(text)

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A network that can be asked for by name. title: what people call it; default: the hub id of its weights."""

    title: str
    default: str
    load: Callable[[str, str, torch.device], TextPrompted]


def load_peer(
    name: str, *, source: str | None, segmenter: str | None = None, device: torch.device | str = "cpu"
) -> Prompted:
    """Return the peer `name` with the weights of a folder or hub id, by default the published ones.

    segmenter: of "grounded-sam", the model of the SAM family. Raises `UsageError` for an unknown name or a segmenter
    that nothing uses, `CheckpointError` or `MachineError` as `Pretrained`.
    """
    if name not in PEERS:
        raise UsageError(unknown_name("peer", name, PEERS))
    if segmenter is not None and name != "grounded-sam":
        raise UsageError(f"--sam is what turns the boxes of --method grounded-sam into masks; leave it out for {name}")
    peer = PEERS[name]
    return Prompted(peer.load(source or peer.default, segmenter or SEGMENTER, torch.device(device)))


def _clipseg(source: str, _: str, device: torch.device) -> TextPrompted:
    from transformers import CLIPSegForImageSegmentation, CLIPSegProcessor

    found = Pretrained(source, what="a CLIPSeg", kinds=("clipseg",), wanted=_WANTED, option="--clip")
    model, processor = found.model(CLIPSegForImageSegmentation), found.part(CLIPSegProcessor)
    return CLIPSeg(model.to(device), processor, name=f"CLIPSeg {source}")


def _sam3(source: str, _: str, device: torch.device) -> TextPrompted:
    from transformers import Sam3Model, Sam3Processor

    # The published checkpoint is that of the videos' model, of which the detector is a part.
    found = Pretrained(source, what="a SAM 3", kinds=("sam3", "sam3_video"), wanted=_WANTED, option="--clip")
    model, processor = found.model(Sam3Model), found.part(Sam3Processor)
    return SAM3(model.to(device), processor, name=f"SAM 3 {source}")


def _grounded_sam(source: str, segmenter: str, device: torch.device) -> TextPrompted:
    from transformers import AutoModelForZeroShotObjectDetection, GroundingDinoProcessor

    from risctl.zeroshot.proposals.boxed_masks import load_boxed_masks

    kinds = ("grounding-dino", "mm-grounding-dino")
    found = Pretrained(source, what="a Grounding DINO", kinds=kinds, wanted=_WANTED_BERT, option="--clip")
    model, processor = found.model(AutoModelForZeroShotObjectDetection), found.part(GroundingDinoProcessor)
    masks = load_boxed_masks(segmenter, option="--sam", device=device)
    return GroundedSAM(model.to(device), processor, masks, name=f"Grounding DINO {source}")


_WANTED = (*MODEL, *PROCESSOR, *TOKENIZER)
_WANTED_BERT = (*MODEL, *PROCESSOR, ("tokenizer.json", "vocab.txt"))
SEGMENTER = "facebook/sam-vit-base"
PEERS = {
    "clipseg": Peer(title="CLIPSeg", default="CIDAS/clipseg-rd64-refined", load=_clipseg),
    "sam3": Peer(title="SAM 3", default="facebook/sam3", load=_sam3),
    "grounded-sam": Peer(title="Grounding DINO + SAM", default="IDEA-Research/grounding-dino-tiny", load=_grounded_sam),
}
"""Text-prompted networks by the name that the user gives them."""
