"""Recognises a file or folder of predictions by what is in it."""

from __future__ import annotations

import zipfile
from pathlib import Path

from risctl.errors import DataError, UsageError
from risctl.evaluation.scoring.json_source import JsonSource
from risctl.evaluation.scoring.npz_source import NpzSource
from risctl.evaluation.scoring.parquet_source import ParquetSource, parquet_files
from risctl.evaluation.scoring.png_source import PngSource
from risctl.evaluation.scoring.source import PredictionSource

ACCEPTED = (
    "COCO results (.json), JSON Lines, a folder or zip of PNG files, a .npz, or parquet; `risctl score --template "
    "STORE` writes JSON Lines to fill in"
)
_REFUSED = {
    b"\xff\xd8\xff": ("a JPEG", "it changes the values of pixels; write PNG"),
    b"\x80\x02": ("a pickle", "it can run code when opened; write masks as RLE in JSON Lines"),
    b"\x80\x03": ("a pickle", "it can run code when opened; write masks as RLE in JSON Lines"),
    b"\x80\x04": ("a pickle", "it can run code when opened; write masks as RLE in JSON Lines"),
    b"\x80\x05": ("a pickle", "it can run code when opened; write masks as RLE in JSON Lines"),
    b"\x89PNG": ("one PNG file", "name the folder of the masks"),
}


def open_predictions(path: Path) -> PredictionSource:
    """Opens predictions by their content.

    Args:
        path: A file or a folder.

    Raises:
        UsageError: There is no such file.
        DataError: It is none of the accepted kinds, or cannot be read.
    """
    if path.is_dir():
        return ParquetSource(path) if parquet_files(path) else PngSource(path)
    if not path.is_file():
        raise UsageError(f"{path} is no file or folder of predictions; accepted: {ACCEPTED}")
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    for sign, (what, why) in _REFUSED.items():
        if start.startswith(sign):
            raise DataError(f"{path} is {what}, which is not read: {why}. Accepted: {ACCEPTED}")
    if start.startswith(b"PAR1"):
        return ParquetSource(path)
    if start.startswith(b"PK"):
        return _opened_zip(path)
    if start.lstrip()[:1] in (b"[", b"{"):
        return JsonSource(path)
    raise DataError(f"{path} holds no predictions that can be read here; accepted: {ACCEPTED}")


def _opened_zip(path: Path) -> PredictionSource:
    try:
        with zipfile.ZipFile(path) as archive:
            endings = {Path(name).suffix.lower() for name in archive.namelist() if not name.endswith("/")}
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"{path} cannot be read as a zip: {error}") from error
    if endings == {".npy"}:
        return NpzSource(path)
    if ".pkl" in endings:
        raise DataError(f"{path} holds a pickle, which is not read: it can run code when opened. Accepted: {ACCEPTED}")
    return PngSource(path)
