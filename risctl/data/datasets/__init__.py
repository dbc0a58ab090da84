"""One file a family of datasets: each reads a published format into a `Dataset`.

`READERS` maps the names that `risctl prepare` knows to the functions that read them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from risctl.data.datasets.refer import read_refer
from risctl.data.records import Dataset

READERS: Mapping[str, Callable[..., Dataset]] = {
    name: partial(read_refer, name=name) for name in ("refcoco", "refcoco+", "refcocog")
}
