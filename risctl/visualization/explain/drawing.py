"""What is drawn of how a model came to an answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnAnswer:
    """sheet: uint8 (H, W, 3); kind: words, steps, queries or choices.

    numbers: what the sheet shows; answer: score and box, where there is one picture. Both are JSON values.
    """

    sheet: np.ndarray
    kind: str
    numbers: dict[str, Any]
    answer: dict[str, Any] = field(default_factory=dict)
