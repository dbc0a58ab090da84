"""Matches names of splits by the rules of the published REFER code, and divides items into splits."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from risctl.errors import UsageError, unknown_name

Item = TypeVar("Item", bound=Hashable)

ALL = "all"


def matches(requested: str, split: str) -> bool:
    """Returns whether refs of `split` belong to the `requested` split.

    `all` takes every ref; `testA`, `testB` and `testC` take those whose split is a test split with that letter
    (`testAB` is in both); `test` takes every test split; anything else is matched exactly.
    """
    if requested in (ALL, split):
        return True
    if requested in ("testA", "testB", "testC"):
        return split.startswith("test") and requested[-1] in split[len("test") :]
    return requested == "test" and "test" in split


def matching(requested: str, splits: Iterable[str]) -> list[str]:
    """Returns those of `splits` that match `requested`.

    Raises:
        UsageError: None does; the message names the nearest one.
    """
    known = list(splits)
    found = [split for split in known if matches(requested, split)]
    if not found:
        raise UsageError(unknown_name("split", requested, [*known, ALL]))
    return found


def assign_splits(items: Sequence[Item], *, shares: Mapping[str, float], seed: int) -> dict[Item, str]:
    """Assigns items to splits at random.

    Args:
        items: The items.
        shares: Relative size of each split.
        seed: Seed of the assignment.

    Returns:
        The split of each item; each split has its share of the items, rounded.
    """
    names = list(shares)
    places = assigned(len(items), shares=shares, seed=seed)
    return {item: names[place] for item, place in zip(items, places.tolist(), strict=True)}


def assigned(count: int, *, shares: Mapping[str, float], seed: int) -> np.ndarray:
    """Returns the place among `shares` of each of `count` items, int64 (count,): what `assign_splits` gives by name."""
    order = array("q", range(count))
    random.Random(seed).shuffle(order)
    edges = np.cumsum([share / math.fsum(shares.values()) for share in shares.values()]) * count
    places = np.empty(count, dtype=np.int64)
    places[np.frombuffer(order, dtype=np.int64)] = np.minimum(
        np.searchsorted(edges, np.arange(count) + 0.5), len(shares) - 1
    )
    return places


def parse_shares(text: str) -> dict[str, float]:
    """Returns split -> share of a text such as "train=0.9,test=0.1". Raises `UsageError` for another form."""
    shares = {}
    for part in text.split(","):
        name, _, share = part.partition("=")
        try:
            value = float(share)
        except ValueError:
            value = math.nan
        if not name.strip() or not (math.isfinite(value) and value > 0):
            raise UsageError(f"expected --splits such as train=0.8,val=0.1,test=0.1; got {text!r:.80}")
        shares[name.strip()] = value
    return shares
