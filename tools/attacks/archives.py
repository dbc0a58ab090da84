"""Attack on archives: zips with changed bits, lengths and names, with links, and with more than they say."""

from __future__ import annotations

import io
import random
import stat
import zipfile
from pathlib import Path

from risctl.data.download.archives import check_zip, unpack
from risctl.errors import DataError

SUITE_COUNT = 60

_LONGEST = 2_000_000
_METHODS = {
    "stored": zipfile.ZIP_STORED,
    "deflated": zipfile.ZIP_DEFLATED,
    "bzip2": zipfile.ZIP_BZIP2,
    "lzma": zipfile.ZIP_LZMA,
}
_NAMES = (
    "../out.txt",
    "/etc/passwd",
    "a/../../b",
    "C:\\x",
    "..\\x",
    "nul\0",
    "a\nb",
    "",
    ".",
    "x" * 300,
    "a/" * 2000,
    "\udcff",
)


def _contents() -> dict[str, bytes]:
    chosen = random.Random(0)
    return {
        f"{'deep/' * number}file{number}.json": chosen.randbytes(2000) + bytes(5000 * number) for number in range(4)
    }


def prepare(folder: Path) -> None:
    """Writes one archive for each way of compressing."""
    for name, method in _METHODS.items():
        with zipfile.ZipFile(folder / f"{name}.zip", "w", method) as archive:
            for inner, content in _contents().items():
                archive.writestr(inner, content)


def mutate(folder: Path, target: Path, random: random.Random) -> str:
    """Changes bytes of one, or makes one of hostile entries."""
    if random.random() < 0.2:
        data, told = _hostile(random)
    else:
        name = random.choice(list(_METHODS))
        changed = bytearray((folder / f"{name}.zip").read_bytes())
        told = name
        for _ in range(random.randint(1, 4)):
            # The tables of contents at the end decide more than the contents.
            first = random.choice([0, max(0, len(changed) - 400)])
            place = random.randrange(first, len(changed))
            kind = random.choice(["bit", "byte", "number", "cut"])
            if kind == "bit":
                changed[place] ^= 1 << random.randrange(8)
            elif kind == "byte":
                changed[place] = random.choice([0, 1, 0x7F, 0x80, 0xFF])
            elif kind == "number":
                number = random.choice([0, 1, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1]).to_bytes(4, "little")
                changed[place : place + 4] = number
            else:
                del changed[place : place + random.randint(1, 100)]
            told += f", {kind} at {place}"
        data = bytes(changed)
    (target / "case.zip").write_bytes(data)
    return told


def _hostile(random: random.Random) -> tuple[bytes, str]:
    file = io.BytesIO()
    kind = random.choice(["name", "link", "bomb", "twice", "device"])
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("fine.txt", "fine")
        info = zipfile.ZipInfo("entry")
        if kind == "name":
            info.filename = random.choice(_NAMES)
            try:
                archive.writestr(info, "content")
            except (ValueError, OSError):
                archive.writestr("replaced", "content")
        elif kind == "link":
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, "/etc/passwd")
        elif kind == "device":
            info.external_attr = (stat.S_IFCHR | 0o777) << 16
            archive.writestr(info, "")
        elif kind == "bomb":
            archive.writestr("bomb", bytes(50 * _LONGEST))
        else:
            archive.writestr(info, "one")
            archive.writestr("ENTRY", "two")
    return file.getvalue(), kind


def check(folder: Path, target: Path) -> str:
    """Unpacks it, and compares what came out with what went in."""
    out = target / "inner" / "out"
    out.mkdir(parents=True)
    check_zip(target / "case.zip")
    try:
        found = unpack(target / "case.zip", out, max_bytes=_LONGEST)
    except DataError:
        if any(out.rglob("*")):
            return "wrong"
        raise
    outside = {one.name for one in target.iterdir()} != {"case.zip", "inner"} or len(list(out.parent.iterdir())) != 1
    if outside or any(one.is_symlink() for one in out.rglob("*")):
        return "wrong"
    known = {*_contents().values(), b"fine", b"content", b"one", b"two"}
    # An archive's names have no sum: another name may stand for the same content, never other content.
    return "right" if all(path.read_bytes() in known for path in found) else "wrong"
