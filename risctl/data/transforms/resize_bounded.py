"""What is done to pictures before a detector: both sides bounded, as large as the bounds allow."""

from __future__ import annotations

from risctl.data.transforms.letterbox import LongestSidePreprocess
from risctl.language.vocabulary import Vocabulary
from risctl.vision.resized import Fitted


class BoundedSidesPreprocess(LongestSidePreprocess):
    """Pictures scaled until the short side is `short` or the long side `longest`, each in an input of its own."""

    def __init__(self, *, short: int, longest: int, multiple: int, max_words: int, vocabulary: Vocabulary) -> None:
        super().__init__(longest=longest, multiple=multiple, max_words=max_words, vocabulary=vocabulary)
        self.short = short

    def fit(self, *, height: int, width: int) -> Fitted:
        """Return how `image` lays a picture of this size."""
        longest = min(self.longest, round(self.short * max(height, width) / min(height, width)))
        return Fitted.fit(height=height, width=width, longest=longest, multiple=self.multiple)
