"""Long: whole journeys through the page, by keyboard alone, to the files that are kept, in a video, in both modes."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.browser import Browser

pytest.importorskip("fastapi", reason="the demo's server needs risctl[demo]")
pytest.importorskip("uvicorn", reason="the demo's server needs risctl[demo]")
from helpers.demo_page import (
    BLUE,
    ENTER,
    FOUND,
    LEAST_CONTRAST,
    ORANGE,
    SPACE,
    TOKEN,
    canvas,
    controls,
    look_for,
    marked,
    open_page,
    set_value,
    tab_to,
)
from helpers.demo_server import COFFEE, answering, application, mini, tiny_referformer
from PIL import Image

from risctl.inference.predictor import Predictor
from risctl.vision import rle

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address(tiny_checkpoint: Path) -> Iterator[str]:
    """The page with mini and, beside it, an untrained VLT, which shows its words and heatmaps."""
    second = Predictor.load(tiny_checkpoint, device="cpu")
    with answering(application(second=second, token=TOKEN, shared=True)) as address:
        yield address


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PNG: a browser decodes it to the same pixels as Pillow."""
    path = tmp_path_factory.mktemp("picture") / "coffee.png"
    Image.open(COFFEE).convert("RGB").save(path)
    return path


def test_the_whole_journey_by_keyboard_alone(browser: Browser, address: str, picture: Path, tmp_path: Path) -> None:
    browser.allow_downloads(tmp_path)
    browser.open(address)
    browser.wait("document.activeElement.id === 'token'")
    browser.type(TOKEN)
    browser.press("Enter", code=ENTER, text="\r")
    browser.wait("document.querySelector('#about').textContent.includes('mini')")
    tab_to(browser, "#file")
    browser.choose_by_key(picture, "Enter", code=ENTER, text="\r")
    browser.wait("document.activeElement.matches('li:nth-child(1) .text')")
    browser.type("the cup")
    tab_to(browser, "#add")
    browser.press("Enter", code=ENTER, text="\r")
    browser.wait("document.activeElement.matches('li:nth-child(2) .text')")
    browser.type("a giraffe")
    browser.press("Enter", code=ENTER, text="\r")
    browser.wait(FOUND)
    tab_to(browser, "#opacity")
    browser.press("End", code=35)
    assert browser.ask("document.querySelector('#opacity-value').textContent") == "100 %"
    tab_to(browser, "#contour")
    browser.press(" ", code=SPACE, text=" ")
    assert not browser.ask("document.querySelector('#contour').checked")
    [cup] = mini().predict(picture, "the cup")
    assert np.array_equal(marked(browser, BLUE), cup.mask)
    # Back to the answers: the explanation takes the focus, and a file is kept.
    tab_to(browser, "[aria-label^='Explain the answer of “the cup” (mini)']", back=True)
    browser.press("Enter", code=ENTER, text="\r")
    browser.wait("document.activeElement.id === 'why-title'")
    tab_to(browser, "[aria-label^='Keep the mask as PNG of “the cup” (mini)']", back=True)
    browser.press("Enter", code=ENTER, text="\r")
    kept = Image.open(io.BytesIO(browser.downloaded(tmp_path / "the-cup.mask.png")))
    assert np.array_equal(np.asarray(kept.convert("L")) == 255, cup.mask)
    tab_to(browser, "#link")
    browser.press("Enter", code=ENTER, text="\r")
    browser.wait("document.querySelector('#status').textContent.includes('link')")
    assert TOKEN not in browser.ask("document.querySelector('#link-text').value")
    # A phrase that is removed leaves the focus on the next one.
    tab_to(browser, "[aria-label='Remove phrase 1']", back=True)
    browser.press("Enter", code=ENTER, text="\r")
    assert browser.ask("document.activeElement.value") == "a giraffe"
    assert browser.ask("document.querySelectorAll('#phrases > li').length") == 1
    assert not [one for one in browser.problems if "401" not in one]


