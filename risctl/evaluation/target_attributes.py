"""Describes a sample's target by the attributes that breakdowns group samples by."""

from __future__ import annotations

import numpy as np

from risctl.data.store.reader import Store
from risctl.data.store.rows import RefRow
from risctl.metrics.rows import Facts


def attributes_of(store: Store, ref: RefRow, *, target: np.ndarray) -> Facts:
    """Returns the attributes of the target of `ref`, whose mask is `target`, bool (H, W)."""
    there = store.annotations_of(ref.image)
    wanted = set(ref.category_ids)
    categories = store.numbers("annotations/category")[there].tolist()
    alike = [row for row, category in zip(there.tolist(), categories, strict=True) if category in wanted]
    return Facts(
        targets=len(ref.annotations),
        categories=tuple(
            dict.fromkeys(
                store.categories.get(category_id, f"category {category_id}") for category_id in ref.category_ids
            )
        ),
        area=float(np.count_nonzero(target)) / max(1, target.size),
        distractors=len(set(alike) - set(ref.annotations)),
    )
