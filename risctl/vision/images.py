"""Reads images as RGB, uint8 (H, W, 3), or says which file cannot be read and why.

An image that a person gives is read as a viewer shows it, with its EXIF orientation applied. An image of a dataset is
not rotated: COCO's annotations are in the stored orientation.
"""

from __future__ import annotations

import io
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from risctl.errors import DataError, nearest

Source = str | Path | bytes | Image.Image | np.ndarray

# Twice Pillow's own limit: where Pillow refuses to go on.
MAX_PIXELS = 178_956_970
# The longest side that JPEG has. A picture of one row and millions of columns is no picture, and what is computed of it
# takes far more memory than its area tells.
MAX_SIDE = 65_535
# File name suffixes of images. HEIC cannot be read, but is better refused by name than passed over.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp"),
    *(".avif", ".jp2", ".ppm", ".pgm", ".pbm", ".ico", ".qoi", ".heic", ".heif"),
)
# Named, because Pillow would else also try formats that start other programs (EPS) or take any bytes (TGA).
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "DIB", "TIFF", "WEBP", "AVIF", "JPEG2000", "PPM", "ICO", "QOI")
_USUAL = ((b"\xff\xd8\xff", "JPEG"), (b"\x89PNG\r\n\x1a\n", "PNG"))
_ORIENTATION_TAG = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_VIDEO = "a video; extract a frame first, or answer all of it with `risctl predict --video`"
_SIGNATURES = (
    (b"%PDF", "a PDF document; export the page as PNG"),
    (b"%!PS", "a PostScript file; export it as PNG"),
    (b"\x89HDF", "an HDF5 file"),
    (b"PK\x03\x04", "a ZIP archive; unpack it first"),
    (b"\x1f\x8b", "a gzip archive; unpack it first"),
    (b"8BPS", "a Photoshop file; export it as PNG"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file itself with `git lfs pull`"),
    (b"\x7fELF", "a program"),
    (b"\x1aE\xdf\xa3", _VIDEO),
)
_BRANDS = (
    ((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), "a HEIC picture; save it as JPEG or PNG first"),
    ((b"",), _VIDEO),
)
_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedImage:
    """An image as read.

    Attributes:
        pixels: RGB pixels, uint8 (H, W, 3).
        notes: What a person should know about the reading, such as that only the first of several frames is used.
    """

    pixels: np.ndarray
    notes: tuple[str, ...] = ()


def read_image(source: Source, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Returns the pixels of an image, as `read_image_with_notes` does."""
    return read_image_with_notes(source, max_pixels=max_pixels).pixels


def read_image_with_notes(source: Source, *, max_pixels: int = MAX_PIXELS) -> LoadedImage:
    """Reads a file, encoded bytes, a PIL image or an array as a viewer shows it.

    The EXIF orientation is applied; transparent images are composited over white; palettes, grey and CMYK are
    converted; 16-bit values are scaled by 1/257 (full range to full range). Of an animation or a document of several
    pages the first is read, and a note says so.

    Args:
        source: A path, encoded bytes, a PIL image, or an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) of uint8,
            uint16, or floats in [0, 1].
        max_pixels: Largest number of pixels that is decoded; the header tells it before.

    Returns:
        The RGB pixels and the notes.

    Raises:
        DataError: The file, which is named, is missing, a folder, not an image (and what it seems to be), truncated,
            damaged, too large, or has no pixels.
    """
    if isinstance(source, np.ndarray):
        return LoadedImage(pixels=_from_array(source, max_pixels=max_pixels))
    if isinstance(source, Image.Image):
        name = str(getattr(source, "filename", "") or "the picture")
        return _read(source, name=name, max_pixels=max_pixels)
    if isinstance(source, bytes):
        return _read_bytes(source, name="the picture", max_pixels=max_pixels)
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        raise DataError(f"{source} is an address, not a file; download the picture and give its path")
    path = Path(source)
    kind = _checked_mode(path)
    if stat.S_ISFIFO(kind):  # such as a shell's <(command): it can be read only once
        return _read_bytes(path.read_bytes(), name=str(path), max_pixels=max_pixels)
    with _opened(path, name=str(path)) as image:
        return _read(image, name=str(path), max_pixels=max_pixels)


def image_size(source: bytes | Path) -> tuple[int, int]:
    """Returns (height, width) from the header, without decoding, as stored: the EXIF orientation is not applied.

    Raises:
        DataError: It is not an image.
    """
    name = "the picture" if isinstance(source, bytes) else str(source)
    if not isinstance(source, bytes):
        _checked_mode(source)
    with _opened(source, name=name) as image:
        return image.height, image.width


class WrongSizeError(DataError):
    """An image has another size than its annotations were made for.

    Attributes:
        size: Its (height, width).
    """

    size = (0, 0)


def decode_stored(data: bytes, *, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decodes a dataset's image in its stored orientation to RGB, uint8 (H, W, 3).

    Args:
        data: The encoded image.
        size: The (height, width) that it must have.

    Raises:
        WrongSizeError: It has another size; nothing is decoded.
        DataError: It is damaged or too large.
    """
    with _opened(data, name="the stored image") as image:
        if size is not None and image.size != size[::-1]:
            wrong = WrongSizeError(f"the stored image has {image.height}x{image.width} pixels, not {size[0]}x{size[1]}")
            wrong.size = (image.height, image.width)
            raise wrong
        _check_size(image.size, name="the stored image", max_pixels=MAX_PIXELS)
        return _pixels(_decoded(image, name="the stored image"), name="the stored image")


def is_image_name(name: str) -> bool:
    """Returns whether a file name has an image's suffix."""
    return Path(name).suffix.lower() in SUFFIXES


def describe_content(data: bytes) -> str:
    """Describes what bytes that are no readable image seem to be, from their beginning."""
    if not data:
        return "an empty file"
    for signature, meaning in _SIGNATURES:
        if data.startswith(signature):
            return meaning
    if data[4:8] == b"ftyp":
        return next(meaning for brands, meaning in _BRANDS if data[8:12].startswith(brands))
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return _VIDEO
    try:
        text = data[:512].decode("utf-8", errors="strict" if len(data) < 512 else "ignore").lstrip("\ufeff \t\r\n")
    except UnicodeDecodeError:
        return "no picture format that is known here"
    if text.lower().startswith(("<!doctype html", "<html")):
        return "a web page; download the picture itself"
    if "<svg" in text:
        return "an SVG drawing; export it as PNG"
    if all(sign.isprintable() or sign in "\t\r\n" for sign in text):
        return "a text file"
    return "no picture format that is known here"


def _checked_mode(path: Path) -> int:
    """Returns the mode of the file at `path`. Raises `DataError` if it cannot be an image."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        near = nearest(path.name, (one.name for one in path.parent.iterdir())) if path.parent.is_dir() else None
        raise DataError(f"no picture at {path}" + (f"; did you mean {path.with_name(near)}?" if near else "")) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if stat.S_ISDIR(mode):
        raise DataError(f"{path} is a folder; expected a picture")
    if not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode)):
        raise DataError(f"{path} is a device, not a file; expected a picture")
    return mode


@contextmanager
def _opened(source: Path | bytes, *, name: str) -> Iterator[Image.Image]:
    """Opens an image; its header is read and nothing is decoded."""
    try:
        # Pillow's limit is a global of its module and warns or raises before the size can be told; ours is checked
        # by the caller, right after, and before anything is decoded.
        with _lock:
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                image = _open(source)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
    except PermissionError as error:
        raise DataError(f"{name} cannot be read: permission denied") from error
    except Exception as error:  # decoders raise almost anything on damaged headers
        try:
            start = source[:512] if isinstance(source, bytes) else _start_of(source)
        except OSError as reading:
            raise DataError(f"{name} cannot be read: {reading}") from reading
        if _starts_like_an_image(start):
            raise DataError(f"{name} is a damaged or truncated picture: {error}") from error
        raise DataError(f"{name} is not a picture: it seems to be {describe_content(start)}") from error
    with image:
        yield image


def _open(source: Path | bytes) -> Image.Image:
    """Opens an image by the reader that its first bytes call for, else by any of those that are known."""
    start = source[:8] if isinstance(source, bytes) else _start_of(source)[:8]
    # Pillow's other readers take as long to import as numpy does.
    usual = [name for signature, name in _USUAL if start.startswith(signature)]
    return Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=usual or _formats())


@lru_cache(maxsize=1)
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(one for one in _FORMATS if one in Image.OPEN)  # AVIF came with Pillow 11.3


def _start_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(512)


def _starts_like_an_image(start: bytes) -> bool:
    return start.startswith((b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*")) or (
        start[:4] == b"RIFF" and start[8:12] == b"WEBP"
    )


def _read_bytes(data: bytes, *, name: str, max_pixels: int) -> LoadedImage:
    with _opened(data, name=name) as image:
        return _read(image, name=name, max_pixels=max_pixels)


def _read(image: Image.Image, *, name: str, max_pixels: int) -> LoadedImage:
    _check_size(image.size, name=name, max_pixels=max_pixels)
    notes = _notes(image)
    decoded = _decoded(image, name=name)
    try:
        turn = _TURNS.get(decoded.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # a damaged EXIF block says nothing, as for viewers; the pixels are whole
        turn = None
    if turn is not None:
        decoded = decoded.transpose(turn)
    return LoadedImage(pixels=_pixels(decoded, name=name), notes=notes)


def _check_size(size: tuple[int, int], *, name: str, max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise DataError(f"{name} has no pixels: {width}x{height}")
    if max(width, height) > MAX_SIDE:
        raise DataError(
            f"{name} has {width}x{height} pixels, a side longer than the limit of {MAX_SIDE:,}; "
            "scale it down or crop it first"
        )
    if width * height > max_pixels:
        raise DataError(
            f"{name} has {width * height:,} pixels ({width}x{height}), more than the limit of {max_pixels:,}; "
            "scale it down or crop it first"
        )


def _notes(image: Image.Image) -> tuple[str, ...]:
    # The further images of an MPO are a camera's previews of the first.
    if image.format == "MPO":
        return ()
    try:
        several = bool(getattr(image, "is_animated", False))
        image.seek(0)
    except Exception:  # a damaged second frame does not concern the first
        return ()
    if not several:
        return ()
    return (
        "has several pages; the first is used"
        if image.format == "TIFF"
        else "is animated; its first frame is used (`risctl predict --video` takes all)",
    )


def _decoded(image: Image.Image, *, name: str) -> Image.Image:
    try:
        image.load()
    except Exception as error:  # decoders raise OSError, SyntaxError, EOFError, struct.error, ... on damaged data
        raise DataError(f"{name} is a damaged or truncated picture: {error}") from error
    return image


def _pixels(image: Image.Image, *, name: str) -> np.ndarray:
    """Converts an image of any mode to RGB, uint8 (H, W, 3)."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return np.array(image)
    if image.mode.startswith(("I", "F")):
        return _from_wide(np.asarray(image), name=name)
    try:
        if image.has_transparency_data:
            clear = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", clear.size, (255, 255, 255, 255)), clear)
        return np.array(image.convert("RGB"))
    except (ValueError, OSError) as error:
        raise DataError(f"{name} has colours of mode {image.mode}, which cannot be read; save it as RGB") from error


def _from_wide(values: np.ndarray, *, name: str) -> np.ndarray:
    """Converts grey values of 16 or 32 bits, (H, W), to RGB, uint8 (H, W, 3)."""
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        if not (np.isfinite(values).all() and low >= 0 and high <= 255):
            raise DataError(f"{name} has floating-point values from {low:g} to {high:g}; save it with 8 or 16 bits")
        grey = values * 255 if high <= 1 else values
    elif low >= 0 and high <= 65535:
        grey = values / 257
    else:
        raise DataError(f"{name} has 32-bit values from {low} to {high}; save it with 8 or 16 bits")
    return np.repeat(np.rint(grey).astype(np.uint8)[..., None], 3, axis=2)


def _from_array(array: np.ndarray, *, max_pixels: int) -> np.ndarray:
    shape = array.shape
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        hint = "; move the channels last" if array.ndim == 3 and shape[0] in (1, 3, 4) else ""
        raise DataError(f"a picture as an array is (H, W), (H, W, 3) or (H, W, 4); got {shape}{hint}")
    _check_size((array.shape[1], array.shape[0]), name="the array", max_pixels=max_pixels)
    if array.dtype == np.uint16:
        array = np.rint(array / 257).astype(np.uint8)
    elif array.dtype.kind == "f":
        if not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise DataError("a picture as an array of floats has values in [0, 1]; give uint8 for 0-255")
        array = np.rint(array * 255).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise DataError(f"a picture as an array is uint8, uint16 or float; got {array.dtype}")
    if array.shape[2] == 4:
        return _pixels(Image.fromarray(np.ascontiguousarray(array)), name="the array")
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array.copy()
