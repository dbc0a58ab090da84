"""A store's own annotations as proposals: the upper bound that the paper tables."""

from __future__ import annotations

import numpy as np

from risctl.data.store.reader import Store
from risctl.errors import UsageError
from risctl.zeroshot.proposals.base import Picture, Proposals, from_rles


class GroundTruth:
    """All annotated instances of an image, referred to or not, crowds left out."""

    name = "COCO ground truth (an upper bound, no prediction)"

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, picture: Picture) -> Proposals:
        """Return the annotations of the picture's row. Raises `UsageError` if it comes from no store."""
        if picture.row is None:
            raise UsageError("ground-truth proposals are there for the pictures of a store only; name another source")
        found = [self._store.annotation(int(row)) for row in self._store.annotations_of(picture.row)]
        found = [one for one in found if not one.crowd]
        return from_rles(
            [one.mask for one in found],
            scores=np.ones(len(found), dtype=np.float32),
            categories=np.array([one.category_id for one in found], dtype=np.int64),
            picture=picture,
        )