def test_phrases_have_colours_opacity_and_contours(browser: Browser, address: str, picture: Path) -> None:
    open_page(browser, address)
    browser.choose("#file", picture)
    look_for(browser, "the cup", "the spoon", "a giraffe")
    browser.click("#compare")
    assert browser.ask("document.querySelectorAll('figure').length") == 1
    browser.click("#contour")
    set_value(browser, "#opacity", 100)
    cup, spoon, none = mini().predict(picture, ["the cup", "the spoon", "a giraffe"])
    assert spoon.mask.any() and not none.matched
    assert np.array_equal(marked(browser, BLUE), cup.mask & ~spoon.mask)
    assert np.array_equal(marked(browser, ORANGE), spoon.mask)
    # A colour of one's own, at once.
    set_value(browser, "li:nth-child(2) [type=color]", "#ff0000")
    assert np.array_equal(marked(browser, (255, 0, 0)), spoon.mask)
    pixels = np.asarray(Image.open(picture)).astype(float)
    set_value(browser, "#opacity", 50)
    only = cup.mask & ~spoon.mask
    assert np.abs(canvas(browser)[only] - (pixels[only] + BLUE) / 2).max() <= 1
    assert np.array_equal(canvas(browser)[~(cup.mask | spoon.mask)], pixels[~(cup.mask | spoon.mask)])
    # The contour alone.
    set_value(browser, "#opacity", 0)
    assert np.array_equal(canvas(browser), pixels)
    browser.click("#contour")
    set_value(browser, "li:nth-child(1) [type=color]", "#00ff01")
    edge = marked(browser, (0, 255, 1))
    padded = np.pad(cup.mask, 1)
    inside = padded[2:, 1:-1] & padded[:-2, 1:-1] & padded[1:-1, 2:] & padded[1:-1, :-2]
    assert edge.any() and np.array_equal(edge, cup.mask & ~inside & ~marked(browser, (255, 0, 0)))


def test_two_models_each_explain_themselves(browser: Browser, address: str, picture: Path) -> None:
    open_page(browser, address)
    browser.choose("#file", picture)
    look_for(browser, "the cup")
    answers = browser.texts("#phrases > li:nth-child(1) .answers > li")
    assert answers[0].startswith("mini: ") and any(one.startswith("another: ") for one in answers)
    assert browser.texts("figcaption") == ["mini", "another"]
    browser.click("[aria-label='Explain the answer of “the cup” (mini)']")
    browser.wait("document.querySelectorAll('#why tbody tr').length > 1")
    shown = mini_explanation(picture)
    rows = browser.texts("#why tbody tr td:nth-child(2)")
    assert rows == [f"{thing['probability']:.3f}" for thing in shown]
    assert browser.ask("document.querySelector('#why canvas').width") == 512
    # VLT's words and heatmaps come as a sheet, and as numbers.
    browser.click("[aria-label='Explain the answer of “the cup” (another)']")
    browser.wait("document.querySelector('#why-title').textContent.includes('another')")
    assert browser.ask("document.querySelector('#why canvas').width") > 100
    assert "cup" in browser.ask("document.querySelector('#why pre').textContent")
    drawn = browser.ask(
        "(() => { const one = document.querySelector('#why canvas');"
        " return new Set(one.getContext('2d').getImageData(0, 0, one.width, one.height).data).size; })()"
    )
    assert drawn > 50  # a drawing, no blank
    assert not browser.problems


def mini_explanation(picture: Path) -> list[dict[str, Any]]:
    from risctl.inference.explanation import explain_set_image

    predictor = mini()
    predictor.set_image(picture)
    things: list[dict[str, Any]] = explain_set_image(predictor, "the cup").explanation.to_dict()["things"]
    return things


