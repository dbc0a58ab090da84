"""Gives the predicted masks of sentences: read one by one, checked, instances united."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from risctl.data.store.reader import Store
from risctl.errors import DataError
from risctl.evaluation.scoring.masks import Resize, WrongSizeError, checked, united
from risctl.evaluation.scoring.matching import Matches, Scored, Tally
from risctl.evaluation.scoring.source import PredictionSource, UnreadableMaskError
from risctl.metrics.overlaps import Mask, target_mask
from risctl.metrics.protocols import Protocol
from risctl.vision import rle

INSTANCE_THRESHOLD = 0.5
"""Instances of a sentence are united from this score on."""


class PredictedMasks:
    """The masks of a source by sentence, checked: what `measure` and the pictures of a report read."""

    def __init__(
        self,
        source: PredictionSource,
        store: Store,
        matches: Matches,
        *,
        protocols: Sequence[Protocol],
        resize: Resize | None = None,
        threshold: float | None = None,
    ) -> None:
        self._source, self._store, self._matches = source, store, matches
        self._protocols, self._resize, self._threshold = protocols, resize, threshold
        self._places = {int(row): place for place, row in enumerate(matches.rows)}
        self.resized = Tally()

    def of(self, row: int, *, size: tuple[int, int]) -> tuple[Mask, float, bool | None] | None:
        """Returns mask, score and "says none" of the sentence of `row`; None where it has no prediction.

        Args:
            row: The sentence's row.
            size: (height, width) of its image.

        Raises:
            WrongSizeError: The mask has another size than its image.
            UnreadableMaskError: The mask cannot be read.
        """
        several = self._matches.of(self._places[row])
        if not several:
            return None
        score = max((one.score for one in several if one.score is not None), default=1.0)
        if self._matches.instances:
            several = [one for one in several if one.score is not None and one.score >= INSTANCE_THRESHOLD]
        masks = [self._mask(one, size) for one in several]
        none = several[0].says_none if len(several) == 1 else None
        return (united(masks) if masks else rle.empty(*size)), score, none

    def _mask(self, one: Scored, size: tuple[int, int]) -> Mask:
        where = self._source.where(one.position)
        try:
            found = self._source.mask(one.position, height=size[0], width=size[1])
            mask, resized = checked(
                found, size=size, protocols=self._protocols, resize=self._resize, threshold=self._threshold
            )
        except WrongSizeError as error:
            raise WrongSizeError(f"{where}: {error}") from None
        except UnreadableMaskError as error:
            raise UnreadableMaskError(f"{where}: {error}") from None
        if resized:
            self.resized.add(where)
        return mask

    def error(self, message: str) -> DataError:
        """Returns an error that names the file."""
        return DataError(f"{self._source.path}: {message}")

    def decoded(self, rows: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yields (row, bool mask (H, W)) of sentences, at the size of their images, as pictures of a report need it."""
        for row in rows:
            image = self._store.image(self._store.sentence(row).image)
            found = self.of(row, size=(image.height, image.width))
            mask = np.zeros((image.height, image.width), dtype=bool) if found is None else _dense(found[0])
            yield row, target_mask(mask, resolution=(image.height, image.width))


def _dense(mask: Mask) -> np.ndarray:
    return rle.decode(mask) if isinstance(mask, dict) else mask
