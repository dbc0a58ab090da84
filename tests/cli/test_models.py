"""`risctl models`, and one name for predict, eval, compare and visualize."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.colour_finder import made_store
from helpers.command_line import Run
from helpers.hub_cache import put, use_cache
from helpers.store_files import dataset as noise_dataset
from helpers.tiny import tiny_store
from helpers.tiny_finders import write_finder
from helpers.tiny_prompted import write_prompted
from PIL import Image

from risctl.data.store.writer import write_store
from risctl.models.registry import MODELS, WEIGHTS


@pytest.fixture(scope="module")
def clipseg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_prompted(tmp_path_factory.mktemp("models") / "clipseg", "clipseg")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return use_cache(tmp_path / "cache", monkeypatch)


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_models_are_listed_with_what_is_here(risctl: Run, cache: Path, clipseg: Path) -> None:
    put(cache, WEIGHTS["clipseg"].repository, clipseg)
    ran = risctl("models", "ls", "--json")
    assert ran.code == 0
    models = {one["name"]: one for one in json.loads(ran.out)["models"]}
    assert list(models) == list(MODELS)
    assert {name for name, one in models.items() if one["cached"]} == {"mini", "clipseg"}
    assert {name for name, one in models.items() if one["gated"]} == {"sam3"}
    assert models["mini"]["can"] == ["plural", "no match", "video", "classes"]
    assert models["rf-detr+sam2+chooser"]["licence"] == "Apache-2.0"
    assert models["clipseg"]["size"] > 0 and models["sam3"]["size"] is None
    table = risctl("models", "ls").out.splitlines()
    assert [line.split()[0] for line in table[1:]] == list(MODELS)


def test_a_model_is_shown_by_any_name(risctl: Run, cache: Path, clipseg: Path) -> None:
    shown = json.loads(risctl("models", "show", clipseg, "--json").out)
    assert shown["can"] == ["plural"]
    [part] = shown["parts"]
    assert (part["task"], part["cached"]) == ("text → masks", True)
    assert 0 < part["parameters"] < 1
    absent = json.loads(risctl("models", "show", "hf:one/two", "--json").out)
    assert absent["can"] is None and absent["parts"][0]["task"] == "unknown"
    assert "OWLv2" in risctl("models", "show", "owlv2+sam2").out
    mini = json.loads(risctl("models", "show", "mini", "--json").out)
    assert mini["parts"][0]["title"].endswith("(mini)")
    unknown = risctl("models", "show", "minni")
    assert unknown.code == 6 and "did you mean 'mini'" in unknown.err
    wrong = risctl("models", "show", "owlv3+sam2")
    assert wrong.code == 2 and "did you mean 'owlv2'" in wrong.err


def test_what_is_cached_is_verified_and_removed(risctl: Run, cache: Path, clipseg: Path) -> None:
    snapshot = put(cache, WEIGHTS["clipseg"].repository, clipseg)
    pulled = json.loads(risctl("models", "pull", "clipseg", "--json").out)
    assert pulled["parts"][0]["folder"] == str(snapshot)
    assert risctl("models", "verify", "clipseg").out.endswith(": ok\n")
    weights = (snapshot / "model.safetensors").resolve()
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    damaged = risctl("models", "verify", "clipseg")
    assert damaged.code == 4
    assert "model.safetensors" in damaged.out and "config.json" not in damaged.out
    assert "would remove" in risctl("models", "rm", "clipseg").out
    assert snapshot.exists()
    assert risctl("models", "rm", "clipseg", "--yes").code == 0
    assert not snapshot.exists()
    assert risctl("models", "rm", "clipseg", "--yes").code == 2
    absent = risctl("models", "verify", "clipseg")
    assert absent.code == 6 and "models pull clipseg" in absent.err


def test_folders_of_the_user_are_left_alone(risctl: Run, cache: Path, clipseg: Path) -> None:
    assert risctl("models", "rm", clipseg, "--yes").code == 2
    assert (clipseg / "config.json").is_file()
    assert "nothing to compare it with" in risctl("models", "verify", clipseg).out
    own = risctl("models", "pull", "mini")
    assert own.code == 2 and "risctl's own" in own.err


def test_weights_that_are_not_here_are_told_in_one_message(risctl: Run, cache: Path, picture: Path) -> None:
    ran = risctl("predict", picture, "the cup", "--model", "sam3")
    assert ran.code == 5 and not ran.out
    for said in (
        "facebook/sam3",
        "config.json",
        "--model FOLDER",
        "hf download facebook/sam3",
        "SAM License",
        "https://huggingface.co/facebook/sam3",
        "hf auth login",
    ):
        assert said in ran.err
    assert len([line for line in ran.err.splitlines() if line.startswith("error")]) == 1
    free = risctl("models", "pull", "clipseg")
    assert free.code == 5 and "terms" not in free.err
    revision = risctl("models", "pull", "hf:one/two@v1")
    assert "hf download one/two --revision v1" in revision.err


def test_one_name_predicts_evaluates_compares_and_draws(
    risctl: Run, cache: Path, clipseg: Path, picture: Path, tmp_path: Path
) -> None:
    put(cache, WEIGHTS["clipseg"].repository, clipseg)
    ran = risctl("predict", picture, "the red cup", "a dog", "--model", "clipseg", "--json")
    assert ran.code == 0, ran.err
    records = json.loads(ran.out)
    assert [(one["text"], one["model"]) for one in records] == [("the red cup", "clipseg"), ("a dog", "clipseg")]
    assert Path(records[0]["mask"]).is_file() and Path(records[0]["overlay"]).is_file()
    store = made_store(tmp_path)
    for name, model in (("one", "clipseg"), ("two", clipseg)):
        ran = risctl("eval", "--model", model, "--data", store, "--rows", f"{name}.jsonl", "--json", "--surest")
        assert ran.code == 0, ran.err
        report = json.loads(ran.out)
        assert report["model"] == str(model)
    ran = risctl("compare", "one.jsonl", "two.jsonl", "--json")
    assert ran.code == 0, ran.err
    drawn = risctl("visualize", "predictions", store, "--model", "clipseg", "-n", "2", "--out", "sheet.png", "--json")
    assert drawn.code == 0, drawn.err
    assert json.loads(drawn.out)["model"] == "clipseg" and Path("sheet.png").is_file()


def test_a_detector_of_categories_detects_them(risctl: Run, picture: Path, tmp_path: Path) -> None:
    folder = write_finder(tmp_path / "seg", "rf_detr_seg")
    ran = risctl("predict", picture, "--classes", "person, dog", "--min-score", 0, "--model", folder, "--json")
    assert ran.code == 0, ran.err
    assert '"category": "person"' in ran.out or '"category": "dog"' in ran.out


def test_what_a_model_cannot_do_says_which_can(risctl: Run, clipseg: Path, picture: Path, tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    Image.open(picture).save(tmp_path / "frames" / "0.png")
    video = risctl("predict", tmp_path / "frames", "the cup", "--video", "--model", clipseg)
    assert video.code == 2 and "a video takes mini, a run folder or a checkpoint" in video.err
    classes = risctl("predict", picture, "--classes", "cup", "--model", clipseg)
    assert classes.code == 2 and "categories are detected by mini, rf-detr+sam2+chooser" in classes.err
    surest = risctl("predict", picture, "the cup", "--surest")
    assert surest.code == 2 and "leave --surest out" in surest.err
    cut = risctl("predict", picture, "the red cup on the left " * 40, "--model", clipseg)
    assert cut.code == 0 and "longer than the model reads; its end is cut" in cut.err


def test_the_api_takes_the_same_names(clipseg: Path, picture: Path) -> None:
    import risctl

    model = risctl.load(clipseg, device="cpu")
    one, other = model.predict(picture, ["the red cup", "a dog"])
    assert one.text == "the red cup" and other.mask.shape == (40, 60)
    [again] = model.predict_texts("a dog")
    assert np.allclose(again.probability, other.probability, atol=1e-4)


def test_a_fine_tuned_run_is_saved_for_plain_transformers(risctl: Run, clipseg: Path, tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    run, out = tmp_path / "run", tmp_path / "plain"
    trained = risctl(
        "train", "finetune-clipseg", f"model.name=hf:{clipseg}", f"data.store={store}", "train.max_steps=1",
        "data.batch_size=2", "data.workers=0", "train.eval_every=null", "--out", run, "--device", "cpu",
    )  # fmt: skip
    assert trained.code == 0, trained.err
    saved = json.loads(risctl("models", "save", run, "--out", out, "--json").out)
    assert saved["folder"] == str(out)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {Path(file).name for file in saved["files"]}
    again = risctl("models", "save", run, "--out", out)
    assert (again.code, again.out) == (2, "") and "is there already" in again.err
    shown = json.loads(risctl("models", "show", out, "--json").out)
    assert shown["parts"][0]["task"] == "text → masks"


def test_calibrated_thresholds_are_used_by_the_same_name_and_said(
    risctl: Run, clipseg: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RISCTL_CACHE", str(tmp_path / "cache"))
    store = tmp_path / "noise.h5"
    write_store(noise_dataset(images=6), store)
    made = json.loads(risctl("models", "calibrate", clipseg, "--data", store, "--split", "all", "--json").out)
    assert Path(made["file"]).parent == tmp_path / "cache" / "calibration"
    assert made["chosen_on"]["without_target"] > 0 and 0 <= made["no_target_threshold"] <= 1
    assert made["min_score"] is None and made["before"]["no_target_threshold"] == 0
    predict = ("predict", picture, "the cup", "--model", clipseg, "--out", tmp_path / "out", "--overwrite")
    assert "calibrated: no match below" in risctl(*predict).err
    assert "calibrated" not in risctl(*predict, "--calibration", "none").err
    assert "as given" in risctl(*predict, "--always").err
    evaluated = risctl("eval", "--model", clipseg, "--data", store, "--split", "all", "--json")
    assert "calibrated: no match below" in evaluated.err
    told = json.loads(evaluated.out)["figures"]
    assert told["gIoU"] == pytest.approx(made["figures"]["gIoU"])
    # To a file, for another model than it is used with.
    file = tmp_path / "mini.json"
    again = risctl("models", "calibrate", "--data", store, "--split", "all", "--limit", "6", "--out", file)
    assert again.code == 0 and "gIoU" in again.out and "protocol original" in again.out
    assert risctl("models", "calibrate", "--data", store, "--split", "all", "--out", file).code == 2
    wrong = risctl(*predict, "--calibration", file)
    assert (wrong.code, wrong.out) == (2, "") and "was chosen for mini with other weights" in wrong.err
    # Other weights under the same name.
    made_by = json.loads(Path(made["file"]).read_text())
    Path(made["file"]).write_text(json.dumps(made_by | {"weights": "others"}))
    assert "is not used; `risctl models calibrate` chooses anew" in risctl(*predict).err
