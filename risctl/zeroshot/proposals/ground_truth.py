"""Proposes a store's own annotations: the upper bound that the paper reports."""

from __future__ import annotations

import numpy as np

from risctl.data.store.reader import Store
from risctl.errors import UsageError
from risctl.zeroshot.proposals.base import InputImage, Proposals, SourceOptions, from_rles


class GroundTruth:
    """Proposes all annotated instances of an image, referred to or not, crowds left out."""

    name = "COCO ground truth (an upper bound, no prediction)"

    def __init__(self, store: Store) -> None:
        self._store = store

    def __call__(self, image: InputImage) -> Proposals:
        """Returns the annotations of the image's row.

        Raises:
            UsageError: The image comes from no store.
        """
        if image.row is None:
            raise UsageError("ground-truth proposals exist for the images of a store only; name another source")
        annotations = [self._store.annotation(int(row)) for row in self._store.annotations_of(image.row)]
        annotations = [annotation for annotation in annotations if not annotation.crowd]
        return from_rles(
            [annotation.mask for annotation in annotations],
            scores=np.ones(len(annotations), dtype=np.float32),
            categories=np.array([annotation.category_id for annotation in annotations], dtype=np.int64),
            image=image,
        )


def build(options: SourceOptions) -> GroundTruth:
    """Returns the annotations of the store that is evaluated. Raises `UsageError` if there is none."""
    if options.store is None:
        raise UsageError("ground-truth proposals exist for a store only (`risctl zeroshot eval`)")
    return GroundTruth(options.store)
