"""The sheet on which a zero-shot answer explains itself: its best proposals and what each of their parts scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from risctl.data.atomic import replacing
from risctl.engine.zeroshot import Answer, ZeroShot
from risctl.viz.overlays import overlay
from risctl.viz.sheets import contact_sheet


def write_sheet(zero_shot: ZeroShot, answer: Answer, path: Path, *, most: int = 8) -> None:
    """Write the sheet of an answer about the picture in hand as a JPEG."""
    pixels = zero_shot.picture.pixels
    drawn, captions = [pixels], [f"{answer.prediction.text} | noun phrase: {answer.phrase}"]
    for rank, one in enumerate(zero_shot.explain(answer, most=most), start=1):
        drawn.append(overlay(pixels, [zero_shot.proposals.masks[one.proposal]]))
        captions.append(
            f"{rank}. {'chosen, ' if one.proposal == answer.chosen else ''}score {one.score:.3f}; cosines: global "
            f"{one.context:.3f}, local {one.local:.3f}, sentence {one.sentence:.3f}, noun phrase {one.noun:.3f}"
        )
    if len(drawn) == 1:
        captions[0] += " | no proposals"
    sheet = contact_sheet([np.asarray(one) for one in drawn], captions, columns=3)
    with replacing(path) as beside:
        Image.fromarray(sheet).save(beside, "JPEG", quality=90)
