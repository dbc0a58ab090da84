"""Reads the tensors of a TorchScript archive without running anything in it.

`torch.load(weights_only=True)` refuses such archives and `torch.jit.load` runs their code. An archive is a zip with a
pickle of its modules' attributes and one file per storage. The pickle is interpreted here as symbols only
(`pickletools` names the instructions): a class or function is a name, an object is a dict of what it was given, and a
tensor is made by this file.
"""

from __future__ import annotations

import math
import pickletools
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from risctl.errors import CheckpointError
from risctl.weights.budget import Budget
from risctl.weights.pytorch_file import PICKLE_BYTES, check_archive

_KINDS = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_MARK = object()
_MAX_DEPTH = 100
_MOST_VISITS = 1_000_000


class _FormatError(Exception):
    """The archive is not what torch writes."""


@dataclass(slots=True)
class _Object:
    """What the pickle would have made: the name of a class or function, its arguments, its state."""

    name: str
    arguments: Any = ()
    state: dict[Any, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Storage:
    """What a persistent id names: (storage, kind, key, device, length)."""

    description: Any


def is_torchscript(path: Path) -> bool:
    """Returns whether the file is a TorchScript archive; one of plain tensors is not."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except Exception:  # on damaged bytes zipfile raises nearly anything
        return False


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Returns every parameter and buffer of a TorchScript archive by its dotted name. Nothing in it runs.

    Raises:
        CheckpointError: The file is damaged or no such archive, or describes more than it can hold.
    """
    check_archive(path)
    try:
        with zipfile.ZipFile(path) as archive:
            [name] = [one for one in archive.namelist() if one.count("/") == 1 and one.endswith("/data.pkl")]
            if archive.getinfo(name).file_size > PICKLE_BYTES:
                raise _FormatError("its list of modules is too long")
            root = _symbols(archive.read(name))
            reader = _Storages(archive, name.split("/")[0], Budget(path))
            return dict(_tensors(root, reader, prefix="", depth=0))
    except _FormatError as error:
        raise CheckpointError(f"{path} is no TorchScript archive that can be read safely: {error}") from None
    except CheckpointError:
        raise
    except (RuntimeError, MemoryError):
        raise CheckpointError(f"{path} is damaged or encrypted; get the file again") from None
    except Exception as error:  # on damaged bytes zipfile and pickletools raise nearly anything
        raise CheckpointError(f"{path} cannot be read as a TorchScript archive ({error}); get the file again") from None


class _Storages:
    """The storages of an archive, each read once."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, budget: Budget) -> None:
        self._archive, self._folder, self._budget = archive, folder, budget
        self._read: dict[str, Tensor] = {}
        self._visits = 0

    def count_visit(self) -> None:
        """Counts a value that is looked at: one that is named many times would be looked at without end."""
        self._visits += 1
        if self._visits > _MOST_VISITS:
            raise _FormatError("it names the same modules over and over")

    def tensor(self, made: _Object) -> Tensor:
        """Returns the tensor that `_rebuild_tensor_v2` would have made."""
        storage, offset, size, stride = made.arguments[:4]
        if not isinstance(storage, _Storage):
            raise _FormatError("a tensor has no storage")
        _, kind, key, _, length = storage.description
        flat = self._flat(str(key), kind.name.rsplit(".", 1)[-1])
        last = offset + sum((one - 1) * step for one, step in zip(size, stride, strict=True) if one > 0)
        if min([offset, *size, *stride, 0]) < 0 or (0 not in size and last >= min(len(flat), length)):
            raise _FormatError("a tensor reaches beyond its storage")
        # One number may be repeated along any axis.
        self._budget.spend(math.prod(size) * max(4, flat.element_size()))
        return flat.as_strided(tuple(size), tuple(stride), offset).clone()

    def _flat(self, key: str, kind: str) -> Tensor:
        if kind not in _KINDS:
            raise _FormatError(f"it holds a storage of kind {kind}")
        if key not in self._read:
            data = bytearray(self._archive.read(f"{self._folder}/data/{key}"))
            self._read[key] = torch.frombuffer(data, dtype=_KINDS[kind]) if data else torch.zeros(0, dtype=_KINDS[kind])
        return self._read[key]


def _tensors(value: Any, storages: _Storages, *, prefix: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    if depth > _MAX_DEPTH:
        raise _FormatError("its modules are nested too deep")
    storages.count_visit()
    if not isinstance(value, _Object):
        return
    if value.name.startswith("torch._utils._rebuild_tensor"):
        yield prefix, storages.tensor(value)
    elif value.name == "torch._utils._rebuild_parameter":
        yield from _tensors(value.arguments[0], storages, prefix=prefix, depth=depth + 1)
    else:
        for name, one in value.state.items():
            yield from _tensors(one, storages, prefix=f"{prefix}.{name}" if prefix else str(name), depth=depth + 1)


def _symbols(data: bytes) -> Any:
    """Returns what a pickle describes, with classes and calls as `_Object`s. Only what torch writes is known."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        place = len(stack) - 1
        while stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise _FormatError("a mark is missing")
        items = stack[place + 1 :]
        del stack[place:]
        return items

    # genops gives each instruction's argument the type that the instruction has: the casts below only name it.
    for code, argument, _ in pickletools.genops(data):
        name = code.name
        if name in ("PROTO", "FRAME"):
            continue
        if name == "STOP":
            return stack.pop()
        if name == "MARK":
            stack.append(_MARK)
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[cast(int, argument)] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[cast(int, argument)])
        elif name == "GLOBAL":
            stack.append(_Object(cast(str, argument).replace(" ", ".")))
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name]())
        elif name in _PLAIN:
            stack.append(argument)
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            items = stack[-count:]
            del stack[-count:]
            stack.append(tuple(items))
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name == "APPEND":
            item = stack.pop()
            stack[-1].append(item)
        elif name == "APPENDS":
            items = since_mark()
            stack[-1].extend(items)
        elif name == "SETITEM":
            value, key = stack.pop(), stack.pop()
            stack[-1][key] = value
        elif name == "SETITEMS":
            items = since_mark()
            stack[-1].update(zip(items[::2], items[1::2], strict=True))
        elif name == "BINPERSID":
            stack.append(_Storage(stack.pop()))
        elif name in ("NEWOBJ", "REDUCE"):
            arguments, called = stack.pop(), stack.pop()
            stack.append(_called(called, arguments))
        elif name == "BUILD":
            state = stack.pop()
            if not isinstance(stack[-1], _Object) or not isinstance(state, dict):
                raise _FormatError("an object has an odd state")
            stack[-1].state = state
        else:
            raise _FormatError(f"its pickle holds the instruction {name}")
    raise _FormatError("its pickle has no end")


def _called(called: Any, arguments: Any) -> Any:
    if not isinstance(called, _Object):
        raise _FormatError("it calls what is no name")
    if called.name == "collections.OrderedDict" and not arguments:
        return {}
    return _Object(called.name, arguments)


_CONSTANTS: dict[str, Any] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_PLAIN = {
    "BININT",
    "BININT1",
    "BININT2",
    "LONG1",
    "BINFLOAT",
    "BINUNICODE",
    "SHORT_BINUNICODE",
    "SHORT_BINSTRING",
    "BINSTRING",
}
