"""Reading a published pickle without running anything in it.

Published annotations come as pickles of lists, dicts, strings and numbers, many of them written by Python 2. A pickle
is a program; this file interprets the few instructions such data need and knows no other, so a crafted file can name
no function, build no object and import nothing. The instructions are those of the standard library's `pickletools`.

`pickle.Unpickler` with a refusing `find_class` is not enough: its memo is an array, and one crafted index makes it
allocate tens of gigabytes.
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from risctl.errors import DataError

# The largest published file (RefCOCOg, google) is some 50 MB.
MAX_BYTES = 512 * 2**20

_MARK = object()


class _RefusedError(Exception):
    """The pickle asks for something that plain data never need."""


class _MalformedError(Exception):
    """The bytes are no pickle, or not a whole one."""


def read_pickle(path: Path, *, max_bytes: int = MAX_BYTES) -> Any:
    """Return the plain data (list, tuple, dict, set, str, bytes, int, float, bool, None) pickled in the file `path`.

    Strings of Python 2 are decoded as UTF-8 where they are that, else as Latin-1. Raises `DataError` naming the file if
    it is missing, over `max_bytes`, cut short, no pickle, or asks for anything but plain data; nothing in it runs.
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
    """Return the plain data pickled in `data`; `source` names it in errors. As `read_pickle` otherwise."""
    try:
        return _Interpreter(data).run()
    except _RefusedError as refusal:
        raise DataError(
            f"{source} is refused: it asks for {refusal}, but a pickle of annotations holds only lists, dicts, strings "
            f"and numbers. Do not load it elsewhere; get the file from its publisher"
        ) from None
    except (_MalformedError, struct.error, UnicodeDecodeError, ValueError, IndexError, KeyError, TypeError) as error:
        detail = f" ({error})" if isinstance(error, _MalformedError) else ""
        raise DataError(f"{source} is no whole pickle{detail}; get the file again") from None
    except (AttributeError, MemoryError, OverflowError, RecursionError):
        raise DataError(f"{source} is no whole pickle; get the file again") from None


class _Interpreter:
    """One run over one pickle: a stack, a memo, and a place in the bytes."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Interpret to the STOP instruction and return what is left on the stack."""
        data = self.data
        while True:
            if self.place >= len(data):
                raise _MalformedError("it ends before its end mark")
            code = data[self.place]
            self.place += 1
            if code == _STOP:
                (value,) = self.stack
                if value is _MARK:
                    raise _MalformedError("it holds nothing")
                return value
            action = _ACTIONS.get(code)
            if action is None:
                self._refuse(code)
            else:
                action(self)

    def _refuse(self, code: int) -> None:
        if code in b"ci":  # GLOBAL and INST: module and name as lines
            raise _RefusedError(f"{self.line()}.{self.line()}")
        if code == 0x93:  # STACK_GLOBAL: module and name from the stack
            raise _RefusedError(f"{self.stack[-2]}.{self.stack[-1]}")
        if code in _FORBIDDEN:
            raise _RefusedError(_FORBIDDEN[code])
        raise _MalformedError(f"unknown instruction 0x{code:02x} at byte {self.place - 1}")

    def take(self, length: int) -> bytes:
        """Return the next `length` bytes."""
        end = self.place + length
        if length < 0 or end > len(self.data):
            raise _MalformedError("it is cut short")
        piece = self.data[self.place : end]
        self.place = end
        return piece

    def number(self, form: str) -> Any:
        """Return the next number, of `struct` format `form`."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        """Return the bytes to the next newline, as text."""
        return self.raw_line().decode("utf-8", errors="replace")

    def raw_line(self) -> bytes:
        """Return the bytes to the next newline."""
        end = self.data.find(b"\n", self.place)
        if end < 0:
            raise _MalformedError("it is cut short")
        piece = self.data[self.place : end]
        self.place = end + 1
        return piece

    def push(self, value: Any) -> None:
        """Put `value` on the stack."""
        self.stack.append(value)

    def pop(self) -> Any:
        """Take the topmost value off the stack; a mark is none."""
        value = self.stack.pop()
        if value is _MARK:
            raise _MalformedError("its stack is empty")
        return value

    def since_mark(self) -> list[Any]:
        """Take everything above the last mark off the stack, and the mark."""
        stack = self.stack
        for index in range(len(stack) - 1, -1, -1):
            if stack[index] is _MARK:
                items = stack[index + 1 :]
                del stack[index:]
                return items
        raise _MalformedError("a mark is missing")

    def top(self, kind: type) -> Any:
        """Return the topmost value, which must be of `kind`."""
        value = self.stack[-1]
        if type(value) is not kind:
            raise _MalformedError(f"a {kind.__name__} was expected on its stack")
        return value

    def remember(self, index: int) -> None:
        """Keep the topmost value in the memo."""
        if self.stack[-1] is _MARK:
            raise _MalformedError("its memo holds a mark")
        self.memo[index] = self.stack[-1]


def _legacy_text(data: bytes) -> str:
    """Return a Python-2 string as text. Publishers wrote UTF-8 or Latin-1, and Latin-1 decodes anything."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _quoted(machine: _Interpreter) -> None:
    line = machine.raw_line().strip()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise _MalformedError("a string lacks its quotes")
    # The instruction holds Python 2's repr() of a byte string: backslash escapes over bytes.
    machine.push(_legacy_text(codecs.escape_decode(line[1:-1])[0]))


def _decimal(machine: _Interpreter) -> None:
    line = machine.raw_line()
    # Protocol 0 and 1 write False and True as these two.
    special = {b"00": False, b"01": True}
    machine.push(special[line] if line in special else int(line))


