"""Brings the decisions of a review into the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from risctl.errors import DataError
from risctl.json_text import parse_object, whole_number, writable_text
from risctl.labelling.output import LabelFolder

DECISIONS = ("accepted", "refused")
_MAX_BYTES = 500_000_000
_MOST_IMAGES = 1 << 53


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """What was decided.

    Attributes:
        plan: What identifies the collection.
        made: The decision by image and phrase.
    """

    plan: str
    made: dict[tuple[int, str], str]


def read_decisions(path: Path) -> Decisions:
    """Returns what a page of a review saved. Raises `DataError` for any other file."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError("it is too large")
        content = parse_object(path.read_bytes(), max_bytes=_MAX_BYTES)
        if content.get("format") != "risctl-decisions" or content.get("version") != 1:
            raise ValueError('it is no file that "Save decisions" wrote')
        made = {}
        for place, one in enumerate(content.get("decisions", []), start=1):
            if not isinstance(one, dict) or one.get("decision") not in DECISIONS:
                raise ValueError(f"decision {place} is neither accepted nor refused")
            index = whole_number(one.get("index"), name=f"the index of decision {place}", maximum=_MOST_IMAGES)
            made[index, writable_text(one.get("phrase"), name=f"the phrase of decision {place}")] = one["decision"]
        return Decisions(plan=writable_text(content.get("plan"), name="plan"), made=made)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} holds no decisions: {error}") from error


def apply_decisions(paths: Sequence[Path], decisions: Decisions) -> dict[str, int]:
    """Writes decisions into the rows of folders, part by part, and returns how many of each were applied.

    A part is written anew whole; the same decisions may be applied again.

    Raises:
        DataError: A folder is of another collection, or has no row that a decision is about.
        UsageError: Another process is writing to a folder.
    """
    counts: Counter[str] = Counter(dict.fromkeys(DECISIONS, 0))
    left = dict(decisions.made)
    with ExitStack() as stack:
        folders = [LabelFolder(path) for path in paths]
        for folder in folders:
            folder.open()
            stack.enter_context(folder.locked())
            if folder.about["plan"] != decisions.plan:
                raise DataError(f"the decisions are of another collection than {folder.path}")
        wanted = {index // folders[0].size for index, _ in left}
        for folder in folders:
            for number in sorted(wanted & {one for one in folder.numbers() if folder.is_done(one)}):
                rows = list(folder.rows_of(number, check=True))
                for row in rows:
                    made = left.pop((row["index"], row["phrase"]), None)
                    if made is not None:
                        row["decision"] = made
                        counts[made] += 1
                folder.write_part(number, rows)
    if left:
        index, phrase = next(iter(left))
        raise DataError(
            f"{len(left)} decisions are about rows that are not there, such as {phrase!r:.60} of image {index}; name "
            "the folders of all shards"
        )
    return dict(counts)
