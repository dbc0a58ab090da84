"""The page in a browser: a picture dropped or pasted, phrases typed, masks as `predict` gives them; by keyboard."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.browser import Browser

pytest.importorskip("fastapi", reason="the demo's server needs risctl[demo]")
pytest.importorskip("uvicorn", reason="the demo's server needs risctl[demo]")
from helpers.demo_page import BLUE, ENTER, FOUND, TAB, TOKEN, controls, look_for, marked, open_page, set_value
from helpers.demo_server import COFFEE, answering, application, mini
from PIL import Image


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with answering(application(second=mini(), token=TOKEN, shared=True)) as address:
        yield address


def test_a_picture_is_dropped_and_masks_are_those_of_predict(browser: Browser, address: str) -> None:
    open_page(browser, address)
    assert TOKEN not in browser.ask("location.href")
    browser.drop("#figures", COFFEE)
    browser.wait("document.querySelector('figure canvas')")
    look_for(browser, "the cup", "a giraffe")
    assert len(browser.texts(".none")) == 2
    assert "no match" in browser.texts("li:nth-child(2) .answers")[0]
    set_value(browser, "#opacity", 100)
    [cup] = mini().predict(COFFEE, "the cup")
    for number in (0, 1):  # both models, side by side
        assert np.array_equal(marked(browser, BLUE, number), cup.mask)
    # What the models show of their answers.
    browser.ask(
        "[...document.querySelectorAll('.more button')].find((one) => one.textContent.startsWith('Why')).click()"
    )
    browser.wait("!document.querySelector('#why').hidden")
    assert "the cup" in browser.texts("#why-title")[0] and len(browser.texts("#why tbody tr")) > 1
    # A link restores all of it, in a page that starts anew.
    link = browser.ask("location.href")
    browser.open("about:blank")
    browser.open(link)
    browser.wait(FOUND)
    assert browser.ask("[...document.querySelectorAll('.text')].map((one) => one.value)") == ["the cup", "a giraffe"]
    assert browser.ask("document.querySelector('#opacity').value") == "100"
    assert np.array_equal(marked(browser, BLUE), cup.mask)
    assert not browser.problems
    assert all(one.startswith((address, "about:")) for one in browser.requests)


def test_it_is_used_by_keyboard_and_narrow(browser: Browser, address: str) -> None:
    with browser.width(360):
        browser.open(address)
        browser.wait("!document.querySelector('#token-form').hidden")
        assert browser.ask("document.activeElement.id") == "token"
        browser.type(TOKEN)
        browser.press("Enter", code=ENTER, text="\r")
        browser.wait("document.querySelector('#about').textContent.includes('mini')")
        browser.choose("#file", COFFEE)
        browser.wait("document.activeElement.classList.contains('text')")
        reached: list[str] = []
        for _ in range(12):
            reached.append(
                browser.ask(
                    "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"
                    " + document.activeElement.id"
                )
            )
            browser.press("Tab", code=TAB)
        assert reached[:4] == ["Phrase 1", "Remove phrase 1", "Add a phraseadd", "Findfind"]
        assert {"opacity", "contour", "compare"} <= set(reached)
        assert browser.ask("document.documentElement.scrollWidth") <= 360
        told = controls(browser)
        assert len(told) >= 10 and all(one["name"] for one in told)
    # The only problem is the answer of the server to a page without its token.
    assert all("401" in problem for problem in browser.problems)


def test_a_picture_is_pasted(browser: Browser, address: str, tmp_path: Path) -> None:
    Image.open(COFFEE).crop((100, 0, 400, 240)).save(tmp_path / "crop.png")
    open_page(browser, address)
    browser.paste(tmp_path / "crop.png")
    browser.wait("document.querySelector('figure canvas')?.width === 300")
    look_for(browser, "the cup")
    set_value(browser, "#opacity", 100)
    [cup] = mini().predict(tmp_path / "crop.png", "the cup")
    assert cup.mask.any() and np.array_equal(marked(browser, BLUE), cup.mask)


def test_what_goes_wrong_is_said(browser: Browser, address: str, tmp_path: Path) -> None:
    open_page(browser, address)
    browser.click("#find")
    assert "picture first" in browser.texts("#problem")[0]
    text = tmp_path / "text.png"
    text.write_text("no picture")
    browser.choose("#file", text)
    browser.write(".text", "the cup")
    browser.click("#find")
    browser.wait("document.querySelector('#problem').textContent.includes('not a picture')")
