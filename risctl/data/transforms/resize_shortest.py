"""What is done to pictures before ReferFormer: a short side of fixed length, no border."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from risctl.data.batch import own_geometry
from risctl.language.vocabulary import Vocabulary
from risctl.vision.geometry import Geometry
from risctl.vision.resize_shortest import ShortSide


class ShortSidePreprocess:
    """Pictures whose short side becomes `short`, less if the other would pass `longest`; a `Preprocess`.

    Targets have the input's size; max_words: longer texts are cut.
    """

    def __init__(self, *, short: int, longest: int | None, max_words: int, vocabulary: Vocabulary) -> None:
        self.short = short
        self.longest = longest
        self.max_words = max_words
        self.vocabulary = vocabulary

    def sized(self, short: int, *, longest: int | None) -> ShortSidePreprocess:
        """Return it with another short side; longest: what the other side may not pass, None: as here."""
        return ShortSidePreprocess(
            short=short,
            longest=self.longest if longest is None else longest,
            max_words=self.max_words,
            vocabulary=self.vocabulary,
        )

    def image(self, image: np.ndarray) -> tuple[Tensor, ShortSide]:
        """Return the input (3, h, w), RGB in [0, 1], of a uint8 picture (H, W, 3), and how it lies in it."""
        geometry = self.fit(height=image.shape[0], width=image.shape[1])
        return geometry.image(image), geometry

    def fit(self, *, height: int, width: int) -> ShortSide:
        """Return how `image` lays a picture of this size."""
        return ShortSide.fit(height=height, width=width, short=self.short, longest=self.longest)

    def text(self, text: str) -> tuple[Tensor, Tensor]:
        """Return token ids (L,) int64 and their mask bool. Raises `UsageError` if the text has no word."""
        # As published: RoBERTa tells cases apart, the texts it was fine-tuned on had none.
        return self.vocabulary.encode(text.lower(), max_words=self.max_words)

    def target(self, mask: np.ndarray, geometry: Geometry) -> Tensor:
        """Return the target (h, w), 0 or 1, of a bool mask (H, W)."""
        return own_geometry(geometry, ShortSide).mask(mask)
