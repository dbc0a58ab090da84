"""The colours of boxes."""

from __future__ import annotations

import torch

from risctl.core.fusion.colour_histograms import APPEARANCE, colour_histograms
from risctl.vision.colour_names import NAMES


def test_a_box_knows_its_colours() -> None:
    image = torch.full((1, 3, 64, 64), 0.5)
    image[0, :, 8:36, 8:56] = torch.tensor([0.8, 0.1, 0.1])[:, None, None]
    image[0, :, 36:60, 8:56] = torch.tensor([0.1, 0.1, 0.8])[:, None, None]
    shares = colour_histograms(image, torch.tensor([[[8.0, 8, 56, 60]]]))[0, 0].view(2, len(NAMES))
    assert NAMES[int(shares[0].argmax())] == "red" and NAMES[int(shares[1].argmax())] == "blue"
    assert float(shares.sum(1).max()) <= 1 + 1e-5
    assert colour_histograms(image, torch.zeros(1, 0, 4)).shape == (1, 0, APPEARANCE)
