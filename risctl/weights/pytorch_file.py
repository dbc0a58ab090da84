"""Reads PyTorch's files (`.pth`, `.pt`, `.bin`) with nothing in them run and what they allocate bounded by their size.

Both forms are read: the zip archive of today, and the stream of pickles from before PyTorch 1.6.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from risctl.errors import CheckpointError
from risctl.weights.budget import Budget, check_regular
from risctl.weights.tensor_checks import check_plain

PICKLE_BYTES = 8 * 2**20
"""The pickle of an archive describes its tensors and holds no numbers; one of 20,000 tensors has 3 MB. One byte of a
pickle can become 64 in memory."""

_ZIP = b"PK\x03\x04"
_ASKED = re.compile(r"(?:[Uu]nsupported (?:global: )?GLOBAL|Unsupported class|call reduce for) (\S+)")
_ADVICE = re.compile(r"weights.only|torch\.load|safe_globals|documentation|trust", re.IGNORECASE)


def read_pytorch(path: Path, *, what: str, allowed: Iterable[type] = ()) -> Any:
    """Reads a file that `torch.save` wrote; tensors come to the CPU.

    Args:
        path: The file.
        what: What it is to be, with its article, for messages.
        allowed: Classes beside tensors and plain values that the file may hold.

    Raises:
        CheckpointError: The file is missing, damaged, asks for code to be run, or describes more than it can hold.
    """
    check_regular(path, what=what)
    with path.open("rb") as file:
        archive = file.read(4) == _ZIP
    if archive:
        check_archive(path)
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(list(allowed)):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # on damaged bytes an unpickler raises nearly anything
        raise CheckpointError(f"{path} cannot be read as {what}: {_reason(error)}") from None


def read_state(path: Path, *, what: str, inside: tuple[str, ...], allowed: Iterable[type] = ()) -> dict[str, Tensor]:
    """Reads the tensors of a file by name, `module.` of data-parallel training left out.

    Args:
        path: The file.
        what: See `read_pytorch`.
        inside: The keys under which published files keep the tensors; a file of nothing else is taken as well.
        allowed: See `read_pytorch`.

    Raises:
        CheckpointError: As `read_pytorch`; or it holds something else than tensors by name.
    """
    content = read_pytorch(path, what=what, allowed=allowed)
    if isinstance(content, Mapping):
        content = next((content[key] for key in inside if key in content), content)
    return state_of(content, path=path, what=what)


def state_of(content: Any, *, path: Path, what: str) -> dict[str, Tensor]:
    """Returns `content` as tensors by name.

    Raises:
        CheckpointError: It is something else, or the tensors are larger than the file can hold.
    """
    if not isinstance(content, Mapping):
        raise CheckpointError(f"expected tensors by name in {path}, as {what} has; got {type(content).__name__}")
    budget = Budget(path)
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            got = f"the key {name!r:.40}" if not isinstance(name, str) else f"{type(value).__name__} at {name!r:.60}"
            raise CheckpointError(f"expected tensors by name in {path}, as {what} has; got {got}")
        # Half precision is computed with in float32.
        budget.spend(value.numel() * max(4, value.element_size()))
    state = {name.removeprefix("module."): value.detach() for name, value in content.items()}
    check_plain(state, source=path)
    return state


def check_archive(path: Path) -> None:
    """Checks what a zip archive of tensors would unpack to.

    Raises:
        CheckpointError: It is damaged, or its members are larger than the file can hold.
    """
    budget = Budget(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # on damaged bytes zipfile raises nearly anything
        raise CheckpointError(f"{path} is a damaged archive ({_first_line(error)}); get the file again") from None
    for member in members:
        budget.spend(member.file_size)
        if member.filename.endswith(".pkl") and member.file_size > PICKLE_BYTES:
            raise CheckpointError(
                f"{path} is refused: its {member.filename} has {member.file_size:,} bytes; the description of a file "
                f"of weights has at most {PICKLE_BYTES:,}"
            )


def _reason(error: Exception) -> str:
    """Returns why a file was refused, without torch's advice on how to load it unsafely."""
    text = str(error)
    asked = _ASKED.search(text)
    if asked:
        return (
            f"it asks for {asked[1].rstrip('.,')!r:.80}, and weights need only tensors and plain values. Do not load "
            f"it elsewhere; get the file from its publisher"
        )
    if not text:
        return f"{type(error).__name__}; get the file again"
    lines = [line.partition("WeightsUnpickler error:")[2] or line for line in text.splitlines()]
    first = next((line.strip() for line in lines if line.strip() and not _ADVICE.search(line)), "it is damaged")
    return f"{first[:160]}; get the file again"


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
