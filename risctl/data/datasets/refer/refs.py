"""Reads the refs of REFER's published files: checked, with unique ids, sentences as `Expression`s."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from risctl.data.datasets.problems import Problems
from risctl.data.pickles import read_pickle
from risctl.data.records import Expression
from risctl.errors import DataError
from risctl.json_text import parse_json

# Far above any published set; a crafted pickle can repeat one list a great many times at no cost of its own.
MAX_SENTENCES = 5_000_000
NO_TARGET = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """A published ref; without annotations it is a no-target ref."""

    ref_id: int
    image_id: int
    annotation_ids: tuple[int, ...]
    category_ids: tuple[int, ...]
    split: str
    expressions: tuple[Expression, ...]


def read_refs(path: Path, *, generalised: bool, problems: Problems) -> list[Ref]:
    """Reads refs from a pickle, or from JSON if the file's name says so.

    Args:
        path: The file.
        generalised: Whether it is gRefCOCO's: a ref has lists of annotations and categories, [-1] means that there is
            no target, and a sentence may lack its raw form.
        problems: Where repairs are counted.

    Raises:
        DataError: The file cannot be read, or an entry is of another form.
    """
    return refs_of(_loaded(path), source=str(path), generalised=generalised, problems=problems)


def refs_of(content: Any, *, source: str, generalised: bool, problems: Problems) -> list[Ref]:
    """Returns the refs of a file's content; `source` names where it is from. See `read_refs`."""
    return list(_parsed(content, source=source, generalised=generalised, problems=problems))


def _loaded(path: Path) -> Any:
    if path.suffix != ".json":
        return read_pickle(path)
    try:
        return parse_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON ({error}); get the file again") from error


def _parsed(refs: Any, *, source: str, generalised: bool, problems: Problems) -> Iterator[Ref]:
    if not isinstance(refs, list) or not refs:
        raise DataError(f"{source} is not a list of refs; expected REFER's refs(SPLITBY).p")
    ref_ids, sentence_ids = _Numbering(), _Numbering()
    for ref in refs:
        if isinstance(ref, dict) and isinstance(ref.get("sentences"), list):
            ref_ids.reserve(ref.get("ref_id"))
            sentence_ids.reserve(*(one.get("sent_id") for one in ref["sentences"] if isinstance(one, dict)))
    for place, ref in enumerate(refs):
        where = f"{source}: refs[{place}]"
        if not isinstance(ref, dict):
            raise DataError(f"{where} is not a dict; expected REFER's refs(SPLITBY).p")
        published = _field(ref, "ref_id", int, where)
        ref_id = ref_ids.unique(published)
        if ref_id != published:
            problems.repair("repeated ref ids, renumbered", published)
        expressions = []
        for sentence in _field(ref, "sentences", list, where):
            if generalised and isinstance(sentence, dict) and "raw" not in sentence:
                sentence = {**sentence, "raw": sentence.get("sent")}
            expression = _expression(sentence, where, numbering=sentence_ids, problems=problems)
            if expression:
                expressions.append(expression)
        if not expressions:
            problems.repair("refs without a sentence, dropped", published)
            continue
        annotation_ids = _ids(ref, "ann_id", where, several=generalised)
        yield Ref(
            ref_id=ref_id,
            image_id=_field(ref, "image_id", int, where),
            annotation_ids=() if generalised and set(annotation_ids) <= {NO_TARGET} else annotation_ids,
            category_ids=_ids(ref, "category_id", where, several=generalised),
            split=_field(ref, "split", str, where),
            expressions=tuple(expressions),
        )


def _ids(ref: dict[Any, Any], key: str, where: str, *, several: bool) -> tuple[int, ...]:
    if not several or not isinstance(ref.get(key), list):
        return (_field(ref, key, int, where),)
    return tuple(dict.fromkeys(_field({key: one}, key, int, where) for one in ref[key]))


def _expression(sentence: Any, where: str, *, numbering: _Numbering, problems: Problems) -> Expression | None:
    if not isinstance(sentence, dict):
        raise DataError(f"{where} has a sentence that is not a dict: {sentence!r:.60}")
    published = _field(sentence, "sent_id", int, where)
    raw, sent = _clean(_field(sentence, "raw", str, where)), _clean(_field(sentence, "sent", str, where))
    if not sent.strip():
        if not raw.strip():
            problems.repair("sentences without a word, dropped", published)
            return None
        problems.repair("sentences without a normalised form, taken from the raw one", published)
        sent = raw.lower().strip()
    tokens = sentence.get("tokens")
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens) or not tokens:
        problems.repair("sentences without tokens, split at spaces", published)
        tokens = sent.split()
    sentence_id = numbering.unique(published)
    if sentence_id != published:
        problems.repair("repeated sentence ids, renumbered", published)
    return Expression(sentence_id=sentence_id, raw=raw, sent=sent, tokens=tuple(_clean(token) for token in tokens))


class _Numbering:
    """Keeps ids unique: of equal ids the first is kept, the others get the next free ones."""

    def __init__(self) -> None:
        self._taken: set[int] = set()
        self._next = 0
        self._reserved = 0

    def reserve(self, *numbers: Any) -> None:
        """Keeps published `numbers` free for those who have them."""
        self._reserved += len(numbers)
        if self._reserved > MAX_SENTENCES:
            raise DataError(
                f"more than {MAX_SENTENCES:,} sentences: this is not a published set of referring expressions"
            )
        self._next = max([self._next, *(number + 1 for number in numbers if isinstance(number, int))])

    def unique(self, number: int) -> int:
        """Returns `number`, or a free one if it is taken."""
        if number in self._taken:
            number, self._next = self._next, self._next + 1
        self._taken.add(number)
        return number


def _field(entry: dict[Any, Any], key: str, kind: type, where: str) -> Any:
    value = entry.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(f"{where} has {key} {value!r:.60}; expected {kind.__name__}")
    if isinstance(value, int) and abs(value) >= 2**62:
        raise DataError(f"{where} has {key} {value!r:.60}; expected an id")
    return value


def _clean(text: str) -> str:
    """Returns the text without halves of surrogate pairs, which no file or terminal takes."""
    return text.encode("utf-8", errors="replace").decode("utf-8")
