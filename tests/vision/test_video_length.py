"""Videos that break off are told from whole ones, in every container that states its length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from risctl.errors import DataError
from risctl.vision import video_frames
from risctl.vision.video_frames import Video
from risctl.vision.video_length import missing_part

av = pytest.importorskip("av")

FRAMES = 12
FORMATS = {
    "mp4": ("mpeg4", "yuv420p"),
    "mov": ("qtrle", "rgb24"),
    "mkv": ("mpeg4", "yuv420p"),
    "webm": ("libvpx", "yuv420p"),
    "avi": ("mpeg4", "yuv420p"),
    "flv": ("flv1", "yuv420p"),
    "wmv": ("wmv2", "yuv420p"),
    "ts": ("mpeg2video", "yuv420p"),
    "gif": ("gif", "rgb8"),
}


def write(path: Path, *, frames: int = FRAMES, width: int = 64, height: int = 48) -> Path:
    codec, layout = FORMATS[path.suffix[1:]]
    options = {"movflags": "faststart"} if path.suffix in (".mp4", ".mov") else {}
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, layout
        for index in range(frames):
            pixels = np.random.default_rng(index).integers(0, 256, (height, width, 3), dtype=np.uint8)
            for packet in stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


@pytest.mark.parametrize("kind", FORMATS)
def test_a_whole_video_lacks_nothing_and_a_cut_one_says_so(kind: str, tmp_path: Path) -> None:
    whole = write(tmp_path / f"whole.{kind}")
    assert missing_part(whole) is None
    assert len(list(Video.open(whole).frames())) == FRAMES
    data, cut = whole.read_bytes(), tmp_path / f"cut.{kind}"
    for share in (0.3, 0.6, 0.9):
        cut.write_bytes(data[: int(share * len(data)) | 1])
        read = 0
        with pytest.raises(DataError, match=r"breaks off: the file ends after|no frame that can be read"):
            for _ in Video.open(cut).frames():
                read += 1
        assert read <= FRAMES
    assert read > 0


def test_bytes_behind_the_end_are_no_part_of_it(tmp_path: Path) -> None:
    for kind in ("mp4", "avi", "gif", "flv"):
        path = write(tmp_path / f"film.{kind}")
        path.write_bytes(path.read_bytes() + b"\0" * 500)
        assert missing_part(path) is None, kind


def test_a_matroska_written_to_a_pipe_has_no_length(tmp_path: Path) -> None:
    """Its segment's length is unknown; what was written is all there is."""
    whole = write(tmp_path / "film.mkv").read_bytes()
    at = whole.index(bytes.fromhex("18538067")) + 4
    live = tmp_path / "live.mkv"
    live.write_bytes(whole[:at] + b"\x01" + b"\xff" * 7 + whole[at + 8 :])
    assert missing_part(live) is None
    assert len(list(Video.open(live).frames())) == FRAMES


def test_a_cut_video_without_its_index_is_not_called_sound(tmp_path: Path) -> None:
    whole = write(tmp_path / "film.mp4").read_bytes()
    cut = tmp_path / "cut.mp4"
    for keep in (whole.index(b"moov") + 60, whole.index(b"stbl") + 20, whole.index(b"mdat")):
        cut.write_bytes(whole[:keep])
        with pytest.raises(DataError, match="breaks off") as caught:
            list(Video.open(cut).frames())
        assert "sound" not in str(caught.value)


def test_other_files_say_nothing_of_their_length(tmp_path: Path) -> None:
    for number, data in enumerate((b"", b"RIFF", b"\x1aE\xdf\xa3", b"GIF", b"\0\0\0\x18ftyp", b"text" * 50, b"OggS")):
        path = tmp_path / str(number)
        path.write_bytes(data)
        missing_part(path)
    assert missing_part(tmp_path / "absent") is None


def test_frames_are_bounded_before_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "film.mp4")
    video = Video.open(path)
    monkeypatch.setattr(video_frames, "MAX_FRAME_PIXELS", 64 * 48 - 1)
    with pytest.raises(DataError, match="64x48 pixels, more than the limit"):
        Video.open(path)
    with pytest.raises(DataError, match="64x48 pixels, more than the limit"):
        list(video.frames())


def test_frames_of_one_stem_have_names_of_their_own(tmp_path: Path) -> None:
    for name in ("1.png", "1.jpg", "2.png"):
        Image.new("RGB", (8, 6), "red").save(tmp_path / name)
    assert [frame.name for frame in Video.open(tmp_path).frames()] == ["1.jpg", "1.png", "2"]
