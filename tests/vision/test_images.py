"""Images of every kind and condition that people have, made here."""

from __future__ import annotations

import io
import os
import struct
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from risctl.errors import DataError
from risctl.vision.images import decode_stored, image_size, is_image_name, read_image, read_image_with_notes

# Four flat corners: red, green / blue, white. What is where tells how an image was turned.
CORNERS = np.zeros((32, 48, 3), dtype=np.uint8)
CORNERS[:16, :24] = (255, 0, 0)
CORNERS[:16, 24:] = (0, 255, 0)
CORNERS[16:, :24] = (0, 0, 255)
CORNERS[16:, 24:] = (255, 255, 255)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(*, width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG from its parts, for what Pillow cannot write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def turned(orientation: int) -> np.ndarray:
    """CORNERS as a camera stores it under an EXIF orientation: the inverse of what a viewer does (EXIF 2.3, 4.6.4)."""
    stored = {
        1: CORNERS,
        2: CORNERS[:, ::-1],
        3: CORNERS[::-1, ::-1],
        4: CORNERS[::-1],
        5: CORNERS.transpose(1, 0, 2),
        6: np.rot90(CORNERS, 1),
        7: CORNERS[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(CORNERS, -1),
    }
    return np.ascontiguousarray(stored[orientation])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(turned(orientation)), kind, exif=exif, **options)
    pixels = read_image(data)
    assert pixels.shape == CORNERS.shape
    # JPEG's colours bleed where two corners meet; a corner in a wrong place would differ by 85 and more.
    assert np.abs(pixels.astype(int) - CORNERS).mean() <= (12 if kind == "JPEG" else 0)


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_orientations_that_do_not_exist_are_ignored(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(read_image(encoded(Image.fromarray(CORNERS), "PNG", exif=exif)), CORNERS)


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_exif_block_is_ignored() -> None:
    data = encoded(Image.fromarray(CORNERS), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff garbage")
    np.testing.assert_array_equal(read_image(data), CORNERS)


def test_stored_images_and_sizes_are_not_turned() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(CORNERS), "PNG", exif=exif)
    np.testing.assert_array_equal(decode_stored(data), CORNERS)
    assert image_size(data) == (32, 48)
    assert read_image(data).shape == (48, 32, 3)


@pytest.mark.parametrize("source", ["path", "text", "bytes", "pil", "array"])
def test_every_kind_of_source(source: str, tmp_path: Path) -> None:
    path = tmp_path / "corners.png"
    Image.fromarray(CORNERS).save(path)
    given = {
        "path": path,
        "text": str(path),
        "bytes": path.read_bytes(),
        "pil": Image.open(path),
        "array": CORNERS,
    }[source]
    pixels = read_image(given)
    np.testing.assert_array_equal(pixels, CORNERS)
    pixels[:] = 0  # it is the caller's own
    assert CORNERS.any()


def test_transparency_is_laid_over_white() -> None:
    clear = np.zeros((2, 3, 4), dtype=np.uint8)
    clear[0, 0] = (255, 0, 0, 255)
    clear[0, 1] = (0, 0, 0, 128)
    pixels = read_image(encoded(Image.fromarray(clear), "PNG"))
    np.testing.assert_array_equal(pixels, read_image(clear))
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert pixels[0, 1].tolist() == [127, 127, 127]
    assert pixels[1].tolist() == [[255, 255, 255]] * 3


def test_a_palette_with_a_transparent_colour() -> None:
    image = Image.new("P", (4, 2), 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((0, 0), 0)
    pixels = read_image(encoded(image, "PNG", transparency=0))
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert pixels[1, 3].tolist() == [200, 100, 50]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
def test_modes_come_out_as_rgb(mode: str) -> None:
    grey = Image.fromarray(np.full((6, 5, 3), 255, dtype=np.uint8)).convert(mode)
    pixels = read_image(grey)
    assert pixels.shape == (6, 5, 3) and pixels.dtype == np.uint8
    assert (pixels >= 254).all()


def test_cmyk_jpeg() -> None:
    red = Image.fromarray(np.full((16, 16, 3), (255, 0, 0), dtype=np.uint8)).convert("CMYK")
    pixels = read_image(encoded(red, "JPEG")).reshape(-1, 3).mean(axis=0)
    assert pixels[0] > 240 and pixels[1] < 15 and pixels[2] < 15


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(kind: str) -> None:
    ramp = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    pixels = read_image(encoded(Image.fromarray(ramp), kind))
    assert pixels[0, :, 0].tolist() == [0, 1, 128, 255]
    np.testing.assert_array_equal(pixels, read_image(ramp))


def test_sixteen_bit_grey_is_turned_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    ramp = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    assert read_image(encoded(Image.fromarray(ramp), "PNG", exif=exif)).shape == (4, 1, 3)


def test_sixteen_bit_colour() -> None:
    row = struct.pack(">6H", 65535, 0, 32896, 257, 514, 771)
    pixels = read_image(png(width=2, height=1, depth=16, colour=2, rows=b"\0" + row))
    assert pixels.tolist() == [[[255, 0, 128], [1, 2, 3]]]


def test_floating_point_images_need_a_known_scale() -> None:
    assert read_image(Image.fromarray(np.array([[0.0, 0.5, 1.0]], dtype=np.float32)))[0, :, 1].tolist() == [0, 128, 255]
    with pytest.raises(DataError, match="floating-point"):
        read_image(Image.fromarray(np.array([[0.0, 4000.0]], dtype=np.float32)))
    with pytest.raises(DataError, match="32-bit"):
        read_image(Image.fromarray(np.array([[-5, 70000]], dtype=np.int32)))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_the_first_frame_of_an_animation_is_taken_and_said_so(kind: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    image = read_image_with_notes(data)
    assert image.pixels[3, 3].tolist() == [255, 0, 0]
    assert image.notes == ("is animated; its first frame is used (`risctl predict --video` takes all)",)
    assert read_image_with_notes(encoded(frames[0], kind)).notes == ()


def test_a_document_of_several_pages_is_said_so() -> None:
    pages = [Image.new("RGB", (8, 6), "red"), Image.new("RGB", (8, 6), "lime")]
    image = read_image_with_notes(encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    assert image.pixels[0, 0].tolist() == [255, 0, 0]
    assert image.notes == ("has several pages; the first is used",)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP"])
def test_truncated_images_are_refused_by_name(kind: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    path = tmp_path / "cut"
    for share in (0.3, 0.6, 0.9):
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(DataError, match=r"cut .*(truncated|damaged)"):
            read_image(path)
    with pytest.raises(DataError, match="the stored image"):
        decode_stored(data[: len(data) // 2])


@pytest.mark.filterwarnings("ignore")
def test_every_flipped_byte_is_either_read_or_refused() -> None:
    noise = np.random.default_rng(1).integers(0, 255, (12, 12, 3), dtype=np.uint8)
    for kind in ("PNG", "JPEG", "GIF", "TIFF"):
        whole = encoded(Image.fromarray(noise), kind)
        for place in range(0, len(whole), 3):
            data = bytearray(whole)
            data[place] ^= 0xFF
            try:
                pixels = read_image(bytes(data), max_pixels=1_000_000)
            except DataError:
                continue
            assert pixels.ndim == 3 and pixels.dtype == np.uint8


def test_enormous_images_are_refused_from_the_header(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(png(width=60_000, height=50_000, depth=8, colour=2, rows=b""))
    before = Image.MAX_IMAGE_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError, match=r"huge\.png has 3,000,000,000 pixels .*limit of 178,956,970; scale it"):
            read_image(path)
        assert image_size(path) == (50_000, 60_000)
        with pytest.raises(DataError, match="3,000,000,000"):
            decode_stored(path.read_bytes())
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(("width", "height"), [(178_956_970, 1), (1, 65_536), (65_536, 2)])
def test_images_of_few_rows_and_millions_of_columns_are_refused_from_the_header(width: int, height: int) -> None:
    data = png(width=width, height=height, depth=8, colour=2, rows=b"")
    for read in (read_image, decode_stored):
        with pytest.raises(DataError, match=rf"{width}x{height} pixels, a side longer than the limit of 65,535; scale"):
            read(data)
    with pytest.raises(DataError, match="a side longer"):
        read_image(np.zeros((height, width), dtype=np.uint8))


def test_the_longest_side_is_read() -> None:
    for size in ((65_535, 1), (1, 65_535)):
        assert read_image(encoded(Image.new("1", size), "PNG")).shape == (size[1], size[0], 3)


def test_the_limit_can_be_set() -> None:
    data = encoded(Image.fromarray(CORNERS), "PNG")
    assert read_image(data, max_pixels=32 * 48).shape == (32, 48, 3)
    for source in (data, CORNERS, Image.fromarray(CORNERS)):
        with pytest.raises(DataError, match="1,536 pixels"):
            read_image(source, max_pixels=32 * 48 - 1)


def test_threads_leave_pillows_limit_as_it_was() -> None:
    data = encoded(Image.fromarray(CORNERS), "PNG")
    before = Image.MAX_IMAGE_PIXELS
    threads = [threading.Thread(target=lambda: [image_size(data) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "an empty file"),
        (b"%PDF-1.7 ...", "a PDF document"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "a PostScript file"),
        (b"PK\x03\x04....", "a ZIP archive"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "a HEIC picture; save it as JPEG or PNG first"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x00\x00isomavc1", "a video"),
        (b"<!DOCTYPE html><html>not found</html>", "a web page"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "a Git LFS pointer"),
        (b"the red cup on the left\n", "a text file"),
        (b"\x00\x01\x02\x80\xff" * 40, "no picture format that is known here"),
    ],
)
def test_what_is_not_an_image_says_what_it_seems_to_be(data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "thing.jpg"
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"thing\.jpg is not a picture") as refusal:
        read_image(path)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_an_image_of_no_pixels_is_refused() -> None:
    with pytest.raises(DataError, match=r"damaged|no pixels"):
        read_image(png(width=0, height=5, depth=8, colour=2, rows=b""))
    with pytest.raises(DataError, match="no pixels"):
        read_image(np.zeros((0, 5, 3), dtype=np.uint8))


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "holiday.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"no picture at .*holidy\.png; did you mean .*holiday\.png\?"):
        read_image(tmp_path / "holidy.png")
    with pytest.raises(DataError, match="no picture at"):
        read_image(tmp_path / "nowhere" / "at" / "all.png")
    with pytest.raises(DataError, match="is a folder"):
        read_image(tmp_path)
    with pytest.raises(DataError, match="is a folder"):
        image_size(tmp_path)
    with pytest.raises(DataError, match="is a device"):
        read_image(os.devnull)
    with pytest.raises(DataError, match="is an address"):
        read_image("https://example.org/cup.jpg")
    with pytest.raises(DataError):
        read_image("bad\0name")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_named_pipe_can_be_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(encoded(Image.fromarray(CORNERS), "PNG"),))
    writer.start()
    np.testing.assert_array_equal(read_image(pipe), CORNERS)
    writer.join()


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((3, 20, 20), dtype=np.uint8), "channels last"),
        (np.zeros((20,), dtype=np.uint8), r"\(H, W"),
        (np.zeros((4, 4, 2), dtype=np.uint8), r"\(H, W"),
        (np.zeros((4, 4, 3), dtype=np.int64), "int64"),
        (np.full((4, 4, 3), 200.0), r"\[0, 1\]"),
        (np.full((4, 4, 3), np.nan), r"\[0, 1\]"),
    ],
)
def test_arrays_that_are_no_images(array: np.ndarray, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_image(array)


def test_arrays_of_other_kinds() -> None:
    assert read_image(np.full((2, 3), 7, dtype=np.uint8)).tolist() == [[[7] * 3] * 3] * 2
    assert read_image(np.full((2, 3, 1), 0.5)).tolist() == [[[128] * 3] * 3] * 2
    assert read_image(np.full((1, 1, 4), 65535, dtype=np.uint16)).tolist() == [[[255] * 3]]


def test_real_images_are_read_as_pillow_shows_them(refer_mini: Path) -> None:
    path = sorted((refer_mini / "images" / "train2014").glob("*.jpg"))[0]
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(read_image(path), expected)
    np.testing.assert_array_equal(decode_stored(path.read_bytes()), expected)
    assert image_size(path) == expected.shape[:2]


def test_names_of_images() -> None:
    assert is_image_name("A.JPG") and is_image_name("x.heic")
    assert not is_image_name("notes.txt") and not is_image_name("jpg")
