"""How probably an expression refers to anything in the image: mini's score, by which it says "no match"."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from risctl.core.fusion.box_selector import BoxScores
from risctl.core.heads.detector import DetectionBatch
from risctl.core.losses.box_selection import target_probability

# Score from which a class counts as detected; chosen on the val splits of generated expressions and of scenes.
_DETECTED_SCORE = 0.2
_LEAST = 1e-3  # evidence below which less evidence says nothing more


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """Computes the score from what the box selector says.

    Attributes:
        kind: "product": the box selector's probability times the evidence that the named category was detected, which
            is 1 from a low score on; "logistic": the logistic function of a weighted sum of the box selector's logit
            and the evidence's logarithm. Its weights are fitted on expressions with and without a target, so that the
            score is a probability (Platt, 1999).
        scale: Weight of the logit.
        evidence: Weight of the evidence.
        shift: Added to the sum.
    """

    kind: Literal["product", "logistic"] = "product"
    scale: float = 1.0
    evidence: float = 0.0
    shift: float = 0.0

    def __call__(self, choice: BoxScores, detections: DetectionBatch) -> Tensor:
        """Returns the score (B,) of B expressions, 0 where nothing is detected."""
        evidence = evidence_of(choice, detections)
        if self.kind == "product":
            return target_probability(choice, detections.mask) * (evidence / _DETECTED_SCORE).clamp(max=1)
        logits = self.scale * choice.presence.float() + self.shift
        if self.evidence:
            logits = logits + self.evidence * (evidence + _LEAST).log()
        return target_probability(replace(choice, presence=logits), detections.mask)


def evidence_of(choice: BoxScores, detections: DetectionBatch) -> Tensor:
    """Returns (B,) in [0, 1]: the best detection score of the category that the text names, in expectation."""
    if not detections.mask.shape[1]:
        return choice.presence.new_zeros(len(choice.presence))
    detected = (detections.scores * detections.mask[..., None]).amax(1)  # (B, K)
    return (choice.noun.float().softmax(-1) * detected).sum(-1)
