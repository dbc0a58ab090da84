"""Draws how Global-Local CLIP selected a proposal: the best proposals with the scores of their parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from risctl.systems.global_local_clip.explain import ProposalScores
from risctl.vision.drawing.captions import Caption, with_captions
from risctl.vision.drawing.contact_sheet import fit_image, grid
from risctl.vision.drawing.overlays import overlay
from risctl.vision.drawing.palette import colour
from risctl.zeroshot.predictor import ZeroShotPrediction
from risctl.zeroshot.proposals.base import Proposals

_CELL, _FONT_SIZE, _COLUMNS = 320, 14, 3
_CHOSEN, _OTHER = colour(1), colour(0)


def proposal_contact_sheet(
    image: np.ndarray, proposals: Proposals, made: ZeroShotPrediction, best: Sequence[ProposalScores]
) -> np.ndarray:
    """Draws the best proposals for a prediction, each with the cosine similarities of its parts.

    Args:
        image: RGB, uint8 (H, W, 3).
        proposals: All proposals of the image.
        made: The prediction.
        best: The proposals to draw, best first; there may be none.

    Returns:
        The contact sheet, uint8 (H', W', 3).
    """
    panels = []
    for rank, scores in enumerate(best, start=1):
        chosen = scores.proposal == made.chosen
        paint = _CHOSEN if chosen else _OTHER
        scaled, masks = fit_image(image, [proposals.masks[scores.proposal]], width=_CELL, height=_CELL)
        captions = [
            Caption(text=f"{rank}. score {scores.score:.3f}{', the answer' if chosen else ''}", colour=paint),
            Caption(text=f"cosines: global {scores.context:.3f}, local {scores.local:.3f},"),
            Caption(text=f"sentence {scores.sentence:.3f}, noun phrase {scores.noun:.3f}"),
        ]
        panels.append(with_captions(overlay(scaled, masks, colours=[paint]), captions, size=_FONT_SIZE, width=_CELL))
    none = "" if panels else " There is no proposal to choose from."
    if not panels:
        panels.append(fit_image(image, width=_CELL, height=_CELL)[0])
    heading = [
        Caption(text=f"“{made.prediction.text}”"),
        Caption(text=f"Noun phrase: {made.noun_phrase}. {len(proposals)} proposals, the best first.{none}"),
    ]
    return grid(panels, columns=_COLUMNS, heading=heading)


def proposal_records(made: ZeroShotPrediction, best: Sequence[ProposalScores]) -> list[dict[str, float | int | bool]]:
    """Returns what `proposal_contact_sheet` draws as JSON values, best first."""
    return [
        {
            "rank": rank,
            "chosen": one.proposal == made.chosen,
            "proposal": one.proposal,
            "score": one.score,
            "context": one.context,
            "local": one.local,
            "sentence": one.sentence,
            "noun": one.noun,
        }
        for rank, one in enumerate(best, start=1)
    ]