def test_files_that_are_kept_are_those_of_predict(
    browser: Browser, address: str, picture: Path, tmp_path: Path
) -> None:
    browser.allow_downloads(tmp_path)
    open_page(browser, address)
    browser.choose("#file", picture)
    look_for(browser, "the cup", "a giraffe")
    cup, giraffe = mini().predict(picture, ["the cup", "a giraffe"])
    keeps = "#phrases > li:nth-child({}) .more button[aria-label^='Keep'][aria-label*='{}'][aria-label$='(mini)']"

    browser.click(keeps.format(1, "mask as PNG"))
    mask = Image.open(io.BytesIO(browser.downloaded(tmp_path / "the-cup.mask.png")))
    own = tmp_path / "own.mask.png"
    cup.save(own)
    assert np.array_equal(np.asarray(mask.convert("L")), np.asarray(Image.open(own).convert("L")))

    browser.click(keeps.format(1, "cut-out"))
    cutout = np.asarray(Image.open(io.BytesIO(browser.downloaded(tmp_path / "the-cup.cutout.png"))))
    assert np.array_equal(cutout[..., 3], cup.cutout()[..., 3])
    assert np.array_equal(cutout[cup.mask], cup.cutout()[cup.mask])  # no colour is kept where nothing is seen

    browser.click(keeps.format(1, "RLE"))
    browser.click(keeps.format(2, "RLE"))
    for prediction, name in ((cup, "the-cup.json"), (giraffe, "a-giraffe.json")):
        kept = json.loads(browser.downloaded(tmp_path / name))
        assert kept.pop("warnings") == []
        assert kept == prediction.to_dict()
    assert not browser.ask(f"document.querySelector({json.dumps(keeps.format(2, 'cut-out'))})")  # there is none

    browser.click("#save-overlay")
    for number, key in enumerate(("first", "second")):
        overlay = np.asarray(Image.open(io.BytesIO(browser.downloaded(tmp_path / f"overlay.{key}.png"))).convert("RGB"))
        assert np.array_equal(overlay, canvas(browser, number))
    browser.click("#save-answers")
    both = json.loads(browser.downloaded(tmp_path / "answers.json"))
    assert [one["model"] for one in both] == ["mini", "another"]
    assert [one["segmentation"] for one in both[0]["results"]] == [cup.rle(), giraffe.rle()]


def test_a_screen_reader_is_told_all_of_it_and_texts_are_readable(
    browser: Browser, address: str, picture: Path
) -> None:
    for scheme in ("light", "dark"):
        browser.fresh()
        browser.prefer(scheme)
        with browser.width(360):
            open_page(browser, address)
            check_names(browser)
            browser.choose("#file", picture)
            look_for(browser, "the cup", "a giraffe", "something green and unheard-of")
            browser.click("[aria-label='Explain the answer of “the cup” (mini)']")
            browser.wait("!document.querySelector('#why').hidden")
            browser.click("#link")
            browser.wait("!document.querySelector('#link-row').hidden")
            check_names(browser)
            assert browser.ask("document.documentElement.scrollWidth") <= 360
            described = {one["name"]: one["description"] for one in controls(browser) if one["role"] == "textbox"}
            assert described["Phrase 2"].count("no match") >= 1 and "Mask" not in described["Phrase 2"]
            ratio, what = browser.ask(LEAST_CONTRAST)
            assert ratio >= 4.5, (scheme, ratio, what)
            papers = browser.ask("getComputedStyle(document.body).backgroundColor")
            assert (papers == "rgb(255, 255, 255)") == (scheme == "light")
            # An error is told at once, a result once there is room.
            told = {one["role"]: one for one in browser.accessible()}
            assert told["status"]["live"] == "polite"
            browser.ask("document.querySelectorAll('.text').forEach((one) => { one.value = ''; })")
            browser.click("#find")
            told = {one["role"]: one for one in browser.accessible()}
            assert told["alert"]["live"] == "assertive"
            assert "Say what to look for" in browser.texts("#problem")[0]
            ratio, what = browser.ask(LEAST_CONTRAST)
            assert ratio >= 4.5, (scheme, ratio, what)


