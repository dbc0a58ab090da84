"""Describes a sample's target by the attributes that breakdowns group samples by."""

from __future__ import annotations

from risctl.data.store.reader import Store
from risctl.data.store.rows import RefRow
from risctl.metrics.rows import Facts


def attributes_of(store: Store, ref: RefRow, *, pixels: int) -> Facts:
    """Returns the attributes of the target of `ref`, whose mask has `pixels` set pixels."""
    size = int(store.numbers("images/height")[ref.image]) * int(store.numbers("images/width")[ref.image])
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
        area=pixels / max(1, size),
        distractors=len(set(alike) - set(ref.annotations)),
    )
