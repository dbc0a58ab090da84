"""The public names: lazy, documented, and with examples that run."""

from __future__ import annotations

import doctest
import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.http_server import running, serve, status
from helpers.prediction_files import expressions, json_lines, shifted_targets
from helpers.small_models import VLT
from helpers.tiny import tiny_store
from PIL import Image

import risctl
from risctl.errors import DataError, UsageError
from risctl.recipe.load import parse_recipe
from risctl.vision import image_inputs
from risctl.vision.image_inputs import read_input

# `resume` and `evaluate` go on from what the example of `train` leaves.
DOCUMENTED = ("load", "train", "resume", "evaluate", "score", "Predictor", "VideoPredictor", "Prediction", "Store")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples name."""
    folder = tmp_path_factory.mktemp("examples")
    pixels = np.full((480, 640, 3), 120, dtype=np.uint8)
    pixels[100:300, 50:250] = (200, 30, 30)
    (folder / "street").mkdir()
    for name in ("photo.jpg", "table.jpg", *(f"street/{index}.jpg" for index in range(2))):
        Image.fromarray(pixels).save(folder / name)
    store = tiny_store(folder).rename(folder / "data.h5")
    json_lines(folder, expressions(store, "val"), shifted_targets(store, "val")).rename(folder / "masks.jsonl")
    recipe = parse_recipe(
        {
            "name": "small",
            "model": VLT,
            "data": {"store": str(store), "batch_size": 4, "workers": 0},
            "optim": {"name": "adam", "lr": 0.01},
            "train": {"epochs": 1},
        },
        source="tests",
    )
    from risctl.recipe.document import dump

    (folder / "recipe.yaml").write_text(dump(recipe.model_dump(mode="json", exclude_unset=True)), encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", DOCUMENTED)
def test_the_example_of_every_public_name_runs(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    thing = getattr(risctl, name)
    test = doctest.DocTestParser().get_doctest(thing.__doc__ or "", {"risctl": risctl}, name, None, 0)
    if name == "Prediction":
        test.globs["prediction"] = risctl.load("mini", device="cpu").predict("photo.jpg", "the red square")[0]
    assert test.examples, f"{name} has no example"
    out = io.StringIO()
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed = doctest.DocTestRunner(optionflags=flags).run(test, out=out.write).failed
    assert not failed, out.getvalue()


def test_the_packages_own_example_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    out = io.StringIO()
    test = doctest.DocTestParser().get_doctest(risctl.__doc__ or "", {}, "risctl", None, 0)
    assert not doctest.DocTestRunner().run(test, out=out.write).failed, out.getvalue()


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, risctl; assert not {'torch', 'numpy', 'pydantic', 'PIL'} & set(sys.modules); "
        "assert set(risctl.__all__) <= set(dir(risctl)); risctl.Prediction; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=dict(os.environ))
    assert all(hasattr(risctl, name) for name in risctl.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        _ = risctl.nothing
    assert (Path(risctl.__file__).parent / "py.typed").is_file()


def test_a_list_of_images_gives_a_list_of_lists(tiny_checkpoint: Path) -> None:
    model = risctl.load(tiny_checkpoint, device="cpu")
    images = [np.full((30, 40, 3), value, dtype=np.uint8) for value in (10, 200)]
    both = model.predict(images, ["the red cup", "left"])
    assert [len(one) for one in both] == [2, 2]
    for image, together in zip(images, both, strict=True):
        alone = model.predict(image, ["the red cup", "left"])
        assert all(np.array_equal(one.probability, two.probability) for one, two in zip(together, alone, strict=True))
    assert model.predict([], "left") == []


PIXELS = np.random.default_rng(0).integers(0, 256, (12, 17, 3), dtype=np.uint8)


def as_png(pixels: np.ndarray = PIXELS) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_every_form_of_an_image_is_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(as_png())
    channels_first = torch.from_numpy(PIXELS).permute(2, 0, 1)
    forms = [path, str(path), as_png(), bytearray(as_png()), io.BytesIO(as_png()), Image.fromarray(PIXELS), PIXELS]
    forms += [channels_first, channels_first.float() / 255, channels_first.double() / 255]
    with path.open("rb") as file:
        for form in (*forms, file):
            np.testing.assert_array_equal(read_input(form), PIXELS)
    grey = PIXELS[..., 0]
    for form in (grey, torch.from_numpy(grey), torch.from_numpy(grey)[None]):
        np.testing.assert_array_equal(read_input(form), np.repeat(grey[..., None], 3, axis=2))
    opaque = np.dstack([PIXELS, np.full((12, 17), 255, dtype=np.uint8)])
    np.testing.assert_array_equal(read_input(opaque), PIXELS)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (5, UsageError, "expected an image as a path"),
        (None, UsageError, "got NoneType"),
        ({"image": 1}, UsageError, "got dict"),
        (io.StringIO("text"), UsageError, "binary mode"),
        ("file:///etc/hostname", UsageError, "http or https"),
        ("ftp://example.org/a.png", UsageError, "http or https"),
        (torch.zeros(12, 17, 3), UsageError, "move the channels first"),
        (torch.zeros(1, 3, 12, 17), UsageError, "list of images"),
        (torch.full((3, 4, 4), 2.0), DataError, r"values in \[0, 1\]"),
        (b"no image", DataError, "text file"),
    ],
)
def test_what_is_no_image_is_one_clear_error(wrong: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_input(wrong)


def test_a_url_is_fetched_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with running() as site:
        site.answers["/image.png"] = serve(as_png())
        site.answers["/moved"] = status(302, Location=site.url("/image.png"))
        site.answers["/local"] = status(302, Location="file:///etc/hostname")
        site.answers["/ftp"] = status(302, Location="ftp://127.0.0.1/image.png")
        site.answers["/page"] = serve(b"<!doctype html><html></html>")
        for name in ("/image.png", "/moved"):
            np.testing.assert_array_equal(read_input(site.url(name)), PIXELS)
        for name, message in (
            ("/local", "no http or https"),
            ("/ftp", "no http or https"),
            ("/absent", "404"),
            ("/page", "web page"),
        ):
            with pytest.raises(DataError, match=message):
                read_input(site.url(name))
        monkeypatch.setattr(image_inputs, "MAX_BYTES", 100)
        with pytest.raises(DataError, match="the limit"):
            read_input(site.url("/image.png"))
    with pytest.raises(DataError, match="cannot be fetched"):
        read_input(site.url("/image.png"))
