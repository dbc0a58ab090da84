"""`risctl predict` on videos: files, folders of frames, clips, both ways of choosing, interrupts."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.small_models import REFERFORMER, recipe_of
from PIL import Image
from typer.testing import CliRunner

from risctl.checkpoints.checkpoint import save_checkpoint
from risctl.cli.app import app
from risctl.errors import DataError, UsageError
from risctl.inference.predictor import Predictor
from risctl.inference.video_output_files import VideoPredictions
from risctl.inference.video_predictor import VideoPredictor
from risctl.language.vocabulary import Vocabulary
from risctl.output_files import OutputFiles
from risctl.results import FramePredictions, Prediction
from risctl.systems.registry import build_system
from risctl.vision import rle
from risctl.vision.video_clips import clips_of
from risctl.vision.video_frames import Frame, Video, VideoWriter

pytest.importorskip("av")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small, untrained ReferFormer."""
    recipe = recipe_of(REFERFORMER)
    vocabulary = Vocabulary(["red", "cup", "left", "a", "dog"])
    with torch.random.fork_rng():
        torch.manual_seed(3)
        system = build_system(recipe.model, vocabulary=vocabulary)
        # Untrained, all its logits are near one value: put masks on both sides of the threshold.
        with torch.no_grad():
            system.mask_head.controller.last.bias.normal_(std=0.5)
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    save_checkpoint(path, system=system, recipe=recipe, vocabulary=vocabulary)
    return path


def pictures(count: int, *, height: int = 60, width: int = 90) -> Iterator[np.ndarray]:
    for number in range(count):
        pixels = np.full((height, width, 3), 90, dtype=np.uint8)
        pixels[10:40, 5 + 3 * number : 35 + 3 * number] = (220, 40, 40)
        yield pixels


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    with VideoWriter(path, rate=12.5) as writer:
        for pixels in pictures(11):
            writer.add(pixels)
    return path


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["predict", *arguments])


