"""A page in headless Chromium, driven by its own DevTools protocol over a pipe: no driver and no library needed."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
TIMEOUT = 60.0


def find_chromium() -> str | None:
    """Return the browser to start, `RISCTL_CHROMIUM` or one on the path; None if there is none, or no such pipes."""
    if os.name != "posix":
        return None
    named = os.environ.get("RISCTL_CHROMIUM")
    return named or next((found for found in map(shutil.which, NAMES) if found), None)


class Browser:
    """One tab. `requests`: what it asked for; `problems`: errors of scripts and violations of the page's policy.

    `fresh` gives a new tab that knows nothing of the one before: as a new browser, without the time that one takes.
    """

    def __init__(self, program: str, profile: Path) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        self.requests: list[str] = []
        self.problems: list[str] = []
        self._number = 0
        self._buffer = b""
        self._events: list[dict[str, Any]] = []

        def third_and_fourth() -> None:
            # Above 10 first: either end may be 3 or 4 already.
            ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_browser, from_browser)]
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        self._process = subprocess.Popen(
            [
                program,
                *("--headless", "--remote-debugging-pipe", f"--user-data-dir={profile}", "--window-size=1200,900"),
                *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions"),
                *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(3, 4),
            preexec_fn=third_and_fourth,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._session: str | None = None
        self._context: str | None = None
        try:
            self.fresh()
        except BaseException:
            self.close()
            raise

    def fresh(self) -> None:
        """Close the tab and open a new one, with storage, permissions and settings of its own."""
        self._session = None
        if self._context is not None:
            self._call("Target.disposeBrowserContext", browserContextId=self._context)
        self._context = self._call("Target.createBrowserContext")["browserContextId"]
        target = self._call("Target.createTarget", url="about:blank", browserContextId=self._context)["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for told in (self.requests, self.problems, self._events):
            told.clear()
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    @property
    def ended(self) -> bool:
        """Whether the browser's process is gone."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End the browser."""
        self._process.terminate()
        self._process.wait(timeout=TIMEOUT)
        os.close(self._write)
        os.close(self._read)

    def open(self, address: str) -> None:
        """Go to `address` and wait until it is loaded."""
        self._events.clear()
        self._call("Page.navigate", url=address)
        self._until(lambda: any(event["method"] == "Page.loadEventFired" for event in self._events), "the page to load")

    def ask(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        found = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise AssertionError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def texts(self, selector: str) -> list[str]:
        """Return the texts, as shown, of all elements that `selector` finds."""
        return list(self.ask(f"[...document.querySelectorAll({json.dumps(selector)})].map((one) => one.innerText)"))

    def click(self, selector: str) -> None:
        """Click where a person would: on the middle of the element, scrolled into view."""
        x, y = self.ask(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            " one.scrollIntoView({block: 'center'}); const box = one.getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self._call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def write(self, selector: str, text: str) -> None:
        """Click into the field, replace what it holds, as by keyboard."""
        self.click(selector)
        self.ask(f"document.querySelector({json.dumps(selector)}).select()")
        self._call("Input.insertText", text=text)

    def choose(self, selector: str, path: Path) -> None:
        """Choose a file in the field, as in the system's dialogue."""
        document = self._call("DOM.getDocument")["root"]["nodeId"]
        field = self._call("DOM.querySelector", nodeId=document, selector=selector)["nodeId"]
        self._call("DOM.setFileInputFiles", files=[str(path)], nodeId=field)

    def choose_by_key(self, path: Path, key: str, *, code: int, text: str = "") -> None:
        """Press a key on a field that has the focus, and choose a file in the dialogue that it opens."""
        self._call("Page.setInterceptFileChooserDialog", enabled=True)
        self.press(key, code=code, text=text)

        def opened() -> list[dict[str, Any]]:
            return [event for event in self._events if event["method"] == "Page.fileChooserOpened"]

        self._until(lambda: bool(opened()), "a dialogue that chooses a file")
        field = opened()[-1]["params"]["backendNodeId"]
        self._call("DOM.setFileInputFiles", files=[str(path)], backendNodeId=field)
        self._call("Page.setInterceptFileChooserDialog", enabled=False)

    def drop(self, selector: str, path: Path) -> None:
        """Drag a file over the element and let it go."""
        x, y = self.ask(
            f"(() => {{ const box = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + Math.min(box.height, 200) / 2]; })()"
        )
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self._call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def press(self, key: str, *, code: int, text: str = "", shift: bool = False, command: str = "") -> None:
        """Press a key, by its name and Windows' number of it; `command`: what it does in a field, such as "paste"."""
        common: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 * shift}
        for kind in ("keyDown", "keyUp"):
            typed: dict[str, Any] = {"text": text} if text and kind == "keyDown" else {}
            if command and kind == "keyDown":
                typed["commands"] = [command]
            self._call("Input.dispatchKeyEvent", type=kind, **common, **typed)

    def type(self, text: str) -> None:
        """Type a text into what has the focus."""
        self._call("Input.insertText", text=text)

    def paste(self, path: Path) -> None:
        """Put a PNG into the clipboard, and paste it into the page."""
        for name in ("clipboard-write", "clipboard-read"):
            self._call("Browser.setPermission", permission={"name": name}, setting="granted", **self._of_context())
        self._call("Page.bringToFront")
        data = base64.b64encode(path.read_bytes()).decode()
        self.ask(
            f"""(async () => {{
              const bytes = Uint8Array.from(atob("{data}"), (sign) => sign.charCodeAt(0));
              const blob = new Blob([bytes], {{ type: "image/png" }});
              await navigator.clipboard.write([new ClipboardItem({{ "image/png": blob }})]);
            }})()"""
        )
        self.press("v", code=86, command="paste")

    def allow_downloads(self, folder: Path) -> None:
        """Let the page write files into a folder, unasked."""
        self._call(
            "Browser.setDownloadBehavior",
            behavior="allow",
            downloadPath=str(folder),
            eventsEnabled=True,
            **self._of_context(),
        )

    def downloaded(self, path: Path) -> bytes:
        """Wait until a file was written whole, and return its bytes."""
        end = time.monotonic() + TIMEOUT
        while not (path.is_file() and path.stat().st_size):
            if time.monotonic() > end:
                raise AssertionError(f"waited {TIMEOUT:g} s for {path.name}; there is {sorted(path.parent.iterdir())}")
            time.sleep(0.02)
        return path.read_bytes()

    def accessible(self) -> list[dict[str, Any]]:
        """Return what a screen reader is told: role, name and properties of every node that is not ignored."""
        nodes = self._call("Accessibility.getFullAXTree")["nodes"]
        return [
            {
                "role": node["role"]["value"],
                "name": node.get("name", {}).get("value", ""),
                "description": node.get("description", {}).get("value", ""),
                **{one["name"]: one["value"].get("value") for one in node.get("properties", [])},
            }
            for node in nodes
            if not node["ignored"]
        ]

    def wait(self, expression: str, *, timeout: float = TIMEOUT) -> None:
        """Wait until a JavaScript expression in the page is true."""
        end = time.monotonic() + timeout
        while not self.ask(f"Boolean({expression})"):
            if time.monotonic() > end:
                raise AssertionError(f"waited {timeout:g} s for {expression}")
            time.sleep(0.02)

    def prefer(self, scheme: str) -> None:
        """Make the reader prefer "light" or "dark"."""
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    @contextmanager
    def width(self, pixels: int) -> Iterator[None]:
        """Give the window this width for the block."""
        size = {"width": pixels, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        try:
            yield
        finally:
            self._call("Emulation.clearDeviceMetricsOverride")

    def picture(self, path: Path, *, vision: str = "none") -> None:
        """Save what the window shows as PNG, as eyes see it that have the deficiency `vision`."""
        self._call("Emulation.setEmulatedVisionDeficiency", type=vision)
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def _of_context(self) -> dict[str, Any]:
        return {"browserContextId": self._context}

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        answers: list[dict[str, Any]] = []
        number = self._number
        self._until(lambda: bool(answers), method, answers, number)
        if "error" in answers[0]:
            raise AssertionError(f"{method}: {answers[0]['error']}")
        return dict(answers[0]["result"])

    def _until(
        self, done: Callable[[], bool], what: str, answers: list[dict[str, Any]] | None = None, number: int = 0
    ) -> None:
        end = time.monotonic() + TIMEOUT
        while not done():
            ready, _, _ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                raise AssertionError(f"waited {TIMEOUT:g} s for {what}")
            data = os.read(self._read, 1 << 16)
            if not data:
                raise AssertionError(f"the browser ended while waiting for {what}")
            *whole, self._buffer = (self._buffer + data).split(b"\0")
            for array in whole:
                self._take(json.loads(array), answers, number)

    def _take(self, message: dict[str, Any], answers: list[dict[str, Any]] | None, number: int) -> None:
        if "id" in message:
            if answers is not None and message["id"] == number:
                answers.append(message)
            return
        if message.get("sessionId") != self._session:
            return  # of a tab that is closed
        self._events.append(message)
        told = message.get("params", {})
        if message["method"] == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif message["method"] == "Runtime.exceptionThrown":
            self.problems.append(str(told["exceptionDetails"]))
        elif message["method"] == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.problems.append(told["entry"]["text"])
