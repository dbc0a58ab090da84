"""Asks a prediction for the image that drawing needs."""

from __future__ import annotations

import numpy as np

from risctl.results import Prediction


def with_image(prediction: Prediction) -> np.ndarray:
    """Returns the image that `prediction` kept, uint8 RGB (H, W, 3). Raises `ValueError` if it kept none."""
    if prediction.image is None:
        raise ValueError("expected a prediction that kept its image, as those of `Predictor.predict` do")
    return prediction.image
