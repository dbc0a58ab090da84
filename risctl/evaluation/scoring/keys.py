"""Defines by what predictions name the expressions of a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from risctl.errors import DataError, UsageError, unknown_name

if TYPE_CHECKING:
    import numpy as np

    from risctl.data.store.reader import Store

Fields = Mapping[str, "int | str"]
Value = tuple["int | str", ...]

KEYS: dict[str, tuple[str, ...]] = {
    "sent_id": ("sent_id",),
    "ref_id": ("ref_id", "sent_index"),
    "text": ("image_id", "text"),
    "file_name": ("file_name", "text"),
    "image_id": ("image_id",),
}
"""The keys in the order in which they are tried, with the fields that each needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """What names an expression in a file of predictions.

    Attributes:
        name: One of `KEYS`.
        rows: The sentence rows of the split by value; several where one value names several sentences.
        ambiguous: Values that name sentences of different targets.
    """

    name: str
    rows: Mapping[Value, tuple[int, ...]]
    ambiguous: Mapping[Value, tuple[int, ...]]

    def value(self, fields: Fields) -> Value:
        """Returns the value that an entry's fields have. Raises `ValueError` if one is missing."""
        missing = [name for name in KEYS[self.name] if name not in fields]
        if missing:
            raise ValueError(f"it has no {' and no '.join(missing)}, which the key {self.name} needs")
        return tuple(
            _COMPARED[name](str(fields[name])) if name in _COMPARED else fields[name] for name in KEYS[self.name]
        )

    def describe(self) -> str:
        """Returns the key in words."""
        return " + ".join(KEYS[self.name])


def normalised(text: str) -> str:
    """Returns a text in lowercase with single spaces: how texts are compared."""
    return " ".join(text.lower().split())


def base_name(path: str) -> str:
    """Returns the name of a file without its folders: those of the publisher are not those of other tools."""
    return path.replace("\\", "/").rpartition("/")[2]


_COMPARED = {"text": normalised, "file_name": base_name}
_BY_TEXT = ("text", "file_name")


def pick_key(store: Store, split: str, fields: Fields, *, name: str | None) -> Key:
    """Returns the key of a file of predictions.

    Args:
        store: The store.
        split: The split that is scored.
        fields: Those of the file's first entry.
        name: One of `KEYS`; None takes the first whose fields the entry has and which names each sentence of the split
            alone.

    Raises:
        UsageError: There is no such key, or the entry has not what it needs.
    """
    if name is not None and name not in KEYS:
        raise UsageError(unknown_name("key", name, KEYS))
    fitting = [one for one, needed in KEYS.items() if all(field in fields for field in needed)]
    if name is not None and name not in fitting:
        raise UsageError(
            f"the key {name} needs {' and '.join(KEYS[name])}; the first prediction has "
            f"{', '.join(fields) or 'none of the fields that name an expression'}"
        )
    if not fitting:
        raise UsageError(
            "the first prediction does not say which expression it is of: expected sent_id; or ref_id and sent_index; "
            f"or image_id (or file_name) and text; got {', '.join(fields) or 'none of them'}"
        )
    if name is not None:
        return _key(store, split, name)
    keys = []
    for one in fitting:
        keys.append(_key(store, split, one))
        # Equal texts of one image are an error only where a prediction uses one.
        if not keys[-1].ambiguous or one in _BY_TEXT:
            return keys[-1]
    raise UsageError(
        f"{' and '.join(key.describe() for key in keys)} of the predictions do not name the sentences of the split: "
        f"{len(keys[0].ambiguous):,} values stand for several; give each prediction its ref_id and sent_index"
    )


def _key(store: Store, split: str, name: str) -> Key:
    rows = store.sentences(split)
    values = _VALUES[name](store, rows)
    found: dict[Value, tuple[int, ...]] = {}
    for row, several in zip(rows.tolist(), values, strict=True):
        for value in dict.fromkeys(several):
            found[value] = (*found.get(value, ()), row)
    refs = store.numbers("sentences/ref")
    ambiguous = {
        value: those
        for value, those in found.items()
        # Two equal texts of one target are one question. Two sentences of one id are not.
        if len(those) > 1
        and (name not in _BY_TEXT or len({store.ref(int(refs[row])).annotations for row in those}) > 1)
    }
    return Key(name=name, rows=found, ambiguous=ambiguous)


def check_ambiguous(key: Key, used: list[Value], store: Store) -> None:
    """Raises `DataError` if predictions use values that name sentences of different targets."""
    if used:
        rows = key.ambiguous[used[0]]
        texts = " and ".join(repr(store.sentence(row).sent) for row in rows[:2])
        raise DataError(
            f"{len(used)} predictions are ambiguous by {key.describe()}: {', '.join(map(str, used[0]))} stands for "
            f"{len(rows)} sentences of the split ({texts}); name them by another key (--key "
            f"{' or '.join(one for one in KEYS if one not in (key.name, 'image_id'))})"
        )


def _sent_ids(store: Store, rows: np.ndarray) -> list[list[Value]]:
    return [[(number,)] for number in store.numbers("sentences/id")[rows].tolist()]


def _ref_ids(store: Store, rows: np.ndarray) -> list[list[Value]]:
    refs = store.numbers("sentences/ref")[rows]
    ids, first = store.numbers("refs/id")[refs], store.numbers("refs/sentences")[refs]
    return [[pair] for pair in zip(ids.tolist(), (rows - first).tolist(), strict=True)]


def _image_ids(store: Store, rows: np.ndarray) -> list[list[Value]]:
    images = store.numbers("refs/image")[store.numbers("sentences/ref")[rows]]
    return [[(number,)] for number in store.numbers("images/id")[images].tolist()]


def _file_names(store: Store, rows: np.ndarray) -> list[list[Value]]:
    names = store.file_names()
    found: list[list[Value]] = []
    for row in rows.tolist():
        sentence = store.sentence(row)
        # `risctl label` names the image of a store by its row.
        images = (base_name(names[sentence.image]), f"{store.path.name}#{sentence.image}")
        found.append([(name, normalised(text)) for name in images for text in (sentence.sent, sentence.raw)])
    return found


def _texts(store: Store, rows: np.ndarray) -> list[list[Value]]:
    found: list[list[Value]] = []
    for row, ((image,),) in zip(rows.tolist(), _image_ids(store, rows), strict=True):
        sentence = store.sentence(row)
        found.append([(image, normalised(text)) for text in (sentence.sent, sentence.raw)])
    return found


_VALUES: dict[str, Callable[[Store, np.ndarray], list[list[Value]]]] = {
    "sent_id": _sent_ids,
    "ref_id": _ref_ids,
    "text": _texts,
    "file_name": _file_names,
    "image_id": _image_ids,
}
