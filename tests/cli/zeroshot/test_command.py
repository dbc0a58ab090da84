"""`risctl zeroshot`, run with tiny models: its files, figures and errors, for all methods and baselines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import Run
from helpers.tiny import tiny_store
from helpers.tiny_clip import write_hugging_face
from helpers.tiny_prompted import write_prompted
from helpers.tiny_sams import write_sam
from PIL import Image

from risctl.results import Detection
from risctl.vision.rle import encode

RED, BLUE = (slice(10, 50), slice(5, 40)), (slice(20, 40), slice(50, 80))


@pytest.fixture
def zeroshot(risctl: Run) -> Run:
    return partial(risctl, "zeroshot")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hugging_face(tmp_path_factory.mktemp("clip") / "tiny")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_store(tmp_path_factory.mktemp("store"), images=6, validation=4)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """An image with two coloured boxes, and their masks in an npz beside it."""
    pixels, masks = np.full((60, 90, 3), 90, dtype=np.uint8), np.zeros((2, 60, 90), dtype=bool)
    masks[0][RED] = masks[1][BLUE] = True
    pixels[masks[0]], pixels[masks[1]] = (220, 40, 40), (40, 60, 220)
    Image.fromarray(pixels).save(tmp_path / "boxes.png")
    np.savez(tmp_path / "boxes.npz", masks=masks, scores=np.array([0.9, 0.8]))
    return tmp_path / "boxes.png"


def test_predict_writes_masks_and_explains(zeroshot: Run, clip: Path, picture: Path) -> None:
    ran = zeroshot(
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


def test_what_cannot_be_read_does_not_take_the_others(zeroshot: Run, clip: Path, picture: Path) -> None:
    damaged = picture.with_name("damaged.png")
    damaged.write_bytes(picture.read_bytes()[:60])
    options = ("--proposals", picture.with_suffix(".npz"), "--clip", clip, "--json")
    ran = zeroshot("predict", damaged, picture, "the red box", "!!!", *options)
    assert ran.code == 4
    assert [record["text"] for record in json.loads(ran.out)] == ["the red box"]
    assert "damaged.png is a damaged or truncated picture" in ran.err and "got '!!!'" in ran.err
    assert "1 of 2 pictures and 1 of 2 phrases could not be read" in ran.err
    again = zeroshot("predict", picture, "the red box", *options, "--clip", "absent")
    assert again.code == 2 and "--overwrite" in again.err


@pytest.mark.parametrize("method", ["cropping", "region-token", "score-map", "gradcam"])
def test_baselines_and_spatial_words(zeroshot: Run, clip: Path, picture: Path, method: str) -> None:
    options = ("--proposals", picture.with_suffix(".npz"), "--clip", clip, "--json", "--spatial", 100)
    ran = zeroshot("predict", picture, "box on the left", "right box", *options, "--method", method)
    assert ran.code == 0, ran.err
    assert [record["proposal"] for record in json.loads(ran.out)] == [0, 1]


def test_no_proposal_is_told_and_gives_an_empty_mask(zeroshot: Run, clip: Path, picture: Path) -> None:
    ran = zeroshot(
        "predict", picture, "a cup", "--proposals", picture.with_suffix(".npz"), "--clip", clip, "--min-score", 1
    )
    assert ran.code == 0
    assert "no proposal" in ran.err
    assert ran.out.split("\t")[2] == "nothing found"


def test_instances_found_without_a_download_are_the_default(
    zeroshot: Run, clip: Path, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Shipped:
        """Detects two boxes, best last."""

        def set_image(self, image: np.ndarray) -> None:
            self.shape = image.shape[:2]

        def detect(self, names: Sequence[str], *, min_score: float) -> list[Detection]:
            found = []
            for place, confidence in ((RED, 0.4), (BLUE, 0.9)):
                mask = np.zeros(self.shape, dtype=bool)
                mask[place] = True
                found.append(Detection(name="dog", score=confidence, box=(0, 0, 1, 1), segmentation=encode(mask)))
            return found

        def reset_image(self) -> None:
            del self.shape

    assert zeroshot("predict", picture, "a cup", "--proposals", "embodied", "--clip", clip).code == 2
    monkeypatch.setattr("risctl.checkpoints.loaded_model.SHIPPED", Path(__file__))
    monkeypatch.setattr("risctl.zeroshot.proposals.detector.shipped_predictor", Shipped)
    for options in ((), ("--proposals", "embedded")):
        ran = zeroshot(
            "predict", picture, "box on the left", "--clip", clip, "--spatial", 100, "--json", "--overwrite", *options
        )
        assert ran.code == 0, ran.err
        [record] = json.loads(ran.out)
        # Best first: the red one is the second.
        assert (record["proposals"], record["proposal"]) == (2, 1)
        assert record["box"] == [5, 10, 35, 40]
        assert "the embedded model" in ran.err


def test_eval_on_ground_truth(zeroshot: Run, clip: Path, store: Path) -> None:
    ran = zeroshot("eval", "--data", store, "--proposals", "gt", "--clip", clip, "--json", "--fast", "--shortlist", 1)
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    extra = report["zeroshot"]
    # Both boxes of an image are annotated, of one category.
    assert extra["upper bound oIoU"] == extra["upper bound mIoU"] == extra["MC-Acc"] == 100
    assert report["proposals_per_image"] == 2
    assert report["without_proposals"] == {"images": 0, "refs": 0, "sentences": 0}
    same, every = report["unchanged_choices"]
    assert 0 <= same <= every == 16
    assert set(report["seconds_per_image"]) == {"proposals", "visual", "text"}
    assert extra["CC-oIoU"] == pytest.approx(report["protocols"]["original"]["figures"]["oIoU"])


def test_a_page_of_an_evaluation(zeroshot: Run, clip: Path, store: Path) -> None:
    reports = ("--report", "out/report.html", "--report", "out/report.json")
    ran = zeroshot("eval", "--data", store, "--proposals", "gt", "--clip", clip, "--pictures", 1, *reports)
    assert ran.code == 0, ran.err
    told = json.loads(Path("out/report.json").read_text(encoding="utf-8"))
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert page.count("data:image/jpeg") == 2
    assert told["model"] in page
    assert f"MC-Acc {told['zeroshot']['MC-Acc']:.2f}%" in page
    assert told["worst"][0]["iou"] <= told["best"][0]["iou"]
    assert zeroshot("eval", "--data", store, "--proposals", "gt", "--clip", clip, "--report", "report.doc").code == 2


def test_images_without_proposals_count_as_nothing(zeroshot: Run, clip: Path, store: Path, tmp_path: Path) -> None:
    (tmp_path / "none.json").write_text("[]")
    ran = zeroshot("eval", "--data", store, "--proposals", "none.json", "--clip", clip, "--limit", 2, "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert report["without_proposals"] == {"images": 2, "refs": 4, "sentences": 8}
    assert report["zeroshot"]["upper bound mIoU"] == report["zeroshot"]["MC-Acc"] == 0
    text = zeroshot("eval", "--data", store, "--proposals", "none.json", "--clip", clip, "--limit", 2).out
    assert "no proposal: 2 images, 4 refs, 8 sentences, counted as IoU 0" in text


def test_the_published_way_skips_images_without_proposals_and_reads_raw_text(
    zeroshot: Run, clip: Path, store: Path, tmp_path: Path
) -> None:
    (tmp_path / "none.json").write_text("[]")
    options = ("eval", "--data", store, "--clip", clip, "--limit", 2, "--as-published")
    ran = zeroshot(*options, "--proposals", "none.json")
    assert ran.code == 4 and "has a proposal" in ran.err
    ran = zeroshot(*options, "--proposals", "gt", "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert report["without_proposals_are"] == "skipped" and report["text_field"] == "raw"


def test_weights_of_the_papers_ablations_change_the_scores(zeroshot: Run, clip: Path, picture: Path) -> None:
    scores = {}
    changes = ((), ("--text-weight", 0), ("--masked-blocks", 0), ("--visual-weight", 0))
    for change in changes:
        ran = zeroshot(
            "predict",
            picture,
            "the cup on the left of a table",
            "-P",
            picture.with_suffix(".npz"),
            "--clip",
            clip,
            "--json",
            "--overwrite",
            *change,
        )
        assert ran.code == 0, ran.err
        scores[change] = json.loads(ran.out)[0]["score"]
    assert len(set(scores.values())) == len(changes)


@pytest.fixture(scope="module")
def baselines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[object, ...]]:
    """The options that name each baseline and its weights."""
    root = tmp_path_factory.mktemp("baselines")
    kinds = {"clipseg": "clipseg", "sam3": "sam3", "grounded-sam": "grounding-dino"}
    found: dict[str, tuple[object, ...]] = {
        name: ("--method", name, "--clip", write_prompted(root / name, kind)) for name, kind in kinds.items()
    }
    found["grounded-sam"] += ("--sam", write_sam(root / "sam", "sam2"))
    return found


@pytest.mark.parametrize("name", ["clipseg", "sam3", "grounded-sam"])
def test_baselines_answer_in_the_same_seat(
    zeroshot: Run, baselines: dict[str, tuple[object, ...]], picture: Path, store: Path, name: str
) -> None:
    ran = zeroshot("predict", picture, "a cup", "the red box", *baselines[name], "--json", "--quiet")
    assert ran.code == 0, ran.err
    assert ran.err == ""
    first, second = json.loads(ran.out)
    assert first["proposal"] is None
    assert first["segmentation"]["size"] == [60, 90]
    assert first["score"] != second["score"]
    ran = zeroshot("eval", "--data", store, *baselines[name], "--limit", 1, "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)
    assert report["answerer"].startswith({"sam3": "SAM 3", "clipseg": "CLIPSeg"}.get(name, "Grounding DINO"))
    # It needs no proposals, so none is missed.
    assert report["without_proposals"]["images"] == 0
    assert set(report["zeroshot"]) == {"MC-Acc", "CC-oIoU"}
    assert report["cut_texts"] == 0
    assert report["seconds_per_image"]["visual"] > 0
    for option in ("--fast", "--proposals=gt", "--spatial=2", "--precision=fp16", "--matrix-nms"):
        ran = zeroshot("eval", "--data", store, *baselines[name], option)
        assert ran.code == 2
        assert f"leave {option.partition('=')[0]} out" in ran.err
    assert zeroshot("predict", picture, "a cup", *baselines[name], "--explain").code == 2


@pytest.mark.parametrize("kind", ["sam", "sam2", "sam-hq", "edgetam"])
def test_the_sam_family_proposes(zeroshot: Run, clip: Path, picture: Path, tmp_path: Path, kind: str) -> None:
    folder = write_sam(tmp_path / kind, kind.replace("-", "_"))
    ran = zeroshot("predict", picture, "a cup", "--proposals", f"{kind}:{folder}", "--clip", clip, "--json")
    assert ran.code == 0, ran.err
    # Random weights are sure of nothing, by SAM's own settings.
    assert "no proposal" in ran.err
    assert json.loads(ran.out)[0]["proposals"] == 0


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precision(zeroshot: Run, clip: Path, store: Path, precision: str) -> None:
    options = ("--proposals", "gt", "--clip", clip, "--precision", precision, "--json", "--limit", 2)
    for method in ("global-local", "cropping", "region-token", "score-map", "gradcam"):
        ran = zeroshot("eval", "--data", store, *options, "--method", method)
        assert ran.code == 0, ran.err
        assert json.loads(ran.out)["zeroshot"]["upper bound mIoU"] == 100
    ran = zeroshot("eval", "--data", store, *options, "--fast", "--shortlist", 1)
    assert ran.code == 0, ran.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ((), 2, "--proposals SOURCE"),
        (("--proposals", "no-such-source"), 2, "no-such-source"),
        (("--proposals", "gt"), 2, "store only"),
        (("--proposals", "boxes.npz", "--clip", "absent-folder"), 6, "absent-folder"),
        (("--proposals", "boxes.npz", "--prompt", "no place"), 2, "{}"),
        (("--proposals", "boxes.npz", "--fast", "--method", "gradcam"), 2, "--fast"),
        (("--proposals", "boxes.npz", "--visual-weight", "0.5", "--method", "cropping"), 2, "--visual-weight"),
        (("--proposals", "boxes.npz", "--sam", "there"), 2, "grounded-sam"),
        (("--proposals", "boxes.npz", "--area", "0.5", "0.1"), 2, "SMALLEST"),
        (("--proposals", "boxes.npz", "--max-overlap", "2"), 2, "between 0 and 1"),
        (("--proposals", "gt", "--min-score", "0.5"), 2, "leave --min-score out"),
        (("--proposals", "boxes.npz", "--spacy-model", "en_core_web_huge"), 5, "not installed"),
    ],
)
def test_mistakes_are_told(
    zeroshot: Run,
    clip: Path,
    picture: Path,
    arguments: tuple[str, ...],
    code: int,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As in a copy of the package without its model, which otherwise stands in for a source.
    monkeypatch.setattr("risctl.checkpoints.loaded_model.SHIPPED", tmp_path / "absent")
    options = arguments if "--clip" in arguments else (*arguments, "--clip", clip)
    ran = zeroshot("predict", picture, "a cup", *options)
    assert ran.code == code
    assert says in ran.err
    assert ran.out == ""