def _long_decimal(machine: _Interpreter) -> None:
    machine.push(int(machine.raw_line().rstrip(b"L")))


def _text(form: str) -> Callable[[_Interpreter], None]:
    return lambda machine: machine.push(machine.take(machine.number(form)).decode("utf-8", errors="surrogatepass"))


def _legacy(form: str) -> Callable[[_Interpreter], None]:
    return lambda machine: machine.push(_legacy_text(machine.take(machine.number(form))))


def _bytes(form: str) -> Callable[[_Interpreter], None]:
    return lambda machine: machine.push(machine.take(machine.number(form)))


def _number(form: str) -> Callable[[_Interpreter], None]:
    return lambda machine: machine.push(machine.number(form))


def _long(form: str) -> Callable[[_Interpreter], None]:
    return lambda machine: machine.push(int.from_bytes(machine.take(machine.number(form)), "little", signed=True))


def _constant(value: Any) -> Callable[[_Interpreter], None]:
    return lambda machine: machine.push(value)


def _put(form: str) -> Callable[[_Interpreter], None]:
    return lambda machine: machine.remember(machine.number(form))


def _get(form: str) -> Callable[[_Interpreter], None]:
    return lambda machine: machine.push(machine.memo[machine.number(form)])


def _tuple(length: int) -> Callable[[_Interpreter], None]:
    def action(machine: _Interpreter) -> None:
        items = [machine.pop() for _ in range(length)]
        machine.push(tuple(reversed(items)))

    return action


def _append(machine: _Interpreter) -> None:
    value = machine.pop()
    machine.top(list).append(value)


def _appends(machine: _Interpreter) -> None:
    items = machine.since_mark()
    machine.top(list).extend(items)


def _pairs(items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise _MalformedError("a dict's key lacks its value")
    return dict(zip(items[::2], items[1::2], strict=True))


def _set_item(machine: _Interpreter) -> None:
    value, key = machine.pop(), machine.pop()
    machine.top(dict)[key] = value


def _set_items(machine: _Interpreter) -> None:
    items = machine.since_mark()
    machine.top(dict).update(_pairs(items))


def _add_items(machine: _Interpreter) -> None:
    items = machine.since_mark()
    machine.top(set).update(items)


def _memoize(machine: _Interpreter) -> None:
    machine.remember(len(machine.memo))


_STOP = ord(".")

_ACTIONS: dict[int, Callable[[_Interpreter], Any]] = {
    0x80: lambda machine: machine.take(1),  # PROTO: its number changes nothing for these instructions
    0x95: lambda machine: machine.take(8),  # FRAME: a hint for buffered reading
    ord("("): lambda machine: machine.push(_MARK),
    ord("0"): lambda machine: machine.stack.pop(),
    ord("1"): lambda machine: machine.since_mark(),
    ord("2"): lambda machine: machine.push(machine.stack[-1]),
    ord("N"): _constant(None),
    0x88: _constant(True),
    0x89: _constant(False),
    ord("I"): _decimal,
    ord("L"): _long_decimal,
    ord("J"): _number("<i"),
    ord("K"): _number("<B"),
    ord("M"): _number("<H"),
    0x8A: _long("<B"),
    0x8B: _long("<i"),
    ord("F"): lambda machine: machine.push(float(machine.raw_line())),
    ord("G"): _number(">d"),
    ord("S"): _quoted,
    ord("T"): _legacy("<i"),
    ord("U"): _legacy("<B"),
    ord("V"): lambda machine: machine.push(machine.raw_line().decode("raw-unicode-escape")),
    ord("X"): _text("<I"),
    0x8C: _text("<B"),
    0x8D: _text("<Q"),
    ord("B"): _bytes("<I"),
    ord("C"): _bytes("<B"),
    0x8E: _bytes("<Q"),
    ord("]"): lambda machine: machine.push([]),
    ord("l"): lambda machine: machine.push(machine.since_mark()),
    ord("a"): _append,
    ord("e"): _appends,
    ord(")"): _constant(()),
    ord("t"): lambda machine: machine.push(tuple(machine.since_mark())),
    0x85: _tuple(1),
    0x86: _tuple(2),
    0x87: _tuple(3),
    ord("}"): lambda machine: machine.push({}),
    ord("d"): lambda machine: machine.push(_pairs(machine.since_mark())),
    ord("s"): _set_item,
    ord("u"): _set_items,
    0x8F: lambda machine: machine.push(set()),
    0x90: _add_items,
    0x91: lambda machine: machine.push(frozenset(machine.since_mark())),
    ord("p"): lambda machine: machine.remember(int(machine.raw_line())),
    ord("q"): _put("<B"),
    ord("r"): _put("<I"),
    0x94: _memoize,
    ord("g"): lambda machine: machine.push(machine.memo[int(machine.raw_line())]),
    ord("h"): _get("<B"),
    ord("j"): _get("<I"),
}

_FORBIDDEN: dict[int, str] = {
    ord("R"): "a function call (REDUCE)",
    ord("b"): "an object's state (BUILD)",
    ord("o"): "an object (OBJ)",
    0x81: "an object (NEWOBJ)",
    0x92: "an object (NEWOBJ_EX)",
    ord("P"): "a persistent object (PERSID)",
    ord("Q"): "a persistent object (BINPERSID)",
    0x82: "a registered extension (EXT1)",
    0x83: "a registered extension (EXT2)",
    0x84: "a registered extension (EXT4)",
    0x96: "a bytearray (BYTEARRAY8)",
    0x97: "a buffer outside the file (NEXT_BUFFER)",
    0x98: "a buffer outside the file (READONLY_BUFFER)",
}
