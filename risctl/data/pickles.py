"""Reads published pickles of plain data without running anything in them.

Published annotations come as pickles of lists, dicts, strings and numbers, many of them written by Python 2. A pickle
is a program. The unpickler here knows only the instructions that build plain data, so that a crafted file can name no
function, build no object and import nothing.

It is the standard library's unpickler in Python, not the one in C, whose memo is an array: one crafted index would make
it allocate tens of gigabytes.
"""

from __future__ import annotations

import io
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, NoReturn

from risctl.errors import DataError

# The largest published file (RefCOCOg, google) is some 50 MB.
MAX_BYTES = 512 * 2**20

# What `pickletools` calls them. A pickle that needs another is refused.
_ALLOWED = (
    *("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "DUP", "NONE", "NEWTRUE", "NEWFALSE", "MEMOIZE"),
    *("INT", "LONG", "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "EMPTY_LIST", "LIST", "APPEND", "APPENDS"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS"),
    *("EMPTY_SET", "ADDITEMS", "FROZENSET", "PUT", "BINPUT", "LONG_BINPUT", "GET", "BINGET", "LONG_BINGET"),
)
_NAMES = ("GLOBAL", "INST", "STACK_GLOBAL")  # these end in `find_class`, which refuses
_REFUSED = {
    "REDUCE": "a function call",
    "BUILD": "an object's state",
    "OBJ": "an object",
    "NEWOBJ": "an object",
    "NEWOBJ_EX": "an object",
    "PERSID": "a persistent object",
    "BINPERSID": "a persistent object",
    "EXT1": "a registered extension",
    "EXT2": "a registered extension",
    "EXT4": "a registered extension",
    "BYTEARRAY8": "a bytearray",
    "NEXT_BUFFER": "a buffer outside the file",
    "READONLY_BUFFER": "a buffer outside the file",
}


class _RefusedError(Exception):
    """The pickle asks for something that plain data never need."""


def read_pickle(path: Path, *, max_bytes: int = MAX_BYTES) -> Any:
    """Reads the plain data pickled in a file; nothing in it runs.

    Strings of Python 2 are decoded as UTF-8 if they are valid UTF-8, else as Latin-1.

    Args:
        path: The file.
        max_bytes: Largest size that is read.

    Returns:
        Lists, tuples, dicts, sets, strings, bytes, numbers, booleans and None.

    Raises:
        DataError: The file is missing, larger than `max_bytes`, truncated, no pickle, or holds anything else.
    """
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise DataError(f"{path} has {size:,} bytes; a pickle of annotations has at most {max_bytes:,}")
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    return parse_pickle(data, source=str(path))


def parse_pickle(data: bytes, *, source: str) -> Any:
    """Returns the plain data pickled in `data`, as `read_pickle` does; `source` names it in errors."""
    try:
        return _PlainUnpickler(data).load()
    except _RefusedError as refusal:
        raise DataError(
            f"{source} is refused: it asks for {refusal}, but a pickle of annotations holds only lists, dicts, strings "
            f"and numbers. Do not load it elsewhere; get the file from its publisher"
        ) from None
    except EOFError:  # a read beyond the end is short, and the next one, for an instruction, finds nothing
        raise DataError(f"{source} is truncated; get the file again") from None
    # What damaged bytes raise: instructions on values of the wrong type, unknown keys, invalid numbers and texts.
    except (
        pickle.UnpicklingError,
        struct.error,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        ArithmeticError,
        MemoryError,
        RecursionError,
    ):
        raise DataError(f"{source} is not a complete pickle; get the file again") from None


class _PlainUnpickler(pickle._Unpickler):
    """The standard library's unpickler with an allow-list of instructions."""

    dispatch: ClassVar[dict[int, Callable[[Any], None]]]

    def __init__(self, data: bytes) -> None:
        super().__init__(io.BytesIO(data))

    def find_class(self, module: str, name: str) -> NoReturn:
        raise _RefusedError(f"{module}.{name}")

    def _decode_string(self, value: bytes) -> str:
        # Publishers wrote UTF-8 or Latin-1, and Latin-1 decodes anything.
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value.decode("latin-1")


def _refusal(what: str) -> Callable[[Any], None]:
    def refuse(_: Any) -> None:
        raise _RefusedError(what)

    return refuse


_PlainUnpickler.dispatch = {
    getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]] for name in (*_ALLOWED, *_NAMES)
} | {getattr(pickle, name)[0]: _refusal(f"{what} ({name})") for name, what in _REFUSED.items()}
