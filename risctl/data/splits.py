"""Which splits of a dataset a name asks for, by the matching rules of the published REFER code; making splits."""

from __future__ import annotations

import math
import random
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from risctl.errors import UsageError, unknown_name

Item = TypeVar("Item", bound=Hashable)

ALL = "all"


def matches(asked: str, own: str) -> bool:
    """Return whether a ref of split `own` belongs to the split `asked`.

    `all` takes every ref; `testA`, `testB` and `testC` take those whose split is a test split with that letter
    (`testAB` is in both); `test` takes every test split; anything else is matched exactly.
    """
    if asked in (ALL, own):
        return True
    if asked in ("testA", "testB", "testC"):
        return own.startswith("test") and asked[-1] in own[len("test") :]
    return asked == "test" and "test" in own


def matching(asked: str, splits: Iterable[str]) -> list[str]:
    """Return those of `splits` that `asked` takes. Raises `UsageError` naming the nearest if there is none."""
    known = list(splits)
    taken = [own for own in known if matches(asked, own)]
    if not taken:
        raise UsageError(unknown_name("split", asked, [*known, ALL]))
    return taken


def shared_out(items: Sequence[Item], *, shares: Mapping[str, float], seed: int) -> dict[Item, str]:
    """Return the split of each item: at random by `seed`, as many to each split as its share says, rounded."""
    shuffled = list(items)
    random.Random(seed).shuffle(shuffled)
    names = list(shares)
    edges = np.cumsum([share / math.fsum(shares.values()) for share in shares.values()]) * len(shuffled)
    places = np.minimum(np.searchsorted(edges, np.arange(len(shuffled)) + 0.5), len(names) - 1)
    return {item: names[place] for item, place in zip(shuffled, places.tolist(), strict=True)}


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
