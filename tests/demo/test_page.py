"""The page in a browser: a picture dropped, phrases typed, masks as `predict` gives them; by keyboard and narrow."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers.browser import Browser

pytest.importorskip("fastapi", reason="the demo's server needs risctl[demo]")
pytest.importorskip("uvicorn", reason="the demo's server needs risctl[demo]")
from helpers.demo_server import COFFEE, answering, application, mini

FOUND = "document.querySelector('#status').textContent.startsWith('Found')"
TOKEN = "a-token-of-24-characters"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with answering(application(second=mini(), token=TOKEN, shared=True)) as address:
        yield address


def marked(browser: Browser, colour: tuple[int, int, int], number: int = 0) -> np.ndarray:
    """The pixels of the canvas of figure `number` that have a colour, bool (H, W)."""
    code = f"""(() => {{
      const canvas = document.querySelectorAll('figure canvas')[{number}];
      const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
      const at = [];
      for (let i = 0; i < data.length; i += 4)
        if (data[i] === {colour[0]} && data[i + 1] === {colour[1]} && data[i + 2] === {colour[2]}) at.push(i / 4);
      return JSON.stringify([canvas.height, canvas.width, at]);
    }})()"""
    height, width, places = json.loads(browser.ask(code))
    mask = np.zeros(height * width, dtype=bool)
    mask[places] = True
    return mask.reshape(height, width)


def set_slider(browser: Browser, value: int) -> None:
    browser.ask(
        f"(() => {{ const one = document.querySelector('#opacity'); one.value = {value};"
        " one.dispatchEvent(new Event('input')); one.dispatchEvent(new Event('change')); })()"
    )


def test_a_picture_is_dropped_and_masks_are_those_of_predict(browser: Browser, address: str) -> None:
    browser.open(f"{address}#token={TOKEN}")
    browser.wait("document.querySelector('#about').textContent.includes('mini')")
    assert TOKEN not in browser.ask("location.href")
    browser.drop("#figures", COFFEE)
    browser.wait("document.querySelector('figure canvas')")
    browser.write(".text", "the cup")
    browser.press("Enter", code=13, text="\r")
    browser.wait(FOUND)
    browser.click("#add")
    browser.write("li:nth-child(2) .text", "a giraffe")
    browser.click("#find")
    browser.wait("document.querySelectorAll('.none').length === 2")
    assert "no match" in browser.texts("li:nth-child(2) .answers")[0]
    set_slider(browser, 100)
    [cup] = mini().predict(COFFEE, "the cup")
    for number in (0, 1):  # both models, side by side
        assert np.array_equal(marked(browser, (86, 180, 233), number), cup.mask)
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
    assert np.array_equal(marked(browser, (86, 180, 233)), cup.mask)
    assert not browser.problems
    assert all(one.startswith((address, "about:")) for one in browser.requests)


def test_it_is_used_by_keyboard_and_narrow(browser: Browser, address: str) -> None:
    with browser.width(360):
        browser.open(address)
        browser.wait("!document.querySelector('#token-form').hidden")
        assert browser.ask("document.activeElement.id") == "token"
        browser.ask(f"document.querySelector('#token').value = '{TOKEN}'")
        browser.press("Enter", code=13, text="\r")
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
            browser.press("Tab", code=9)
        assert reached[:4] == ["Phrase 1", "Remove phrase 1", "Add a phraseadd", "Findfind"]
        assert {"opacity", "contour", "compare"} <= set(reached)
        assert browser.ask("document.documentElement.scrollWidth") <= 360
        unnamed = browser.ask(
            "[...document.querySelectorAll('button, input')].filter((one) => !(one.textContent.trim()"
            " || one.getAttribute('aria-label') || one.labels?.length)).map((one) => one.outerHTML)"
        )
        assert unnamed == []
    # The only problem is the answer of the server to a page without its token.
    assert all("401" in problem for problem in browser.problems)


def test_what_goes_wrong_is_said(browser: Browser, address: str, tmp_path: Path) -> None:
    browser.open(f"{address}#token={TOKEN}")
    browser.wait("document.querySelector('#about').textContent.includes('mini')")
    browser.click("#find")
    assert "picture first" in browser.texts("#problem")[0]
    text = tmp_path / "text.png"
    text.write_text("no picture")
    browser.choose("#file", text)
    browser.write(".text", "the cup")
    browser.click("#find")
    browser.wait("document.querySelector('#problem').textContent.includes('not a picture')")
