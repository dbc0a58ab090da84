"""What tests do with the page of the demo: open it, look for phrases, and read what it shows."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from helpers.browser import Browser

FOUND = "document.querySelector('#status').textContent.startsWith('Found')"
TOKEN = "a-token-of-24-characters"
BLUE, ORANGE = (86, 180, 233), (230, 159, 0)

TAB, ENTER, SPACE = 9, 13, 32

CONTROL_ROLES = {
    *("button", "textbox", "checkbox", "slider", "link", "ColorWell", "radio", "combobox", "spinbutton", "switch"),
    *("DisclosureTriangle", "searchbox"),
}

# The least contrast of texts with what is behind them, as WCAG 2 counts it; [ratio, what it is].
LEAST_CONTRAST = """(() => {
  const parts = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number);
  const light = (rgb) => {
    const [r, g, b] = rgb.slice(0, 3).map((one) => {
      const share = one / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (one) => {
    for (let at = one; at; at = at.parentElement) {
      const found = parts(getComputedStyle(at).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const measured = [];
  for (const one of document.body.querySelectorAll("*")) {
    const texts = [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!texts && !one.matches("input[type=text], input:not([type])")) continue;
    if (one.disabled || one.matches(".skip, .visually-hidden, option") || !one.checkVisibility()) continue;
    const paper = light(behind(one));
    for (const part of [null, ...(one.placeholder ? ["::placeholder"] : [])]) {
      const ink = light(parts(getComputedStyle(one, part).color));
      const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
      measured.push([ratio, `${part ?? ""} ${one.outerHTML.slice(0, 80)}`]);
    }
  }
  return measured.sort(([one], [other]) => one - other)[0];
})()"""


def open_page(browser: Browser, address: str, *, name: str = "mini") -> None:
    """Open the page with its token, and wait until it knows its models."""
    browser.open(f"{address}#token={TOKEN}")
    browser.wait(f"document.querySelector('#about').textContent.includes({json.dumps(name)})")


def look_for(browser: Browser, *phrases: str) -> None:
    """Write phrases into the rows, add rows as needed, and wait until they are answered."""
    for number, phrase in enumerate(phrases, start=1):
        if number > browser.ask("document.querySelectorAll('#phrases > li').length"):
            browser.click("#add")
        browser.write(f"#phrases > li:nth-child({number}) .text", phrase)
    browser.ask("document.querySelector('#status').textContent = ''")
    browser.click("#find")
    browser.wait(FOUND)


def set_value(browser: Browser, selector: str, value: str | int) -> None:
    """Give a slider or a colour field a value, as its own dialogue does."""
    browser.ask(
        f"(() => {{ const one = document.querySelector({json.dumps(selector)}); one.value = {json.dumps(str(value))};"
        " one.dispatchEvent(new Event('input')); one.dispatchEvent(new Event('change')); })()"
    )


def canvas(browser: Browser, number: int = 0) -> np.ndarray:
    """The pixels of the canvas of figure `number`, RGB uint8 (H, W, 3)."""
    height, width, data = browser.ask(
        f"""(() => {{
          const one = document.querySelectorAll('figure canvas')[{number}];
          const {{ data }} = one.getContext('2d').getImageData(0, 0, one.width, one.height);
          let text = '';
          for (let at = 0; at < data.length; at += 8192) text += String.fromCharCode(...data.subarray(at, at + 8192));
          return [one.height, one.width, btoa(text)];
        }})()"""
    )
    pixels = np.frombuffer(base64.b64decode(data), dtype=np.uint8).reshape(height, width, 4)
    return pixels[..., :3]


def marked(browser: Browser, colour: tuple[int, int, int], number: int = 0) -> np.ndarray:
    """The pixels of the canvas of figure `number` that have a colour, bool (H, W)."""
    return (canvas(browser, number) == colour).all(-1)


def tab_to(browser: Browser, selector: str, *, back: bool = False) -> None:
    """Press Tab until the focus is on what `selector` finds, and is seen to be there."""
    matches = f"document.activeElement.matches({json.dumps(selector)})"
    passed: list[Any] = []
    for _ in range(60):
        browser.press("Tab", code=TAB, shift=back)
        seen = browser.ask(
            "(() => { const one = document.activeElement;"
            " const shown = one.classList.contains('visually-hidden') ? one.nextElementSibling : one;"
            " return getComputedStyle(shown).outlineStyle !== 'none'; })()"
        )
        if browser.ask(matches):
            assert seen, f"the focus on {selector} is not seen"
            return
        passed.append(browser.ask("document.activeElement.id || document.activeElement.textContent"))
    raise AssertionError(f"no way by Tab to {selector}; passed {passed}")


def controls(browser: Browser) -> list[dict[str, Any]]:
    """What a screen reader is told of the page's controls; of each its role, name and properties."""
    return [one for one in browser.accessible() if one["role"] in CONTROL_ROLES]
