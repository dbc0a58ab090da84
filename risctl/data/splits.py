"""Which splits of a dataset a name asks for: the matching rules of the published REFER code."""

from __future__ import annotations

from collections.abc import Iterable

from risctl.errors import UsageError, unknown_name

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
