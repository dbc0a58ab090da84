"""The sheet on which a zero-shot answer explains itself: its best proposals and what each of their parts scored."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from risctl.files import replacing
from risctl.vision.drawing.captions import Caption, with_captions
from risctl.vision.drawing.contact_sheet import fitted, grid
from risctl.vision.drawing.overlays import overlay
from risctl.vision.drawing.palette import colour
from risctl.zeroshot.predictor import Answer, ZeroShot

_CELL, _LETTERS, _COLUMNS = 320, 14, 3
_CHOSEN, _OTHER = colour(1), colour(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnProposals:
    """sheet: uint8 (H, W, 3); proposals: the best, with the scores of their parts, as JSON values."""

    sheet: np.ndarray
    proposals: list[dict[str, Any]]


def draw_proposals(zero_shot: ZeroShot, answer: Answer, *, most: int = 8) -> DrawnProposals:
    """Draw the `most` best proposals of an answer about the picture in hand, with the cosines of their parts."""
    pixels = zero_shot.picture.pixels
    panels, proposals = [], []
    for rank, one in enumerate(zero_shot.explain(answer, most=most), start=1):
        chosen = one.proposal == answer.chosen
        paint = _CHOSEN if chosen else _OTHER
        picture, masks = fitted(pixels, [zero_shot.proposals.masks[one.proposal]], width=_CELL, height=_CELL)
        captions = [
            Caption(text=f"{rank}. score {one.score:.3f}{', the answer' if chosen else ''}", colour=paint),
            Caption(text=f"cosines: global {one.context:.3f}, local {one.local:.3f},"),
            Caption(text=f"sentence {one.sentence:.3f}, noun phrase {one.noun:.3f}"),
        ]
        panels.append(with_captions(overlay(picture, masks, colours=[paint]), captions, size=_LETTERS, width=_CELL))
        proposals.append({"rank": rank, "chosen": chosen, **asdict(one)})
    none = "" if panels else " There is no proposal to choose from."
    if not panels:
        panels.append(fitted(pixels, width=_CELL, height=_CELL)[0])
    heading = [
        Caption(text=f"“{answer.prediction.text}”"),
        Caption(text=f"Noun phrase: {answer.phrase}. {len(zero_shot.proposals)} proposals, the best first.{none}"),
    ]
    return DrawnProposals(sheet=grid(panels, columns=_COLUMNS, heading=heading), proposals=proposals)


def write_sheet(zero_shot: ZeroShot, answer: Answer, path: Path, *, most: int = 8) -> None:
    """Write the sheet of an answer about the picture in hand as a JPEG."""
    with replacing(path) as beside:
        Image.fromarray(draw_proposals(zero_shot, answer, most=most).sheet).save(beside, "JPEG", quality=90)
