"""The page without a server: what is written, and that it answers in a browser as the runtime does in Python."""

from __future__ import annotations

import base64
import functools
import json
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.browser import Browser
from helpers.demo_server import COFFEE, png
from helpers.http_server import serving
from PIL import Image

pytest.importorskip("onnx", reason="needs onnx: pip install 'risctl[export]'")
pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install 'risctl[onnx]'")
from helpers.exported_folder import write_exported

from risctl.checkpoints.loaded_model import SHIPPED
from risctl.demo.static_page import write_static
from risctl.errors import UsageError
from risctl.runtime.packaged import mini_folder
from risctl.runtime.predictor import OnnxPredictor
from risctl.vision import rle

PHOTOS = sorted(COFFEE.parent.glob("*.jpg"))


class Quiet(SimpleHTTPRequestHandler):
    """Files of a folder, as any static host gives them."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_exported(tmp_path_factory.mktemp("exported") / "bright.onnx", explains=True)


@pytest.fixture(scope="module")
def address(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("page") / "page"
    write_static(folder, exported)
    with serving(functools.partial(Quiet, directory=str(folder))) as address:  # type: ignore[arg-type]
        yield address


def test_the_folder_holds_all_that_the_page_loads(exported: Path, tmp_path: Path) -> None:
    out = tmp_path / "page"
    size = write_static(out, exported)
    names = {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}
    assert {"index.html", "browser.js", "ort.wasm.min.mjs", "ort-wasm-simd-threaded.wasm", "model/answer.onnx"} <= names
    assert "server.js" not in names and any("LICENSE" in name for name in names)
    assert size == sum((out / name).stat().st_size for name in names)
    index = (out / "index.html").read_text()
    assert "Content-Security-Policy" in index and "server.js" not in index and "http:" not in index
    with pytest.raises(UsageError, match="--overwrite"):
        write_static(out, exported)
    write_static(out, exported, overwrite=True)
    (tmp_path / "mine").mkdir()
    with pytest.raises(UsageError, match="no such page"):
        write_static(tmp_path / "mine", exported, overwrite=True)


def test_a_model_whose_inputs_no_page_prepares_is_refused(tmp_path: Path) -> None:
    other = write_exported(tmp_path / "other.onnx", image={"kind": "VLTPreprocess"})
    with pytest.raises(UsageError, match="VLTPreprocess"):
        write_static(tmp_path / "page", other)
    assert not (tmp_path / "page").exists()


def test_it_answers_in_the_browser_alone(browser: Browser, address: str, exported: Path, tmp_path: Path) -> None:
    image = np.zeros((45, 70, 3), dtype=np.uint8)
    image[10:30, 20:40] = 255
    (tmp_path / "image.png").write_bytes(png(image))
    [expected] = OnnxPredictor(exported, threads=1).predict(image, "the bright part")
    browser.open(f"{address}/index.html")
    browser.wait("document.querySelector('#about').textContent.includes('bright')")
    loaded = len(browser.requests)
    browser.drop("#figures", tmp_path / "image.png")
    browser.wait("document.querySelector('figure canvas')")
    browser.write(".text", "the bright part")
    browser.click("#find")
    browser.wait("document.querySelector('#status').textContent.startsWith('Found')")
    assert "score 1.000" in browser.texts(".answers")[0]
    browser.ask("document.querySelector('#opacity').value = 100")
    browser.ask("document.querySelector('#opacity').dispatchEvent(new Event('input'))")
    found = browser.ask(
        "(() => { const one = document.querySelector('figure canvas');"
        " const { data } = one.getContext('2d').getImageData(0, 0, one.width, one.height);"
        " return Array.from({ length: data.length / 4 }, (_, i) => Number(data[4 * i] === 86)); })()"
    )
    assert np.array_equal(np.array(found, dtype=bool).reshape(45, 70), expected.mask)
    # What the model chose among, from the graphs' own outputs, the surest first and without what is impossible.
    browser.click("[aria-label^='Explain the answer']")
    browser.wait("!document.querySelector('#why').hidden")
    assert browser.texts("#why tbody tr") == ["1\t0.750\t18, 23, 35, 23", "2\t0.125\t0, 0, 35, 23"]
    assert browser.ask("document.activeElement.id") == "why-title"
    # Nothing was sent, and nothing came from elsewhere; browsers ask for the icon again when the address changes.
    assert not browser.problems and all(one.endswith("/icon.svg") for one in browser.requests[loaded:])
    assert all(one.startswith(address) for one in browser.requests)


@pytest.fixture(scope="module")
def mini_graphs() -> Path:
    """The graphs that come with the package, which `risctl demo --static` takes."""
    folder = mini_folder()
    assert folder is not None
    return folder


def test_weights_that_stand_beside_the_graphs_come_along(mini_graphs: Path, tmp_path: Path) -> None:
    write_static(tmp_path / "page", mini_graphs)
    settings = json.loads((tmp_path / "page" / "model" / "page.json").read_text())
    assert settings["external"] == ["mini.safetensors"]
    assert (tmp_path / "page" / "model" / "mini.safetensors").read_bytes() == SHIPPED.read_bytes()


PHRASES = (
    *("the cup", "the cat", "the woman", "a person on the left", "the spoon", "the thing in the middle"),
    *("a giraffe", "the plate", "the eyes of the cat", "the man in the uniform"),
)


@pytest.mark.slow
def test_explanations_are_those_of_predict(browser: Browser, mini_graphs: Path, tmp_path: Path) -> None:
    """The candidates of mini in the browser, as `risctl demo` shows them; of a phrase that nothing matches too."""
    from risctl.inference.explanation import explain_set_image
    from risctl.inference.predictor import Predictor

    write_static(tmp_path / "page", mini_graphs)
    photo = tmp_path / "coffee.png"
    Image.open(COFFEE).convert("RGB").save(photo)
    predictor = Predictor.load("mini", device="cpu")
    predictor.set_image(photo)
    with serving(functools.partial(Quiet, directory=str(tmp_path / "page"))) as address:  # type: ignore[arg-type]
        browser.open(f"{address}/index.html")
        browser.wait("document.querySelector('#about').textContent.includes('mini')", timeout=300)
        browser.choose("#file", photo)
        browser.wait("document.querySelector('figure canvas')")
        for phrase in ("the cup", "the spoon", "a giraffe"):
            browser.write(".text", phrase)
            browser.click("#find")
            browser.wait(f"document.querySelector(`[aria-label='Explain the answer of “{phrase}”']`)", timeout=300)
            browser.click(f"[aria-label='Explain the answer of “{phrase}”']")
            browser.wait(f"document.querySelector('#why-title').textContent.includes('{phrase}')", timeout=300)
            own = explain_set_image(predictor, phrase).explanation.to_dict()["things"]
            told = json.loads(browser.ask("document.querySelector('#why pre').textContent"))["things"]
            assert len(told) == len(own) == browser.ask("document.querySelectorAll('#why tbody tr').length")
            for one, other in zip(told, own, strict=True):
                assert one["probability"] == pytest.approx(other["probability"], abs=2e-3)
            # Of equally improbable ones, rounding decides which comes first.
            assert told[0]["box"] == pytest.approx(own[0]["box"], abs=1.0)
    assert not browser.problems


@pytest.mark.slow
def test_two_hundred_answers_are_those_of_python(browser: Browser, mini_graphs: Path, tmp_path: Path) -> None:
    """Nearly all pixels, whether a match or none in all; photographs of five sizes, ten phrases each."""
    write_static(tmp_path / "page", mini_graphs)
    predictor = OnnxPredictor(mini_graphs, threads=1)
    exact = same = cases = pixels_same = pixels_all = 0
    with serving(functools.partial(Quiet, directory=str(tmp_path / "page"))) as address:  # type: ignore[arg-type]
        browser.open(f"{address}/index.html")
        browser.wait("document.querySelector('#about').textContent.includes('mini')", timeout=300)
        for photo in PHOTOS:
            for scale in (0.35, 0.7, 1.0, 1.6, 2.6):
                image = Image.open(photo).convert("RGB")
                size = (round(image.width * scale), round(image.height * scale))
                pixels = np.asarray(image.resize(size, Image.Resampling.BICUBIC))
                data = base64.b64encode(png(pixels)).decode()
                results = browser.ask(
                    f"""(async () => {{
                      const bytes = Uint8Array.from(atob("{data}"), (sign) => sign.charCodeAt(0));
                      const blob = new Blob([bytes], {{ type: "image/png" }});
                      const image = {{ bitmap: await createImageBitmap(blob, risctl.engine.decoding) }};
                      const {{ results }} = await risctl.engine.segment(image, {json.dumps(PHRASES)});
                      return results.map(({{ mask, ...rest }}) => rest);
                    }})()"""
                )
                for told, own in zip(results, predictor.predict(pixels, PHRASES), strict=True):
                    cases += 1
                    same += told["matched"] == own.matched
                    exact += told["segmentation"] == rle.encode(own.mask)
                    pixels_same += int(np.count_nonzero(rle.decode(told["segmentation"]) == own.mask))
                    pixels_all += own.mask.size
    print({"cases": cases, "same": same, "exact": exact, "pixels": pixels_same / pixels_all})
    assert (cases, same) == (200, 200)
    # Where a logit is 0 but for rounding, another order of sums decides about a pixel.
    assert exact >= 190 and pixels_same >= 0.9999 * pixels_all
