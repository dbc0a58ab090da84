"""Reads predictions from parquet: one file or a folder of several, such as `risctl label` writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from risctl.errors import DataError, MachineError
from risctl.evaluation.scoring.json_source import checked_entry, mask_of
from risctl.evaluation.scoring.source import BrokenEntry, Entry, FoundMask, UnreadableMaskError
from risctl.json_text import parse_json

SUFFIX = ".parquet"
_SEGMENTATION = "segmentation"
_NAMES = (
    *("sent_id", "sentence_id", "ref_id", "sent_index", "image_id", "image", "file_name", "text", "phrase"),
    *("sentence", "expression", "score", "no_target", "matched"),
)

Position = tuple[int, int, int, int]
"""The file, the row group in it, the row in that, and the number of the row in the file, from 1."""


class ParquetSource:
    """A table of predictions: what names the expression, `segmentation` (an RLE, or JSON), `score` if there is one.

    Groups of rows are read one at a time.
    """

    def __init__(self, path: Path) -> None:
        """Opens a file or a folder. Raises `DataError` if it is no such table, `MachineError` without pyarrow."""
        try:
            from pyarrow import parquet
        except ImportError as error:
            raise MachineError(f"{path} needs pyarrow, which reads parquet: pip install 'risctl[tables]'") from error
        self.path = path
        self._paths = parquet_files(path) if path.is_dir() else [path]
        self.kind = "a parquet table" if path.is_file() else f"{len(self._paths)} parquet files"
        self._files: list[Any] = []
        self._cached: tuple[tuple[int, int], list[Any]] | None = None
        for file in self._paths:
            try:
                self._files.append(parquet.ParquetFile(file))
            except (OSError, ValueError) as error:  # pyarrow's own errors are of these
                self.close()
                raise DataError(f"{file} cannot be read as parquet: {' '.join(str(error).split())[:200]}") from error
            if _SEGMENTATION not in self._files[-1].schema_arrow.names:
                self.close()
                raise DataError(f"{file} has no column segmentation; its rows are no predictions")

    def entries(self) -> Iterator[Entry | BrokenEntry]:
        """Yields all rows in order; see `PredictionSource.entries`."""
        for number, file in enumerate(self._files):
            names = [name for name in file.schema_arrow.names if name in _NAMES]
            row = 0
            for group in range(file.num_row_groups):
                for place, record in enumerate(self._rows(file, group, names)):
                    row += 1
                    position = (number, group, place, row)
                    told = {name: value for name, value in record.items() if value is not None}
                    try:
                        yield checked_entry(position, told)
                    except ValueError as error:
                        yield BrokenEntry(where=self.where(position), problem=str(error))

    def mask(self, position: Position, *, height: int, width: int) -> FoundMask:
        """Returns the mask of a row; see `PredictionSource.mask`."""
        number, group, place, _ = position
        if self._cached is None or self._cached[0] != (number, group):
            rows = [row[_SEGMENTATION] for row in self._rows(self._files[number], group, [_SEGMENTATION])]
            self._cached = ((number, group), rows)
        segmentation = self._cached[1][place]
        if isinstance(segmentation, str):
            try:
                segmentation = parse_json(segmentation)
            except ValueError as error:
                raise UnreadableMaskError(f"its segmentation is not JSON ({error})") from error
        if isinstance(segmentation, dict) and segmentation.get("counts") is None:
            segmentation = None
        return mask_of(segmentation, height=height, width=width)

    def where(self, position: Position) -> str:
        """Returns which row is meant, in words."""
        file = f"{self._paths[position[0]].name}, " if len(self._paths) > 1 else ""
        return f"{file}row {position[3]:,}"

    def close(self) -> None:
        """Closes the files."""
        for file in self._files:
            file.close()

    def _rows(self, file: Any, group: int, columns: list[str]) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = file.read_row_group(group, columns=columns).to_pylist()
        except (OSError, ValueError) as error:
            raise DataError(f"{self.path} cannot be read: {' '.join(str(error).split())[:200]}") from error
        return found


def parquet_files(folder: Path) -> list[Path]:
    """Returns the parquet files of a folder, or of its folder `parts`, in order of their names."""
    return sorted(folder.glob(f"*{SUFFIX}")) or sorted(folder.glob(f"parts/*{SUFFIX}"))