def test_a_video_gives_a_mask_a_frame_an_overlay_and_rles(film: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(str(film), "red cup", "dog", "--model", str(model), "-o", str(out), "--clip-len", "4", "--json")
    assert done.exit_code == 0, done.output
    records = json.loads(done.stdout)
    assert [record["text"] for record in records] == ["red cup", "dog"]
    for record in records:
        assert record["complete"] and record["frames"] == 11
        masks = sorted(Path(record["masks"]).iterdir())
        assert [path.name for path in masks] == [f"{number:05d}.png" for number in range(11)]
        listed = json.loads(Path(record["rle"]).read_text())
        assert listed["complete"] and listed["rate"] == 12.5
        for path, frame in zip(masks, listed["frames"], strict=True):
            mask = np.asarray(Image.open(path)) > 0
            assert mask.shape == (60, 90)
            assert np.array_equal(mask, rle.decode(frame["segmentation"]))
        overlay = Video.open(Path(record["overlay"]))
        assert len(list(overlay.frames())) == 11
        assert overlay.rate == 12.5
    assert not list(out.glob(".*"))


def test_a_folder_of_frames_is_a_video_when_said_so(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, pixels in enumerate(pictures(3)):
        Image.fromarray(pixels).save(folder / f"{6 * number:05d}.png")
    out = tmp_path / "out"
    done = run(str(folder), "red", "--video", "--model", str(model), "-o", str(out), "--json")
    assert done.exit_code == 0, done.output
    [record] = json.loads(done.stdout)
    assert sorted(path.name for path in Path(record["masks"]).iterdir()) == ["00000.png", "00006.png", "00012.png"]


def write_encoded(path: Path, frames: list[np.ndarray], *, codec: str, layout: str, times: list[float]) -> None:
    """Write frames (H, W, 3 or 4) that stand at `times`, in seconds."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], layout
        stream.codec_context.time_base = Fraction(1, 1000)
        for pixels, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgba" if pixels.shape[2] == 4 else "rgb24")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            for packet in stream.encode(frame):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)


def test_frames_keep_their_times_where_these_are_uneven(model: Path, tmp_path: Path) -> None:
    times = [0.0, 0.1, 0.2, 1.0, 1.05, 2.5]
    film = tmp_path / "uneven.mov"
    write_encoded(film, list(pictures(6)), codec="mpeg4", layout="yuv420p", times=times)
    done = run(str(film), "red", "--model", str(model), "-o", str(tmp_path / "out"), "--json")
    assert done.exit_code == 0, done.output
    [record] = json.loads(done.stdout)
    listed = json.loads(Path(record["rle"]).read_text())["frames"]
    assert [frame["time"] for frame in listed] == pytest.approx(times, abs=1e-3)
    drawn = Video.open(Path(record["overlay"])).frames()
    assert [frame.time for frame in drawn] == pytest.approx(times, abs=1e-3)


def test_what_a_telephone_wrote_upright_is_turned(tmp_path: Path) -> None:
    """The note in the file (tkhd's matrix) says: show it turned by 90 degrees clockwise."""
    film = tmp_path / "upright.mp4"
    corner = np.full((60, 90, 3), 90, dtype=np.uint8)
    corner[:20, :30] = (220, 40, 40)
    with VideoWriter(film, rate=10.0) as writer:
        writer.add(corner)
    plain, turned = (
        b"".join(one.to_bytes(4, "big", signed=True) for one in matrix)
        for matrix in ((65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30), (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30))
    )
    data = film.read_bytes()
    track = data.index(b"tkhd")
    film.write_bytes(data[:track] + data[track:].replace(plain, turned, 1))
    [frame] = Video.open(film).frames()
    assert frame.pixels.shape == (90, 60, 3)
    assert np.abs(frame.pixels.astype(int) - np.rot90(corner, -1)).mean() < 8
    assert frame.pixels[5, -5, 0] > 180 and frame.pixels[5, 5, 0] < 120  # what was left above is right above


def test_what_is_transparent_is_seen_over_white(tmp_path: Path) -> None:
    clear = [np.dstack([pixels, np.where(pixels[..., 0] > 200, 255, 0).astype(np.uint8)]) for pixels in pictures(2)]
    write_encoded(tmp_path / "clear.mov", clear, codec="qtrle", layout="argb", times=[0.0, 0.1])
    for frame, pixels in zip(Video.open(tmp_path / "clear.mov").frames(), clear, strict=True):
        wanted = np.where(pixels[..., 3:] > 0, pixels[..., :3], 255)
        assert np.array_equal(frame.pixels, wanted)


def test_an_animation_is_a_video_when_said_so_and_odd_sizes_are_taken(model: Path, tmp_path: Path) -> None:
    first, *more = (Image.fromarray(pixels[:59, :89]) for pixels in pictures(5))
    first.save(tmp_path / "odd.gif", save_all=True, append_images=more, duration=100)
    options = ("--model", str(model), "--json", "-o", str(tmp_path / "out"))
    [one] = json.loads(run(str(tmp_path / "odd.gif"), "red", *options).stdout)
    assert "frames" not in one
    [every] = json.loads(run(str(tmp_path / "odd.gif"), "red", "--video", *options).stdout)
    assert every["frames"] == 5
    assert np.asarray(Image.open(Path(every["masks"]) / "00004.png")).shape == (59, 89)


def test_frames_are_taken_by_their_numbers(tmp_path: Path) -> None:
    for number, pixels in enumerate(pictures(11), start=1):
        Image.fromarray(pixels).save(tmp_path / f"frame{number}.png")
    video = Video.open(tmp_path)
    assert [frame.name for frame in video.frames()] == [f"frame{number}" for number in range(1, 12)]


def test_overlays_of_a_video_have_one_size(tmp_path: Path) -> None:
    """Where the phrase finds room changes from frame to frame; the film's frames may not."""
    video = Video(path=tmp_path / "made.mp4", rate=10.0, count=3)
    sides = (10, 0, 60)
    with VideoPredictions(tmp_path / "out", video, texts=["red cup"], model="m", threshold=0.5) as files:
        for index, side in enumerate(sides):
            mask = np.zeros((60, 90), np.float32)
            mask[:side, :side] = 1
            prediction = Prediction(text="red cup", probability=mask, threshold=0.5, score=1.0, box=None)
            frame = Frame(index=index, name=f"{index:05d}", pixels=np.full((60, 90, 3), 90, np.uint8))
            files.add(FramePredictions(frame=frame, predictions=(prediction,)))
    drawn = list(Video.open(tmp_path / "out" / "made.red-cup.overlay.mp4").frames())
    below = [frame.pixels[64:].astype(int) for frame in drawn]
    assert len(drawn) == 3
    assert max(np.abs(one - below[0]).mean() for one in below) < 3
    assert np.abs(drawn[1].pixels[5:55, 5:85].astype(int) - 90).max() < 12


def test_another_video_of_that_name_gets_names_of_its_own(model: Path, film: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "film.mp4"
    other.parent.mkdir()
    with VideoWriter(other, rate=10.0) as writer:
        for pixels in pictures(3):
            writer.add(pixels)
    options = ("dog", "--model", str(model), "-o", str(tmp_path / "out"), "--json")
    for source, frames, allowed in ((film, 11, ()), (other, 3, ()), (film, 11, ("--overwrite",))):
        [record] = json.loads(run(str(source), *options, *allowed).stdout)
        assert record["frames"] == len(list(Path(record["masks"]).iterdir())) == frames
    assert len(list((tmp_path / "out").glob("*.json"))) == 2
    film.write_bytes(other.read_bytes())
    again = run(str(film), *options)
    assert isinstance(again.exception, UsageError) and "--overwrite" in str(again.exception)
    [record] = json.loads(run(str(film), *options, "--overwrite").stdout)
    assert len(list(Path(record["masks"]).iterdir())) == 3  # no mask of the longer one stays


@pytest.mark.parametrize(("query", "passes"), [("clip", 1), ("video", 2)])
def test_progress_counts_every_frame_of_every_pass(model: Path, film: Path, query: Any, passes: int) -> None:
    predictor = VideoPredictor.load(model, device="cpu", clip_length=4, overlap=1, query=query)
    told: list[tuple[int, int | None]] = []
    for _ in predictor.predict(Video.open(film), ["dog"], progress=lambda *given: told.append(given)):
        pass
    done = [one for one, _ in told]
    assert done[0] == 0 and done[-1] == passes * 11 and done == sorted(done)
    assert {total for _, total in told} == {passes * 11}


@pytest.mark.parametrize("query", ["clip", "video"])
def test_a_frame_that_cannot_be_read_does_not_take_the_others(model: Path, tmp_path: Path, query: str) -> None:
    for number, pixels in enumerate(pictures(6)):
        Image.fromarray(pixels if number != 4 else pixels[:50]).save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes((tmp_path / "0.png").read_bytes()[:60])
    options = ("--model", str(model), "-o", str(tmp_path / "out"), "--clip-len", "2", "--json", "--query", query)
    done = run(str(tmp_path), "red", "--video", *options)
    assert isinstance(done.exception, DataError) and "2 frames could not be read" in str(done.exception)
    assert done.stderr.count("1.png is a damaged or truncated picture") == 1
    assert "frame 4 of" in done.stderr and "90x50" in done.stderr
    [record] = json.loads(done.stdout)
    assert record["frames"] == 4 and record["complete"] is False
    assert sorted(path.stem for path in Path(record["masks"]).iterdir()) == ["0", "2", "3", "5"]


def test_frames_after_a_damaged_part_of_a_film_are_predicted(model: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.avi"
    write_encoded(film, list(pictures(8)), codec="png", layout="rgb24", times=[0.1 * n for n in range(8)])
    data = bytearray(film.read_bytes())
    starts = [at for at in range(len(data)) if data.startswith(b"\x89PNG", at)]
    data[starts[3] : starts[3] + 40] = bytes(40)
    film.write_bytes(data)
    done = run(str(film), "red", "--model", str(model), "-o", str(tmp_path / "out"), "--json")
    assert isinstance(done.exception, DataError) and "1 frame could not be read" in str(done.exception)
    assert "film.avi is damaged near packet" in done.stderr
    [record] = json.loads(done.stdout)
    assert record["frames"] == 7 and record["complete"] is False


@pytest.mark.parametrize("query", ["clip", "video"])
def test_a_film_that_was_cut_is_not_called_complete(model: Path, tmp_path: Path, query: str) -> None:
    whole = tmp_path / "whole.mkv"
    noise = list(np.random.default_rng(0).integers(0, 256, (12, 60, 90, 3), dtype=np.uint8))
    write_encoded(whole, noise, codec="mpeg4", layout="yuv420p", times=[0.1 * n for n in range(12)])
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: int(0.6 * whole.stat().st_size)])
    options = ("--model", str(model), "-o", str(tmp_path / "out"), "--json", "--query", query)
    done = run(str(cut), "red", "!!!", *options)
    assert isinstance(done.exception, DataError) and "breaks off: the file ends after" in str(done.exception)
    assert "cut.mkv breaks off" in done.stderr and "got '!!!'" in done.stderr
    [record] = json.loads(done.stdout)
    assert 0 < record["frames"] < 12 and record["complete"] is False
    assert json.loads(Path(record["rle"]).read_text())["complete"] is False


def test_a_bad_phrase_does_not_take_the_others(model: Path, film: Path, tmp_path: Path) -> None:
    done = run(str(film), "red", "!!!", "--model", str(model), "-o", str(tmp_path / "out"), "--json")
    assert isinstance(done.exception, DataError) and "1 of 2 phrases" in str(done.exception)
    [record] = json.loads(done.stdout)
    assert record["complete"] is True and record["frames"] == 11


def test_an_interrupt_before_the_first_frame_keeps_what_was_there(model: Path, film: Path, tmp_path: Path) -> None:
    options = ("dog", "--model", str(model), "-o", str(tmp_path / "out"), "--quiet")
    assert run(str(film), *options).exit_code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    outputs = OutputFiles(overwrite=True)
    with (
        pytest.raises(KeyboardInterrupt),
        VideoPredictions(tmp_path / "out", Video.open(film), texts=["dog"], model="m", threshold=0.5, outputs=outputs),
    ):
        raise KeyboardInterrupt
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def answers(model: Path, film: Path, **options: Any) -> list[np.ndarray]:
    predictor = VideoPredictor.load(model, device="cpu", **options)
    return [one.predictions[0].probability for one in predictor.predict(Video.open(film), ["red cup"])]


def test_one_clip_is_the_whole_video_pass(model: Path, film: Path) -> None:
    """The frames of a clip that is as long as the video are what the system gives for all of them at once."""
    predictor = Predictor.load(model, device="cpu")
    frames = list(Video.open(film).frames())
    prepared = [predictor.system.preprocess.image(frame.pixels) for frame in frames]
    images, geometry = torch.stack([image for image, _ in prepared]), prepared[0][1]
    ids, mask = predictor.system.preprocess.text("red cup")
    with torch.no_grad():
        visual = predictor.system.encode_image(images[None], geometry.padding()[None])
        output = predictor.system.decode(visual, predictor.system.encode_text(ids[None], mask[None]))
        expected = geometry.invert(output.logits[0]).sigmoid().numpy()
    found = answers(model, film, clip_length=11)
    assert np.allclose(np.stack(found), expected, atol=1e-5)
    again = answers(model, film, clip_length=40, query="video")
    assert np.allclose(np.stack(again), expected, atol=1e-5)


@pytest.mark.parametrize(("length", "overlap"), [(1, 0), (4, 0), (4, 2), (5, 4)])
@pytest.mark.parametrize("query", ["clip", "video"])
def test_every_frame_is_answered_once(model: Path, film: Path, length: int, overlap: int, query: Any) -> None:
    found = answers(model, film, clip_length=length, overlap=overlap, query=query)
    assert len(found) == 11
    assert all(one.shape == (60, 90) and np.isfinite(one).all() for one in found)


def test_clips_hold_no_more_frames_than_they_should() -> None:
    pixels = np.zeros((1, 1, 3), np.uint8)
    frames = (Frame(index=number, name=str(number), pixels=pixels) for number in range(10))
    found = [([one.index for one in clip], first) for clip, first in clips_of(frames, length=4, overlap=1)]
    assert found == [([0, 1, 2, 3], 0), ([3, 4, 5, 6], 1), ([6, 7, 8, 9], 1)]


def test_memory_does_not_grow_with_the_length(model: Path) -> None:
    """Frames are read when their clip comes, and not kept."""
    alive: list[int] = []

    class Counted(Video):
        def frames(self) -> Iterator[Frame]:
            for index, pixels in enumerate(pictures(12)):
                alive.append(index)
                yield Frame(index=index, name=f"{index:05d}", pixels=pixels)

    video = Counted(path=Path("made.mp4"), rate=10.0, count=12)
    predictor = VideoPredictor.load(model, device="cpu", clip_length=3)
    for done, _ in enumerate(predictor.predict(video, ["dog"])):
        assert len(alive) <= done // 3 * 3 + 3


def test_an_interrupt_keeps_the_finished_frames(model: Path, film: Path, tmp_path: Path) -> None:
    predictor = VideoPredictor.load(model, device="cpu", clip_length=2)
    video = Video.open(film)
    files = VideoPredictions(tmp_path / "out", video, texts=["dog"], model="m", threshold=0.5)
    with pytest.raises(KeyboardInterrupt), files:
        for number, one in enumerate(predictor.predict(video, ["dog"])):
            files.add(one)
            if number == 4:
                raise KeyboardInterrupt
    [record] = files.records()
    assert record["frames"] == 5 and not record["complete"]
    assert len(list(Path(record["masks"]).iterdir())) == 5
    listed = json.loads(Path(record["rle"]).read_text())
    assert len(listed["frames"]) == 5 and not listed["complete"]
    assert len(list(Video.open(Path(record["overlay"])).frames())) == 5


def test_an_interrupt_before_the_first_frame_leaves_nothing(film: Path, tmp_path: Path) -> None:
    files = VideoPredictions(tmp_path / "out", Video.open(film), texts=["dog"], model="m", threshold=0.5)
    with pytest.raises(KeyboardInterrupt), files:
        raise KeyboardInterrupt
    assert not list((tmp_path / "out").iterdir())


def test_an_interrupt_while_a_frame_is_written_waits_for_it(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two texts none has a frame more than the other."""
    first, second, *_ = Video.open(film).frames()
    found = [
        Prediction(text=text, probability=np.ones((60, 90), np.float32), threshold=0.5, score=1.0, box=None)
        for text in ("dog", "cup")
    ]
    whole = VideoWriter.add

    def interrupted(*given: Any, **options: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        whole(*given, **options)

    files = VideoPredictions(tmp_path / "out", Video.open(film), texts=["dog", "cup"], model="m", threshold=0.5)
    with pytest.raises(KeyboardInterrupt), files:
        files.add(FramePredictions(frame=first, predictions=tuple(found)))
        calls = iter((interrupted, whole))
        monkeypatch.setattr(VideoWriter, "add", lambda self, *given, **options: next(calls)(self, *given, **options))
        files.add(FramePredictions(frame=second, predictions=tuple(found)))
    for record in files.records():
        assert len(json.loads(Path(record["rle"]).read_text())["frames"]) == record["frames"] == 2


def test_an_image_model_answers_frame_by_frame(tiny_checkpoint: Path, film: Path) -> None:
    predictor = Predictor.load(tiny_checkpoint, device="cpu")
    [*found] = VideoPredictor(predictor.system, clip_length=3).predict(Video.open(film), ["red cup"])
    assert len(found) == 11
    alone = predictor.predict(found[7].frame.pixels, "red cup")[0]
    assert np.allclose(found[7].predictions[0].probability, alone.probability, atol=1e-5)
    with pytest.raises(UsageError, match="queries"):
        list(VideoPredictor(predictor.system, query="video").predict(Video.open(film), ["red cup"]))


def test_what_cannot_be_a_video_is_told(model: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing of a video" * 50)
    with pytest.raises(DataError, match="cannot be read as a video"):
        Video.open(broken)
    assert isinstance(run(str(broken), "dog", "--model", str(model)).exception, DataError)
    with pytest.raises(DataError, match="no video"):
        Video.open(tmp_path / "absent.mp4")
    with pytest.raises(UsageError, match="overlap"):
        VideoPredictor.load(model, device="cpu", clip_length=3, overlap=3)
    for number, pixels in enumerate(pictures(2)):
        Image.fromarray(pixels[: 60 - number]).save(tmp_path / f"{number}.png")
    with pytest.raises(DataError, match="90x59"):
        list(Video.open(tmp_path).frames())


def test_a_real_sequence_runs_through(model: Path, shared: Path, tmp_path: Path) -> None:
    """A DAVIS sequence made into an mp4; random weights: what is shown is that it runs, not that it finds the cows."""
    frames = Video.open(shared / "data" / "davis_mini" / "JPEGImages" / "dog")
    path = tmp_path / "dog.mp4"
    with VideoWriter(path, rate=frames.rate) as writer:
        for frame in frames.frames():
            writer.add(frame.pixels)
    done = run(str(path), "a dog", "--model", str(model), "-o", str(tmp_path / "out"), "--json", "--query", "video")
    assert done.exit_code == 0, done.output
    [record] = json.loads(done.stdout)
    assert record["frames"] == frames.count


@pytest.mark.parametrize("kind", ["film", "picture"])
def test_all_queries_are_drawn_over_time(kind: str, model: Path, film: Path, tmp_path: Path) -> None:
    source = film
    if kind == "picture":
        source = tmp_path / "one.png"
        Image.fromarray(next(pictures(1))).save(source)
    sheet = tmp_path / "sheet.png"
    arguments = ["visualize", "queries", str(source), "red cup", "--model", str(model), "-o", str(sheet), "--json"]
    done = CliRunner().invoke(app, [*arguments, "--frames", "4"])
    assert done.exit_code == 0, done.output
    drawn = json.loads(done.stdout)
    assert np.shape(drawn["scores"]) == ((4, 3) if kind == "film" else (1, 3))
    assert drawn["chosen"] == int(np.mean(drawn["scores"], axis=0).argmax())
    assert Image.open(sheet).width > 3 * 90
    if kind == "film":
        assert drawn["frames"] == ["00000", "00003", "00007", "00010"]


def test_queries_need_a_model_that_has_them(tiny_checkpoint: Path, film: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app,
        ["visualize", "queries", str(film), "red", "--model", str(tiny_checkpoint), "-o", str(tmp_path / "s.png")],
    )
    assert isinstance(done.exception, UsageError)
