"""`risctl zeroshot`, run as a program with a tiny CLIP: its files, figures, errors, and the download of weights."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "interop"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "systems"))

from tiny import tiny_store
from tiny_clip import write_hugging_face, write_tokenizer

from risctl.cli import app


class Result:
    """What a run gave."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def risctl(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path):  # type: ignore[no-untyped-def]
    """The command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Result:
        monkeypatch.setattr(sys, "argv", ["risctl", "zeroshot", *map(str, arguments)])
        with pytest.raises(SystemExit) as leaving:
            app.main()
        out, err = capfd.readouterr()
        return Result(leaving.value.code or 0, out, err)  # type: ignore[arg-type]

    return run


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hugging_face(tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_store(tmp_path_factory.mktemp("store"), images=6, validation=4)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A picture with two coloured boxes, and their masks in an npz beside it."""
    pixels, masks = np.full((60, 90, 3), 90, dtype=np.uint8), np.zeros((2, 60, 90), dtype=bool)
    masks[0, 10:50, 5:40] = True
    masks[1, 20:40, 50:80] = True
    pixels[masks[0]], pixels[masks[1]] = (220, 40, 40), (40, 60, 220)
    Image.fromarray(pixels).save(tmp_path / "boxes.png")
    np.savez(tmp_path / "boxes.npz", masks=masks, scores=np.array([0.9, 0.8]))
    return tmp_path / "boxes.png"