def check_names(browser: Browser) -> None:
    """Every control that is seen is told with a name of its own, pictures with what they show."""
    seen = browser.ask(
        "[...document.querySelectorAll('button, input, a, summary')].filter((one) => one.checkVisibility()).length"
    )
    told = controls(browser)
    assert len(told) == seen
    names = [(one["role"], one["name"]) for one in told]
    assert all(name for _, name in names) and len(set(names)) == len(names), names
    for one in browser.accessible():
        if one["role"] in ("image", "img", "region", "form", "heading", "main", "Canvas"):
            assert one["name"] or one["role"] in ("main", "form"), one


def test_a_video_is_answered_frame_by_frame(browser: Browser, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="videos need risctl[video]")
    from risctl.inference.video_predictor import VideoPredictor
    from risctl.vision.video_frames import Video, VideoWriter

    model = tiny_referformer(tmp_path)
    film = tmp_path / "film.mp4"
    with VideoWriter(film, rate=10) as writer:
        for number in range(6):
            pixels = np.full((60, 90, 3), 90, dtype=np.uint8)
            pixels[10:40, 5 + 3 * number : 35 + 3 * number] = (220, 40, 40)
            writer.add(pixels)
    own = VideoPredictor(model.system, threshold=model.threshold)
    expected = [
        [one.mask for one in answers.predictions] for answers in own.predict(Video.open(film), ["red", "a dog"])
    ]
    assert len(expected) == 6 and any(mask.any() for masks in expected for mask in masks)
    with answering(application(first=model, name="clips")) as address:
        browser.open(address)
        browser.wait("document.querySelector('#file').accept.includes('video')")
        browser.choose("#file", film)
        look_for(browser, "red", "a dog")
        browser.wait("!document.querySelector('#player').hidden")
        set_value(browser, "#opacity", 100)
        for index in range(6):
            set_value(browser, "#frame", index)
            assert browser.texts("#frame-number") == [f"{index + 1} of 6"]
            assert np.array_equal(marked(browser, BLUE), expected[index][0] & ~expected[index][1])
            assert np.array_equal(marked(browser, ORANGE), expected[index][1])
        browser.click("#play")
        browser.wait("document.querySelector('#frame').value !== '5'")
        browser.click("#play")
        assert browser.texts("#play") == ["Play"]
        browser.allow_downloads(tmp_path)
        browser.click("#save-answers")
        kept = json.loads(browser.downloaded(tmp_path / "answers.json"))
        assert [[rle.decode(one["segmentation"]).tolist() for one in frame["results"]] for frame in kept["frames"]] == [
            [mask.tolist() for mask in masks] for masks in expected
        ]
    assert not browser.problems


def test_a_link_restores_picture_phrases_colours_and_drawing(browser: Browser, address: str, picture: Path) -> None:
    open_page(browser, address)
    browser.paste(picture)
    look_for(browser, "the cup", "a giraffe")
    set_value(browser, "li:nth-child(1) [type=color]", "#00ff01")
    set_value(browser, "#opacity", 100)
    browser.click("#contour")
    browser.click("#compare")
    browser.click("#link")
    browser.wait("!document.querySelector('#link-row').hidden")
    link = browser.ask("document.querySelector('#link-text').value")
    before = canvas(browser)
    browser.fresh()  # another person's browser
    browser.open(f"{link}&token={TOKEN}")
    browser.wait(FOUND)
    assert browser.ask("document.querySelectorAll('figure').length") == 1
    assert not browser.ask("document.querySelector('#contour').checked")
    assert np.array_equal(canvas(browser), before) and marked(browser, (0, 255, 1)).any()
    assert all(one.startswith(address) for one in browser.requests)
    # Once the server does not keep the picture any more, the page says so and keeps the phrases.
    browser.open("about:blank")
    browser.open(f"{address}#p=00ff01the+cup&d={'0' * 64}&token={TOKEN}")
    browser.wait("document.querySelector('#status').textContent.includes('no longer keeps')")
    assert browser.ask("document.querySelector('.text').value") == "the cup"
