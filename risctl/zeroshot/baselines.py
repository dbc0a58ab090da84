"""Predicts with text-prompted networks in place of Global-Local CLIP, so that one protocol compares them."""

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
from risctl.zeroshot.predictor import ZeroShotPrediction
from risctl.zeroshot.proposals.base import InputImage, Proposals, no_proposals
from risctl.zeroshot.text_prompted import SAM3, CLIPSeg, GroundedSAM, TextPromptedNetwork


class TextPromptedPredictor:
    """Predicts with a text-prompted network, as a `ZeroShotModel` without proposals: the surest candidate alone."""

    def __init__(self, network: TextPromptedNetwork, *, threshold: float = 0.5) -> None:
        """Predicts with `network`; a pixel is in the mask if its probability is above `threshold`."""
        self.seconds: dict[str, float] = defaultdict(float)
        self._network, self._threshold = network, threshold
        self._image: InputImage | None = None

    def describe(self) -> str:
        """Returns one line on what predicts."""
        return f"{self._network.name}, no proposals, mask where probability > {self._threshold:g}"

    def set_image(self, image: InputImage) -> Proposals:
        """Sets the image of the following predictions; there are no proposals."""
        self._image = image
        return no_proposals(image)

    def predict(self, texts: Sequence[str]) -> list[ZeroShotPrediction]:
        """Returns one prediction per expression; all time counts as "visual", since image and text go together.

        Raises:
            UsageError: No image is set.
        """
        if self._image is None:
            raise UsageError("no image is set: call set_image(image) first")
        began = time.perf_counter()
        found = self._network.find(self._network.encode(self._image.pixels), texts)
        # A referring expression of these datasets refers to one object.
        surest = [int(candidates.scores.argmax()) for candidates in found]
        masks = [candidates.draw([best])[0] for candidates, best in zip(found, surest, strict=True)]
        self.seconds["visual"] += time.perf_counter() - began
        return [
            self._prediction(text, mask, float(candidates.scores[best]), self._image)
            for text, mask, candidates, best in zip(texts, masks, found, surest, strict=True)
        ]

    def is_truncated(self, text: str) -> bool:
        """Returns whether `text` is longer than the network reads."""
        return self._network.is_truncated(text)

    def _prediction(self, text: str, probability: np.ndarray, score: float, image: InputImage) -> ZeroShotPrediction:
        mask = probability > self._threshold
        prediction = Prediction(
            text=text,
            probability=probability,
            threshold=self._threshold,
            score=score,
            box=rle.box(rle.encode(mask)) if mask.any() else None,
            image=image.pixels,
        )
        return ZeroShotPrediction(
            prediction=prediction, noun_phrase=text, chosen=None, scores=np.zeros(0, dtype=np.float32)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A text-prompted network that can be named.

    Attributes:
        title: Its name in print.
        default: The hub id of its published weights.
        load: Opens it: `load(source, segmenter, device)`.
    """

    title: str
    default: str
    load: Callable[[str, str, torch.device], TextPromptedNetwork]


def load_baseline(
    name: str, *, source: str | None, segmenter: str | None = None, device: torch.device | str = "cpu"
) -> TextPromptedPredictor:
    """Opens a text-prompted network.

    Args:
        name: A key of `BASELINES`.
        source: A folder or hub id of weights; None for the published ones.
        segmenter: With "grounded-sam": the model of the SAM family that turns boxes into masks.
        device: Where the network computes.

    Raises:
        UsageError: An unknown name, or a segmenter that nothing uses.
        CheckpointError: The weights are of something else.
        MachineError: The weights cannot be downloaded.
    """
    if name not in BASELINES:
        raise UsageError(unknown_name("method", name, BASELINES))
    if segmenter is not None and name != "grounded-sam":
        raise UsageError(f"--sam is what turns the boxes of --method grounded-sam into masks; leave it out for {name}")
    baseline = BASELINES[name]
    network = baseline.load(source or baseline.default, segmenter or DEFAULT_SEGMENTER, torch.device(device))
    return TextPromptedPredictor(network)


def _clipseg(source: str, _: str, device: torch.device) -> TextPromptedNetwork:
    from transformers import CLIPSegForImageSegmentation, CLIPSegProcessor

    pretrained = Pretrained(source, what="a CLIPSeg", kinds=("clipseg",), wanted=_WANTED, option="--clip")
    model, processor = pretrained.model(CLIPSegForImageSegmentation), pretrained.part(CLIPSegProcessor)
    return CLIPSeg(model.to(device), processor, name=f"CLIPSeg {source}")


def _sam3(source: str, _: str, device: torch.device) -> TextPromptedNetwork:
    from transformers import Sam3Model, Sam3Processor

    # The published checkpoint is that of the video model, of which the detector is a part.
    pretrained = Pretrained(source, what="a SAM 3", kinds=("sam3", "sam3_video"), wanted=_WANTED, option="--clip")
    model, processor = pretrained.model(Sam3Model), pretrained.part(Sam3Processor)
    return SAM3(model.to(device), processor, name=f"SAM 3 {source}")


def _grounded_sam(source: str, segmenter: str, device: torch.device) -> TextPromptedNetwork:
    from transformers import AutoModelForZeroShotObjectDetection, GroundingDinoProcessor

    from risctl.zeroshot.proposals.box_segmentation import load_box_segmentation

    kinds = ("grounding-dino", "mm-grounding-dino")
    pretrained = Pretrained(source, what="a Grounding DINO", kinds=kinds, wanted=_WANTED_BERT, option="--clip")
    model, processor = pretrained.model(AutoModelForZeroShotObjectDetection), pretrained.part(GroundingDinoProcessor)
    masks = load_box_segmentation(segmenter, option="--sam", device=device)
    return GroundedSAM(model.to(device), processor, masks, name=f"Grounding DINO {source}")


_WANTED = (*MODEL, *PROCESSOR, *TOKENIZER)
_WANTED_BERT = (*MODEL, *PROCESSOR, ("tokenizer.json", "vocab.txt"))
DEFAULT_SEGMENTER = "facebook/sam-vit-base"
BASELINES = {
    "clipseg": Baseline(title="CLIPSeg", default="CIDAS/clipseg-rd64-refined", load=_clipseg),
    "sam3": Baseline(title="SAM 3", default="facebook/sam3", load=_sam3),
    "grounded-sam": Baseline(
        title="Grounding DINO + SAM", default="IDEA-Research/grounding-dino-tiny", load=_grounded_sam
    ),
}
"""Text-prompted networks by the name that the user gives them. To add one: its network and a line here."""
