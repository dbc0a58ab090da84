"""Mutated pictures and videos: damaged, cut, spliced, and with headers that state what is not there.

A case is right if it is read as what it is: a picture that was changed behind its end only, or where a checksum tells,
must be the original; a video that was cut must not pass for a whole one.
"""

from __future__ import annotations

import io
import json
import random as random_module
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from risctl.errors import DataError

SUITE_COUNT = 150

_SIDE = 48
_FRAMES = 12
_VIDEOS = ("mp4", "mkv", "webm", "avi", "mov", "gif", "flv")
_CODECS = {"webm": ("libvpx", "yuv420p"), "mov": ("qtrle", "rgb24"), "gif": ("gif", "rgb8"), "flv": ("flv1", "yuv420p")}
_NUMBERS = (0, 1, 2, 255, 65_535, 65_536, 13_377, 178_956_970, 2**31 - 1, 2**31, 2**32 - 1)


def prepare(folder: Path) -> None:
    """Writes a small picture of each format and kind, and a video of each container."""
    noise = np.random.default_rng(0).integers(0, 256, (_SIDE, _SIDE + 16, 3), dtype=np.uint8)
    noise[8:30, 8:40] = (200, 40, 40)
    picture = Image.fromarray(noise)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(folder / "plain.png")
    picture.convert("RGBA").save(folder / "alpha.png")
    picture.quantize(32).save(folder / "palette.png")
    Image.fromarray(noise[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
    picture.save(folder / "plain.jpg", quality=90, exif=exif)
    picture.save(folder / "progressive.jpg", progressive=True)
    picture.convert("CMYK").save(folder / "cmyk.jpg")
    picture.save(folder / "plain.webp", lossless=True)
    picture.save(folder / "lossy.webp", quality=70, exif=exif)
    picture.save(folder / "plain.gif")
    picture.save(folder / "moving.webp", save_all=True, append_images=[picture.rotate(90)], lossless=True)
    picture.save(folder / "plain.bmp")
    picture.save(folder / "plain.tif")
    picture.save(folder / "packed.tif", compression="tiff_lzw")
    picture.save(folder / "plain.ico", sizes=[(32, 32)])
    picture.save(folder / "plain.jp2")
    picture.save(folder / "plain.ppm")
    for ending in _VIDEOS:
        _write_video(folder / f"film.{ending}")


def mutate(folder: Path, target: Path, random: random_module.Random) -> str:
    """Writes one changed picture or video, and beside it what may be expected of it."""
    originals = sorted(folder.iterdir())
    original = random.choice(originals)
    data = bytearray(original.read_bytes())
    expected = "any"
    kind = random.choice(("bits", "bytes", "cut", "cut", "numbers", "doubled", "spliced", "tail", "header", "removed"))
    if kind == "bits":
        places = [random.randrange(len(data)) for _ in range(random.choice((1, 1, 2, 8)))]
        for place in places:
            data[place] ^= 1 << random.randrange(8)
        done = f"bits flipped at {places}"
        expected = "pixels" if original.name in ("plain.png", "alpha.png", "deep.png") else "any"
    elif kind == "bytes":
        place, count = random.randrange(len(data)), random.choice((1, 4, 16, 200))
        data[place : place + count] = random.randbytes(min(count, len(data) - place))
        done = f"{count} bytes replaced at {place}"
    elif kind == "cut":
        keep = random.randrange(len(data))
        del data[keep:]
        done, expected = f"cut after {keep} bytes", "cut"
    elif kind == "numbers":
        place, number = random.randrange(max(1, len(data) - 4)), random.choice(_NUMBERS)
        form = random.choice((">I", "<I", ">H", "<H"))
        packed = struct.pack(form, number & (0xFFFFFFFF if form[1] == "I" else 0xFFFF))
        data[place : place + len(packed)] = packed
        done = f"{number} written as {form} at {place}"
    elif kind == "doubled":
        first, last = sorted(random.randrange(len(data)) for _ in range(2))
        data[last:last] = data[first:last] * random.choice((1, 3, 20))
        done = f"bytes {first} to {last} repeated"
    elif kind == "removed":
        first = random.randrange(len(data))
        last = min(len(data), first + random.choice((1, 7, 64)))
        del data[first:last]
        done = f"bytes {first} to {last} removed"
    elif kind == "spliced":
        other = random.choice(originals).read_bytes()
        place = random.randrange(len(data))
        data[place:] = other[random.randrange(len(other)) :]
        done = f"another file's end from {place} on"
    elif kind == "tail":
        data += random.randbytes(random.choice((1, 100, 5000)))
        done = "bytes appended"
        expected = "original" if original.suffix in (".png", ".jpg", ".bmp", ".ppm") else "any"
    else:
        data, done, expected = _hostile_header(original, data, random)
    (target / f"case{original.suffix}").write_bytes(data)
    about = {"original": original.name, "expected": expected}
    (target / "about.json").write_text(json.dumps(about), encoding="utf-8")
    return f"{original.name}: {done}"


def check(folder: Path, target: Path) -> str:
    """Reads the case as `risctl predict` does."""
    from risctl.vision.images import MAX_PIXELS, MAX_SIDE, read_image, read_image_with_notes

    about = json.loads((target / "about.json").read_text(encoding="utf-8"))
    [case] = target.glob("case*")
    warnings.filterwarnings("ignore", module="PIL")  # of damaged tags
    original, expected = folder / about["original"], about["expected"]
    if original.stem == "film":
        return _check_video(case, expected)
    pixels = read_image_with_notes(case).pixels
    sound = pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.size > 0
    if not sound or max(pixels.shape) > MAX_SIDE or pixels.shape[0] * pixels.shape[1] > MAX_PIXELS:
        return "wrong"
    if expected == "refused":
        return "wrong"
    if expected in ("original", "pixels") and not np.array_equal(pixels, read_image(original)):
        return "wrong"
    return "right"


def _check_video(case: Path, expected: str) -> str:
    """Reads a video to its end; one that gives fewer frames than it had and says nothing is wrong if it was cut."""
    from risctl.vision.video_frames import Video, VideoWriter

    video = Video.open(case)
    frames = 0
    with VideoWriter(case.with_name("written.mp4"), rate=video.rate) as writer:
        for frame in video.frames():
            if frame.pixels.dtype != np.uint8 or frame.pixels.ndim != 3:
                return "wrong"
            writer.add(frame.pixels, time=frame.time)
            frames += 1
    return "wrong" if expected == "cut" and frames < _FRAMES else "right"


def _hostile_header(original: Path, data: bytearray, random: random_module.Random) -> tuple[bytearray, str, str]:
    """Returns a file whose header states sides that are not there, or a whole one with sides of no picture."""
    width, height = random.choice(((178_956_970, 1), (1, 178_956_970), (65_536, 2), (70_000, 70_000), (2**31 - 1, 1)))
    if original.suffix == ".png" and random.random() < 0.5 and width * height < 10**9:
        return bytearray(_png(width, height)), f"a whole picture of {width}x{height}", "refused"
    if original.suffix == ".png":
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif original.suffix == ".bmp":
        data[18:26] = struct.pack("<ii", width, height)
    elif original.suffix == ".gif":
        data[6:10] = struct.pack("<HH", 65_535, 65_535)
    elif original.suffix == ".jpg":
        at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        data[at + 5 : at + 9] = struct.pack(">HH", 65_535, 65_535)
    elif original.suffix == ".ppm":
        data[: data.index(b"255")] = f"P6\n{width} {height}\n".encode()
    else:
        place = random.randrange(min(120, len(data) - 4))
        data[place : place + 4] = struct.pack(random.choice((">I", "<I")), width)
        return data, f"{width} written at {place}", "any"
    return data, "sides of no picture in the header", "any" if original.stem == "film" else "refused"


def _png(width: int, height: int) -> bytes:
    """Returns a whole PNG of one grey, a few kilobytes for any size."""
    packer = zlib.compressobj(9)
    row = b"\0" * (1 + (width + 7) // 8)
    rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush() if height < 4096 else b""
    if height >= 4096:
        rows = zlib.compress(bytes(height * len(row)), 9)
    file = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    file.seek(0, io.SEEK_END)
    for name, content in (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)),
        (b"IDAT", rows),
        (b"IEND", b""),
    ):
        file.write(struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content)))
    return file.getvalue()


def _write_video(path: Path) -> None:
    try:
        import av
    except ImportError as error:
        raise DataError("the attack on videos needs PyAV: pip install 'risctl[video]'") from error
    codec, layout = _CODECS.get(path.suffix[1:], ("mpeg4", "yuv420p"))
    options = {"movflags": "faststart"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = _SIDE + 16, _SIDE, layout
        for index in range(_FRAMES):
            pixels = np.random.default_rng(index).integers(0, 256, (_SIDE, _SIDE + 16, 3), dtype=np.uint8)
            pixels[8:30, index : index + 30] = (200, 40, 40)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
