"""`risctl predict`, run as a program: its files, its lines, its exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import Run
from PIL import Image

from risctl.cli.predict.inputs import split_arguments
from risctl.errors import DataError, UsageError
from risctl.vision import rle
from risctl.vision.image_files import find_images


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)).save(path)
    return path


def test_files_and_lines_of_two_texts(risctl: Run, photo: Path, tiny_checkpoint: Path) -> None:
    result = risctl("predict", "photo.png", "the red cup", "left", "--model", tiny_checkpoint, "--device", "cpu")
    assert result.code == 0
    lines = [line.split("\t") for line in result.out.splitlines()]
    assert [line[0] for line in lines] == ["the red cup", "left"]
    for (text, score, box, mask), stem in zip(lines, ["photo.the-red-cup", "photo.left"], strict=True):
        assert 0 <= float(score) <= 1
        assert mask == f"predictions/{stem}.mask.png"
        pixels = np.asarray(Image.open(mask))
        assert pixels.shape == (60, 90) and set(np.unique(pixels)) <= {0, 255}
        record = json.loads(Path(f"predictions/{stem}.json").read_text())
        assert record["image"] == "photo.png" and record["text"] == text and record["mask"] == mask
        assert record["model"].endswith("best.safetensors") and record["threshold"] == 0.5
        np.testing.assert_array_equal(rle.decode(record["segmentation"]), pixels == 255)
        assert record["area"] == (pixels == 255).sum()
        if record["box"] is not None:
            assert box == ",".join(f"{side:g}" for side in record["box"])
        with Image.open(record["overlay"]) as drawn:
            assert drawn.format == "JPEG" and drawn.width >= 90 and drawn.height >= 60
    assert sorted(path.name for path in Path("predictions").iterdir()) == sorted(
        f"{stem}.{end}" for stem in ("photo.the-red-cup", "photo.left") for end in ("mask.png", "overlay.jpg", "json")
    )
    assert "tiny (vlt)" in result.err


def test_json_prints_the_records_and_quiet_says_nothing_else(risctl: Run, photo: Path, tiny_checkpoint: Path) -> None:
    result = risctl("predict", photo, "cup", "-m", tiny_checkpoint, "--json", "--quiet", "--out", "deep/er")
    assert result.code == 0 and result.err == ""
    [record] = json.loads(result.out)
    assert record == json.loads((Path("deep/er") / "photo.cup.json").read_text())


def test_a_threshold_changes_the_mask(risctl: Run, photo: Path, tiny_checkpoint: Path) -> None:
    areas = []
    for threshold in ("0", "0.9999"):
        result = risctl(
            "predict", photo, "cup", "-m", tiny_checkpoint, "--json", "--overwrite", "--threshold", threshold
        )
        [record] = json.loads(result.out)
        areas.append(record["area"])
    assert areas == [5400, 0]
    assert record["box"] is None and record["score"] == 0
    result = risctl("predict", photo, "cup", "-m", tiny_checkpoint, "--overwrite", "--threshold", "0.9999")
    assert result.out.split("\t")[2] == "nothing found"
    assert risctl("predict", photo, "cup", "-m", tiny_checkpoint, "--threshold", "1.5").code == 2


def test_texts_of_the_option_and_repeated_texts(risctl: Run, photo: Path, tiny_checkpoint: Path) -> None:
    result = risctl("predict", photo, "-t", "cup", "-t", "cup", "-m", tiny_checkpoint, "--text", "left.png")
    assert [line.split("\t")[0] for line in result.out.splitlines()] == ["cup", "left.png"]


def test_texts_that_would_share_a_name_do_not(risctl: Run, photo: Path, tiny_checkpoint: Path) -> None:
    texts = ["red cup", "Red cup!", "red-cup", "кружка", "猫", "a/../b", "cup " * 100]
    result = risctl("predict", photo, *texts, "-m", tiny_checkpoint, "--json")
    records = json.loads(result.out)
    assert [record["text"] for record in records] == texts
    assert len({record["mask"] for record in records}) == len(texts)
    assert all(Path(record["mask"]).parent == Path("predictions") for record in records)
    assert "not among the words of its training" in result.err
    assert "only the first 6 of 100 words are read" in result.err


def test_a_second_run_replaces_its_own_when_told_so_and_nothing_else(
    risctl: Run, photo: Path, tiny_checkpoint: Path
) -> None:
    def run(picture: object, *given: str) -> list[str]:
        answer = risctl("predict", picture, *given, "-m", tiny_checkpoint, "--json")
        return [record["mask"] for record in json.loads(answer.out)]

    first = run("photo.png", "cup", "left")
    assert run("photo.png", "cup", "--overwrite") == first[:1]
    Path("other").mkdir()
    Image.new("RGB", (40, 30), "red").save("other/photo.png")
    [second] = run("other/photo.png", "cup")
    assert second not in first
    assert Image.open(first[0]).size == (90, 60) and Image.open(second).size == (40, 30)
    assert run("other/photo.png", "cup", "--overwrite") == [second]
    (Path("predictions") / "photo.right.json").write_text("my own notes")
    [third] = run("photo.png", "right", "--overwrite")
    assert (Path("predictions") / "photo.right.json").read_text() == "my own notes"
    assert third != "predictions/photo.right.mask.png"


def test_a_folder_with_unreadable_images(risctl: Run, tmp_path: Path, tiny_checkpoint: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("a.jpg", "c.png"):
        Image.new("RGB", (30, 20), "blue").save(folder / name)
    (folder / "b.jpg").write_bytes((folder / "a.jpg").read_bytes()[:200])
    (folder / "d.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.jpg").write_text("no picture")
    result = risctl("predict", "photos", "cup", "--model", tiny_checkpoint, "--json")
    assert result.code == 4
    assert [record["image"] for record in json.loads(result.out)] == ["photos/a.jpg", "photos/c.png"]
    assert "photos/b.jpg is a damaged or truncated picture" in result.err
    assert "photos/d.heic is not a picture: it seems to be a HEIC picture" in result.err
    assert "2 of 4 pictures could not be read" in result.err
    assert "notes.txt" not in result.err


def test_a_phrase_that_cannot_be_read_does_not_take_the_others(
    risctl: Run, photo: Path, tiny_checkpoint: Path, tiny_mini: Path
) -> None:
    for number, model in enumerate((tiny_checkpoint, tiny_mini)):
        common = ("--model", model, "--json", "--out", f"out{number}")
        result = risctl("predict", photo, "left cup", "!!!", "  ", "red cup", *common)
        assert result.code == 4
        assert [record["text"] for record in json.loads(result.out)] == ["left cup", "red cup"]
        assert "at least one word, got '!!!'" in result.err and "a phrase is empty" in result.err
        assert "2 of 4 phrases could not be read" in result.err
        none = risctl("predict", photo, "!!!", "?", *common)
        assert (none.code, none.out) == (4, "") and "2 of 2 phrases" in none.err


def test_a_second_run_is_refused_before_the_model_is_loaded(risctl: Run, photo: Path, tiny_checkpoint: Path) -> None:
    assert risctl("predict", photo, "cup", "--model", tiny_checkpoint, "--quiet").code == 0
    before = {path: path.read_bytes() for path in Path("predictions").iterdir()}
    again = risctl("predict", photo, "cup", "left", "--model", "absent")
    assert again.code == 2 and len(again.err.splitlines()) == 1
    assert "predictions/photo.cup.mask.png is there already; replace it with --overwrite" in again.err
    assert {path: path.read_bytes() for path in Path("predictions").iterdir()} == before


def test_a_mask_of_ones_own_is_not_replaced(risctl: Run, photo: Path, tiny_checkpoint: Path) -> None:
    Path("predictions").mkdir()
    Path("predictions/photo.cup.mask.png").write_text("drawn by hand")
    assert risctl("predict", photo, "cup", "--model", tiny_checkpoint).code == 2
    assert Path("predictions/photo.cup.mask.png").read_text() == "drawn by hand"


def test_one_name_in_two_working_folders(
    risctl: Run, tmp_path: Path, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = []
    for name, side in (("a", 30), ("b", 40)):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        Image.new("RGB", (side, 20), "blue").save("photo.png")
        ran = risctl("predict", "photo.png", "cup", "-m", tiny_checkpoint, "--out", tmp_path / "out", "--json")
        records += json.loads(ran.out)
    assert [record["file_name"] for record in records] == [str(tmp_path / name / "photo.png") for name in "ab"]
    assert [Image.open(record["mask"]).width for record in records] == [30, 40]


def test_an_image_that_is_named_twice_is_predicted_once(risctl: Run, photo: Path, tiny_checkpoint: Path) -> None:
    ran = risctl("predict", photo, "photo.png", "./photo.png", "cup", "-m", tiny_checkpoint, "--json")
    assert ran.code == 0 and len(json.loads(ran.out)) == 1


def test_a_mask_of_the_whole_image_is_remarked_on(risctl: Run, photo: Path, tiny_checkpoint: Path) -> None:
    whole = risctl("predict", photo, "cup", "-m", tiny_checkpoint, "--threshold", "0")
    assert whole.code == 0 and "'cup': the mask covers 100% of" in whole.err
    part = risctl("predict", photo, "cup", "-m", tiny_checkpoint, "--threshold", "0.9999", "--overwrite")
    assert "covers" not in part.err


def test_overlays_without_labels_have_the_images_size(
    risctl: Run, photo: Path, tiny_checkpoint: Path, tiny_mini: Path
) -> None:
    common = (photo, "-m", tiny_mini, "--json", "--no-labels", "--min-score", "0")
    for given in (("the red cup", "--threshold", "0"), ("--classes", "cup, dog")):
        assert risctl("predict", *common, *given).code == 0
    for name in ("photo.the-red-cup.overlay.jpg", "photo.classes.png"):
        assert Image.open(Path("predictions") / name).size == (90, 60)


def test_words_without_quotes_are_remarked_on(risctl: Run, photo: Path, tiny_checkpoint: Path) -> None:
    loose = risctl("predict", photo, "the", "red", "cup", "-m", tiny_checkpoint)
    assert (
        loose.code == 0
        and '3 phrases of one word each; if they are one phrase, put it in quotes: "the red cup"' in loose.err
    )
    meant = risctl("predict", photo, "red", "cup", "-m", tiny_checkpoint, "--out", "other")
    assert "quotes" not in meant.err


def test_a_single_unreadable_image_is_one_line(risctl: Run, tmp_path: Path, tiny_checkpoint: Path) -> None:
    (tmp_path / "page.jpg").write_bytes(b"<html>not found</html>")
    result = risctl("predict", "page.jpg", "cup", "--model", tiny_checkpoint, "--quiet")
    assert result.code == 4 and result.out == ""
    assert result.err == ("error: page.jpg is not a picture: it seems to be a web page; download the picture itself\n")


def test_patterns_quoted_and_expanded(risctl: Run, tmp_path: Path, tiny_checkpoint: Path) -> None:
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    for name in ("a.jpg", "b.jpg", "deep/a.jpg"):
        Image.new("RGB", (30, 20), "blue").save(tmp_path / "photos" / name)
    common = ("cup", "--model", tiny_checkpoint, "--json", "--overwrite")
    quoted = json.loads(risctl("predict", "photos/*.jpg", *common).out)
    expanded = json.loads(risctl("predict", "photos/a.jpg", "photos/b.jpg", *common).out)
    assert quoted == expanded and len(quoted) == 2
    deep = json.loads(risctl("predict", "photos/**/*.jpg", *common).out)
    assert len({record["mask"] for record in deep}) == 3
    assert risctl("predict", "photos/*.webp", *common).code == 4


def test_standard_input(risctl: Run, photo: Path, tiny_checkpoint: Path) -> None:
    data = photo.read_bytes()
    result = risctl("predict", "-", "cup", "--model", tiny_checkpoint, "--json", stdin=data)
    [record] = json.loads(result.out)
    assert record["image"] == "-" and Path(record["mask"]).name.startswith("stdin-")
    [named] = json.loads(risctl("predict", photo, "cup", "--model", tiny_checkpoint, "--json").out)
    assert record["segmentation"] == named["segmentation"]
    empty = risctl("predict", "-", "cup", "--model", tiny_checkpoint)
    assert empty.code == 4 and "standard input is not a picture: it seems to be an empty file" in empty.err


def test_masks_are_turned_as_a_viewer_turns_the_image(risctl: Run, tmp_path: Path, tiny_checkpoint: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (90, 60), "green").save(tmp_path / "phone.jpg", exif=exif)
    [record] = json.loads(risctl("predict", "phone.jpg", "cup", "-m", tiny_checkpoint, "--json").out)
    assert Image.open(record["mask"]).size == (60, 90)
    assert record["segmentation"]["size"] == [90, 60]


def test_an_animation_is_said_to_be_one(risctl: Run, tmp_path: Path, tiny_checkpoint: Path) -> None:
    frames = [Image.new("RGB", (30, 20), colour) for colour in ("red", "lime")]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    result = risctl("predict", "moving.gif", "cup", "-m", tiny_checkpoint)
    assert result.code == 0
    assert "moving.gif is animated; its first frame is used" in result.err


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["photo.png"], 2, "no phrase given"),
        (["photo.png", ""], 2, "a phrase is empty"),
        (["photo.png", "", "--text", "  "], 2, "a phrase is empty"),
        (["", "cup"], 2, "the picture's name is empty"),
        (["", "--classes", "cup"], 2, "the picture's name is empty"),
        (["the red cup", "photo.png"], 2, "'the red cup' is no file, and 'photo.png' is a picture"),
        (["photo.png", "!!!"], 2, "at least one word"),
        (["photo.png", "other.jpg", "cup"], 2, "'other.jpg' is named like a picture"),
        (["phto.png", "cup"], 4, "no picture at phto.png; did you mean photo.png?"),
        (["empty", "cup"], 4, "the folder empty holds no pictures"),
        (["photo.png", "cup", "--model", "nowhere"], 6, "nowhere"),
        (["photo.png", "cup", "--out", "photo.png"], 4, "photo.png"),
        ([".", "cup", "--out", "."], 2, "also a folder of the pictures"),
        (["photo.png", "cup", "--device", "abacus"], 2, "abacus"),
    ],
)
def test_mistakes_and_their_exit_codes(
    risctl: Run, photo: Path, tiny_checkpoint: Path, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    (tmp_path / "empty").mkdir()
    result = risctl("predict", "--model", tiny_checkpoint, *arguments)
    assert result.code == code
    assert said in " ".join(result.err.split())
    assert result.out == "" and "Traceback" not in result.err


def test_what_is_an_image_and_what_is_a_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.jpg", "b.png", "cup"):
        (tmp_path / name).write_bytes(b"")
    assert split_arguments(["a.jpg", "b.png", "cup", "the left one"]) == (["a.jpg", "b.png"], ["cup", "the left one"])
    assert split_arguments(["cup", "cup"]) == (["cup"], ["cup"])
    assert split_arguments(["-"], ["cup"]) == (["-"], ["cup"])
    assert split_arguments(["a.jpg"], ["x.png"]) == (["a.jpg"], ["x.png"])
    with pytest.raises(UsageError, match="among the phrases"):
        split_arguments(["a.jpg", "cup", "b.png"])
    with pytest.raises(UsageError, match="no phrase"):
        split_arguments(["a.jpg", "b.png"])


def test_a_file_whose_name_looks_like_a_pattern(tmp_path: Path) -> None:
    odd = tmp_path / "a[1].png"
    odd.write_bytes(b"")
    assert find_images(str(odd)) == [odd]
    with pytest.raises(DataError, match=r"the pattern .* matches no pictures"):
        find_images(str(tmp_path / "b[1].png"))


def test_a_name_that_is_no_utf8(risctl: Run, photo: Path, tmp_path: Path, tiny_checkpoint: Path) -> None:
    odd = os.fsdecode(b"caf\xe9.png")
    try:
        photo.rename(tmp_path / odd)
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    result = risctl("predict", odd, "cup", "--model", tiny_checkpoint, "--json")
    [record] = json.loads(result.out)
    assert Path(record["mask"]).is_file()


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_an_interrupt_leaves_whole_files_and_says_so(tmp_path: Path, tiny_checkpoint: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (400, 600, 3), dtype=np.uint8)
    Image.fromarray(noise).save(folder / "000.bmp")
    for number in range(1, 300):
        os.link(folder / "000.bmp", folder / f"{number:03}.bmp")
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "risctl",
        "predict",
        str(folder),
        "cup",
        "-m",
        str(tiny_checkpoint),
        "-o",
        str(out),
    ]
    # A background job of a shell ignores Ctrl-C, and so do its children, unless told otherwise.
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    for _ in range(600):
        if out.is_dir() and any(out.glob("*.json")):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    names = [path.name for path in out.iterdir()]
    assert not [name for name in names if name.endswith(".part")]
    for path in out.glob("*.json"):
        record = json.loads(path.read_text())
        Image.open(record["mask"]).load()
        Image.open(record["overlay"]).load()


def test_help_imports_nothing_heavy() -> None:
    listing = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "risctl", "predict", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = {line.rsplit("|", 1)[-1].strip() for line in listing.stderr.splitlines()}
    assert not imported & {"torch", "numpy", "PIL", "transformers", "spacy", "h5py"}
    assert "risctl predict photo.jpg" in " ".join(listing.stdout.split())


def test_no_match_is_an_answer(risctl: Run, photo: Path, tiny_mini: Path) -> None:
    result = risctl("predict", photo, "the elephant", "-m", tiny_mini, "--no-target-threshold", "0.999")
    assert result.code == 0
    text, score, box, mask = result.out.strip().split("\t")
    assert (text, box) == ("the elephant", "no match") and 0 < float(score) < 0.999
    assert "no match" in result.err and score in result.err and "--always" in result.err
    assert not np.asarray(Image.open(mask)).any()
    record = json.loads((Path("predictions") / "photo.the-elephant.json").read_text())
    assert record["matched"] is False and record["box"] is None and record["area"] == 0
    assert record["score"] == pytest.approx(float(score), abs=1e-3)
    for always in (("--always",), ("--no-target-threshold", "0"), ()):  # the model's own threshold is 0
        [record] = json.loads(
            risctl("predict", photo, "the elephant", "-m", tiny_mini, "--json", "--overwrite", *always).out
        )
        assert record["matched"] is True and record["area"] > 0
        assert record["score"] == pytest.approx(float(score), abs=1e-3)


def test_presence_is_checked(risctl: Run, photo: Path, tiny_mini: Path) -> None:
    both = risctl("predict", photo, "cup", "-m", tiny_mini, "--always", "--no-target-threshold", "0.5")
    assert both.code == 2 and "give one of them" in both.err
    beyond = risctl("predict", photo, "cup", "-m", tiny_mini, "--no-target-threshold", "1.5")
    assert beyond.code == 2 and "between 0 and 1" in beyond.err


def test_the_model_need_not_be_named(
    risctl: Run, photo: Path, tiny_mini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("risctl.checkpoints.loaded_model.SHIPPED", tiny_mini / "last.safetensors")
    [record] = json.loads(risctl("predict", photo, "the red cup", "--runtime", "torch", "--json").out)
    assert record["model"] == str(tiny_mini / "last.safetensors")
    found = json.loads(risctl("predict", photo, "--classes", "person, cup, dog", "--min-score", "0", "--json").out)
    assert found and {one["category"] for one in found} <= {"person", "cup", "dog"}
    unknown = risctl("predict", photo, "--classes", "doog", "--overwrite")
    assert unknown.code == 2 and "did you mean 'dog'" in unknown.err
