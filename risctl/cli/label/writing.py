"""What `risctl label` and `risctl label join` write of rows, by `--format` and `--out`."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.cli import console
from risctl.cli.formats_option import NAMES
from risctl.errors import UsageError, unknown_name

if TYPE_CHECKING:
    from risctl.labelling.output import LabelFolder
    from risctl.labelling.worker import Row

_KINDS = ("parquet", "jsonl")
_PNG = "png"
_KNOWN = (*_KINDS, _PNG, *NAMES)


def complete(incomplete: str) -> list[str]:
    """Returns the completions of a list of formats."""
    named, comma, begun = incomplete.rpartition(",")
    return [f"{named}{comma}{name}" for name in _KNOWN if name.startswith(begun)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is written.

    Attributes:
        out: As it was named.
        kind: The format of rows: parquet or jsonl.
        further: Further formats, of annotation tools or png.
        file: Whether `out` is one file of all rows.
    """

    out: Path
    kind: str
    further: tuple[str, ...]
    file: bool

    @property
    def folder(self) -> Path:
        """The folder of the parts: `out`, or one beside it until the file is written."""
        return self.out.with_name(f"{self.out.name}.parts") if self.file else self.out

    def check(self, *, source: str, resume: bool, overwrite: bool) -> None:
        """Raises an error where the output cannot be written, before anything is computed."""
        from risctl.labelling.rows_file import check_kind
        from risctl.output_files import check_replaceable

        check_kind(self.kind)
        if self.file:
            if self.out.resolve() == Path(source).resolve():
                raise UsageError(f"{self.out} is the source; name another output")
            check_replaceable(self.out, overwrite=overwrite or resume)
        elif self.out.is_file():
            raise UsageError(f"{self.out} is a file; name a folder, or a file that ends in .parquet or .jsonl")
        elif self.out.is_dir() and Path(source).is_dir() and self.out.resolve() == Path(source).resolve():
            raise UsageError(f"{self.out} is the folder of the pictures; name another folder with --out")

    def is_written(self, *, resume: bool) -> bool:
        """Returns whether an earlier run that `resume` goes on with has written its file."""
        return self.file and resume and self.out.is_file() and not (self.folder / "label.json").exists()

    def tidy(self, folder: LabelFolder) -> None:
        """Removes the parts of a file that is whole: the request first, so that a kill leaves no half of them."""
        if self.file:
            folder.clear()
            shutil.rmtree(self.folder, ignore_errors=True)


def wanted_of(formats: str | None, out: Path) -> Wanted:
    """Returns what options name. Raises `UsageError` for unknown formats, two kinds of rows, or a cloud."""
    # A path of "s3://bucket/labels" is "s3:/bucket/labels".
    if re.match(r"[a-z][a-z0-9+.-]+:/", str(out)):
        raise UsageError(
            f"--out is on this machine, got {out}: parts are written whole and locked there, which cloud storage does "
            "not do; name a folder, and copy it afterwards"
        )
    names = list(dict.fromkeys(name.strip() for name in (formats or "").split(",") if name.strip()))
    for name in names:
        if name not in _KNOWN:
            raise UsageError(unknown_name("format", name, _KNOWN))
    kinds = [name for name in names if name in _KINDS]
    file = out.suffix.lower() in (".parquet", ".jsonl")
    if file:
        kinds.append(out.suffix.lower()[1:])
    if len(set(kinds)) > 1:
        raise UsageError(f"rows are written as {' or '.join(dict.fromkeys(kinds))}, not both; name one")
    further = tuple(name for name in names if name not in _KINDS)
    if file and further:
        raise UsageError(f"{', '.join(further)} are folders; name a folder with --out")
    if not kinds:
        from risctl.labelling.rows_file import usual_kind

        kinds = [usual_kind()]
    return Wanted(out=out, kind=kinds[0], further=further, file=file)


def write_wanted(
    wanted: Wanted,
    rows: Callable[[], Iterator[Row]],
    about: Mapping[str, Any],
    *,
    copies: bool,
    review: Path | None,
    count: int,
) -> dict[str, Any]:
    """Writes what was asked of the rows of a collection that is whole, and returns the numbers of files.

    What a killed run has written of it is replaced: it is made of the rows anew.
    """
    from risctl.labelling.join import write_annotations, write_pictures
    from risctl.labelling.rows_file import write_rows
    from risctl.output_files import OutputFiles

    outputs = OutputFiles(overwrite=True)
    written: dict[str, Any] = {}
    annotations = [name for name in wanted.further if name != _PNG]
    if annotations:
        written |= write_annotations(rows(), wanted.out, annotations, images=copies, outputs=outputs)
    if _PNG in wanted.further:
        written[_PNG] = write_pictures(rows(), wanted.out / _PNG, outputs=outputs)
    for name, number in written.items():
        console.say(f"{wanted.out / name}: {number} file{'s' if number != 1 else ''}")
    if review is not None:
        from risctl.labelling.review_page import write_review

        number = write_review(
            rows(), review, count=count, plan=about["plan"], no_target=about["no_target_threshold"], outputs=outputs
        )
        written["review"] = number
        console.say(f"{review / 'index.html'}: {number} answers to accept or refuse")
    if wanted.file:
        write_rows(wanted.out, rows(), outputs=OutputFiles(overwrite=True))
    return written
