"""The colours of boxes."""

from __future__ import annotations

import torch

from risctl.core.fusion.colour_histograms import APPEARANCE, PARTS, colour_histograms, looks_of
from risctl.vision.colour_names import NAMES


def test_a_box_knows_its_colours() -> None:
    image = torch.full((1, 3, 64, 64), 0.5)
    image[0, :, 8:36, 8:56] = torch.tensor([0.8, 0.1, 0.1])[:, None, None]
    image[0, :, 36:60, 8:56] = torch.tensor([0.1, 0.1, 0.8])[:, None, None]
    shares = colour_histograms(image, torch.tensor([[[8.0, 8, 56, 60]]]))[0, 0].view(2, len(NAMES))
    assert NAMES[int(shares[0].argmax())] == "red" and NAMES[int(shares[1].argmax())] == "blue"
    assert float(shares.sum(1).max()) <= 1 + 1e-5
    assert colour_histograms(image, torch.zeros(1, 0, 4)).shape == (1, 0, APPEARANCE)


def test_parts_tell_hair_shirt_and_trousers() -> None:
    image = torch.full((1, 3, 70, 64), 0.5)
    for rows, colour in (
        (slice(0, 15), (0.1, 0.08, 0.08)),
        (slice(15, 40), (0.8, 0.1, 0.1)),
        (slice(40, 70), (0.1, 0.15, 0.7)),
    ):
        image[0, :, rows] = torch.tensor(colour)[:, None, None]
    box = torch.tensor([[[8.0, 0, 56, 70]]])
    shares = looks_of(image, box, count=PARTS)[0, 0].view(3, len(NAMES))
    assert [NAMES[int(row.argmax())] for row in shares] == ["red", "blue", "black"]
    assert torch.allclose(shares.sum(1), torch.ones(3), atol=1e-4)
    assert torch.equal(looks_of(image, box, count=APPEARANCE), colour_histograms(image, box))
    assert looks_of(image, torch.zeros(1, 0, 4), count=PARTS).shape == (1, 0, PARTS)