def test_predict_writes_masks_and_explains(risctl, clip: Path, picture: Path) -> None:  # type: ignore[no-untyped-def]
    ran = risctl(
        "predict", picture, "the red box", "blue box on the right", "--proposals", picture.with_suffix(".npz"),
        "--clip", clip, "--explain", "--json", "--out", "out",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    first, second = json.loads(ran.out)
    assert (first["noun_phrase"], second["noun_phrase"]) == ("the red box", "blue box")
    for record in (first, second):
        assert record["proposals"] == 2
        mask = np.asarray(Image.open(record["mask"])) > 0
        with np.load(picture.with_suffix(".npz")) as file:
            assert np.array_equal(mask, file["masks"][record["proposal"]])
        assert Image.open(record["sheet"]).width > 600
    assert "the shipped English parser" in ran.err or "en_core_web" in ran.err


@pytest.mark.parametrize("method", ["cropping", "region-token", "score-map", "gradcam"])
def test_baselines_and_spatial_words(risctl, clip: Path, picture: Path, method: str) -> None:  # type: ignore[no-untyped-def]
    options = ("--proposals", picture.with_suffix(".npz"), "--clip", clip, "--json", "--spatial", 100)
    ran = risctl("predict", picture, "box on the left", "right box", *options, "--method", method)
    assert ran.code == 0, ran.err
    assert [record["proposal"] for record in json.loads(ran.out)] == [0, 1]


def test_no_proposal_is_told_and_gives_an_empty_mask(risctl, clip: Path, picture: Path) -> None:  # type: ignore[no-untyped-def]
    ran = risctl(
        "predict", picture, "a cup", "--proposals", picture.with_suffix(".npz"), "--clip", clip, "--min-score", 1
    )
    assert ran.code == 0
    assert "no proposal" in ran.err
    assert ran.out.split("\t")[2] == "nothing found"


def test_eval_on_ground_truth(risctl, clip: Path, store: Path) -> None:  # type: ignore[no-untyped-def]
    ran = risctl("eval", "--data", store, "--proposals", "gt", "--clip", clip, "--json", "--fast", "--shortlist", 1)
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    extra = report["zeroshot"]
    # Both boxes of a picture are annotated, of one category.
    assert extra["upper bound oIoU"] == extra["upper bound mIoU"] == extra["MC-Acc"] == 100
    assert report["proposals_per_image"] == 2
    assert report["without_proposals"] == {"images": 0, "refs": 0, "sentences": 0}
    same, every = report["unchanged_choices"]
    assert 0 <= same <= every == 16
    assert set(report["seconds_per_image"]) == {"proposals", "visual", "text"}
    figures = report["protocols"]["original"]["figures"] if "protocols" in report else None
    assert figures is None or extra["CC-oIoU"] == pytest.approx(figures["oIoU"])


def test_images_without_proposals_count_as_nothing(risctl, clip: Path, store: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "none.json").write_text("[]")
    ran = risctl("eval", "--data", store, "--proposals", "none.json", "--clip", clip, "--limit", 2, "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert report["without_proposals"] == {"images": 2, "refs": 4, "sentences": 8}
    assert report["zeroshot"]["upper bound mIoU"] == report["zeroshot"]["MC-Acc"] == 0
    text = risctl("eval", "--data", store, "--proposals", "none.json", "--clip", clip, "--limit", 2).out
    assert "no proposal: 2 images, 4 refs, 8 sentences" in text


@pytest.fixture(scope="module")
def clipseg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIPSeg with random weights, as a folder."""
    import torch
    from transformers import (
        CLIPSegConfig,
        CLIPSegForImageSegmentation,
        CLIPSegProcessor,
        CLIPTokenizer,
        ViTImageProcessor,
    )

    folder = tmp_path_factory.mktemp("clipseg")
    write_tokenizer(folder)
    tower = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = CLIPSegForImageSegmentation(
            CLIPSegConfig(
                text_config={**tower, "vocab_size": 300, "bos_token_id": 298, "eos_token_id": 299, "pad_token_id": 299},
                vision_config={**tower, "image_size": 32, "patch_size": 8},
                projection_dim=16, extract_layers=[0, 1], reduce_dim=8, decoder_num_attention_heads=2,
                decoder_intermediate_size=16,
            )
        )  # fmt: skip
        model.save_pretrained(folder)
    processor = ViTImageProcessor(size={"height": 32, "width": 32})
    CLIPSegProcessor(processor, CLIPTokenizer.from_pretrained(folder)).save_pretrained(folder)
    return folder


def test_clipseg_answers_in_the_same_seat(risctl, clipseg: Path, picture: Path, store: Path) -> None:  # type: ignore[no-untyped-def]
    ran = risctl("predict", picture, "a cup", "the red box", "--method", "clipseg", "--clip", clipseg, "--json")
    assert ran.code == 0, ran.err
    first, second = json.loads(ran.out)
    assert first["proposal"] is None
    assert first["segmentation"]["size"] == [60, 90]
    assert first["text"] != second["text"]
    ran = risctl("eval", "--data", store, "--method", "clipseg", "--clip", clipseg, "--limit", 1, "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    # It needs no proposals, so none is missed.
    assert report["without_proposals"]["images"] == 0
    assert report["seconds_per_image"]["visual"] > 0
    assert risctl("predict", picture, "a cup", "--method", "clipseg", "--proposals", "gt").code == 2


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "--proposals SOURCE"),
        (("--proposals", "no-such-source"), 2, "no-such-source"),
        (("--proposals", "gt"), 2, "store only"),
        (("--proposals", "boxes.npz", "--clip", "absent-folder"), 6, "absent-folder"),
        (("--proposals", "boxes.npz", "--prompt", "no place"), 2, "{}"),
        (("--proposals", "boxes.npz", "--fast", "--method", "gradcam"), 2, "--fast"),
        (("--proposals", "boxes.npz", "--spacy-model", "en_core_web_huge"), 5, "not installed"),
    ],
)
def test_mistakes_are_told(  # type: ignore[no-untyped-def]
    risctl, clip: Path, picture: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    options = arguments if "--clip" in arguments else (*arguments, "--clip", clip)
    ran = risctl("predict", picture, "a cup", *options)
    assert ran.code == code
    assert says in ran.err
    assert ran.out == ""


class _Hub(http.server.BaseHTTPRequestHandler):
    """Serves OWNER/NAME/resolve/main/FILE from a folder, with the headers of the hub."""

    folder: Path

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        owner, _, rest = self.path.partition("/resolve/")
        file = self.folder / rest.partition("/")[2]
        if owner != "/tiny/clip" or not file.is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if owner == "/tiny/clip" else "RepoNotFound")
            self.end_headers()
            return
        data = file.read_bytes()
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if with_body:
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def hub(clip: Path) -> Iterator[str]:
    """The address of a hub that has the model tiny/clip."""
    handler = type("Handler", (_Hub,), {"folder": clip})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


def _apart(picture: Path, address: str, cache: Path, model: str) -> subprocess.CompletedProcess[str]:
    """Run `predict` in a process of its own, in which the hub's address is read anew."""
    command = [
        sys.executable, "-m", "risctl", "zeroshot", "predict", str(picture), "a cup",
        "--proposals", str(picture.with_suffix(".npz")), "--clip", model, "--out", str(cache / "out"),
    ]  # fmt: skip
    environment = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
    environment |= {"HF_ENDPOINT": address, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def test_weights_are_downloaded_once(hub: str, picture: Path, tmp_path: Path) -> None:
    first = _apart(picture, hub, tmp_path / "cache", "tiny/clip")
    assert first.returncode == 0, first.stderr
    nobody = "http://127.0.0.1:9"
    again = _apart(picture, nobody, tmp_path / "cache", "tiny/clip")
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout


def test_without_weights_and_network_it_says_what_it_wants(picture: Path, tmp_path: Path) -> None:
    ran = _apart(picture, "http://127.0.0.1:9", tmp_path / "cache", "tiny/clip")
    assert ran.returncode == 5, ran.stderr
    for said in ("config.json", "model.safetensors", "tokenizer.json", "--clip FOLDER", "models--tiny--clip"):
        assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""
