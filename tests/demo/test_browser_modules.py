"""The page's own arithmetic, run by node: resizing, words and run lengths are those of Python, to the bit."""

from __future__ import annotations

import base64
import json
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import risctl
from risctl.demo.static_page import folded_signs
from risctl.errors import UsageError
from risctl.runtime.resize import antialiased, bilinear
from risctl.runtime.tokens import HashedWordTokens
from risctl.vision import rle
from risctl.vision.letterbox_numbers import letterbox_numbers

PAGE = Path(risctl.__file__).parent / "demo" / "page"
SCRIPT = """
import { readFileSync } from "node:fs";
const load = (name) => import(new URL(name, process.argv[2]));
const [resize, tokens, rle] = await Promise.all(["browser_resize.js", "browser_tokens.js", "rle.js"].map(load));
const given = JSON.parse(readFileSync(0, "utf-8"));
const bytes = (text) => new Uint8Array(Buffer.from(text, "base64"));
const floats = (text) => new Float32Array(bytes(text).buffer);
const packed = (array) => Buffer.from(array.buffer).toString("base64");
const words = new tokens.HashedWords(given.tokens.words, given.tokens.folded, given.tokens.settings);
const ids = (text) => words.ids(text) && Array.from(words.ids(text).ids, Number);
console.log(JSON.stringify({
  images: given.images.map(({ rgba, from, to }) => packed(resize.antialiased(bytes(rgba), from, to))),
  maps: given.maps.map(({ values, from, to }) => packed(resize.bilinear(floats(values), from, to))),
  boxes: given.boxes.map(({ from, size }) => resize.letterbox(from, size)),
  texts: given.texts.map((text) => ({ ids: ids(text), warnings: words.warnings(text) })),
  masks: given.masks.map((one) => {
    const mask = rle.decode(one), [height, width] = one.size;
    return { again: rle.encode(mask, height, width), ...rle.extent(mask, height, width) };
  }),
}));
"""
TEXTS = [
    "the red cup",
    "  The RED   cup!  ",
    "Straße über Mädchen",
    "ΟΔΟΣ ΣΊΣΥΦΟΣ",
    "ﬁne ſtuff ŉ ǅ",
    "left-most man's hat, isn't it?",
    "東京 タワー 2 個",
    "İstanbul Kelvin K",
    "emoji 😀 cup🙂plate",
    "x² ½ Ⅷ ٣",
    "under_score a_b",
    "pneumonoultramicroscopicsilicovolcanoconiosis again",
    " ".join(f"word{number}" for number in range(30)),
    "cup cup cup",
    "?!",
    "",
]
SIZES = [
    ((7, 5), (3, 9)),
    ((40, 60), (32, 48)),
    ((333, 517), (480, 317)),
    ((1, 90), (1, 480)),
    ((480, 480), (480, 480)),
]


@pytest.fixture(scope="module")
def tokens() -> dict[str, Any]:
    return {
        "words": ["<none>", "<unknown>", "the", "red", "cup", "strasse", "man", "s", "οδοσ"],
        "folded": folded_signs(),
        "settings": {"buckets": 977, "max_words": 20},
    }


@pytest.fixture(scope="module")
def cases(tokens: dict[str, Any]) -> dict[str, Any]:
    made = np.random.default_rng(0)
    sizes = [*SIZES, ((1100, 1000), (480, 436))]  # beyond a megapixel, as Pillow does it
    draw = random.Random(0)
    return {
        "images": [(made.integers(0, 256, (*size, 3), dtype=np.uint8), to) for size, to in sizes],
        "maps": [(made.normal(size=size).astype(np.float32), to) for size, to in SIZES],
        "boxes": [(draw.randrange(1, 5000), draw.randrange(1, 5000), 480) for _ in range(300)],
        "masks": [made.random(size) < share for size, _ in SIZES for share in (0, 0.02, 0.5, 1)],
        "tokens": tokens,
    }


@pytest.fixture(scope="module")
def found(cases: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the page's modules make of the cases."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("no node found")

    def sides(size: tuple[int, ...]) -> dict[str, int]:
        return {"height": size[0], "width": size[1]}

    def text(array: np.ndarray) -> str:
        return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()

    alpha = [np.dstack([image, np.full(image.shape[:2], 255, dtype=np.uint8)]) for image, _ in cases["images"]]
    given = {
        "images": [
            {"rgba": text(rgba), "from": sides(rgba.shape), "to": sides(to)}
            for rgba, (_, to) in zip(alpha, cases["images"], strict=True)
        ],
        "maps": [{"values": text(one), "from": sides(one.shape), "to": sides(to)} for one, to in cases["maps"]],
        "boxes": [{"from": sides(one), "size": one[2]} for one in cases["boxes"]],
        "texts": TEXTS,
        "tokens": cases["tokens"],
        "masks": [rle.encode(mask) for mask in cases["masks"]],
    }
    folder = tmp_path_factory.mktemp("node")
    for name in ("browser_resize.js", "browser_tokens.js", "rle.js"):
        (folder / name).write_bytes((PAGE / name).read_bytes())
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "run.mjs").write_text(SCRIPT, encoding="utf-8")
    ran = subprocess.run(
        [program, str(folder / "run.mjs"), f"{folder.as_uri()}/"],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )
    assert ran.returncode == 0, ran.stderr
    result: dict[str, Any] = json.loads(ran.stdout)
    return result


def test_images_are_resized_to_the_bit(cases: dict[str, Any], found: dict[str, Any]) -> None:
    for (image, (height, width)), text in zip(cases["images"], found["images"], strict=True):
        expected = antialiased(image, height=height, width=width)
        assert np.array_equal(np.frombuffer(base64.b64decode(text), dtype=np.uint8).reshape(expected.shape), expected)


def test_maps_are_resized_to_the_bit(cases: dict[str, Any], found: dict[str, Any]) -> None:
    for (values, (height, width)), text in zip(cases["maps"], found["maps"], strict=True):
        expected = bilinear(values, height=height, width=width)
        assert np.array_equal(np.frombuffer(base64.b64decode(text), dtype=np.float32).reshape(expected.shape), expected)


def test_images_lie_where_they_lie_in_python(cases: dict[str, Any], found: dict[str, Any]) -> None:
    for (height, width, size), numbers in zip(cases["boxes"], found["boxes"], strict=True):
        expected = letterbox_numbers(height=height, width=width, size=size)
        assert (numbers["innerHeight"], numbers["innerWidth"]) == (expected["inner_height"], expected["inner_width"])
        assert (numbers["top"], numbers["left"]) == (expected["top"], expected["left"])


def test_words_and_warnings_are_those_of_python(cases: dict[str, Any], found: dict[str, Any]) -> None:
    tokens = cases["tokens"]
    own = HashedWordTokens(tokens["words"], tokens["settings"])
    for text, told in zip(TEXTS, found["texts"], strict=True):
        try:
            expected = own(text)[0].tolist()
        except UsageError:
            expected = None
        assert told["ids"] == expected, text
        assert told["warnings"] == own.warnings(text), text
    assert any(told["ids"] is None for told in found["texts"]) and any(told["warnings"] for told in found["texts"])


def test_run_lengths_are_cocos(cases: dict[str, Any], found: dict[str, Any]) -> None:
    for mask, told in zip(cases["masks"], found["masks"], strict=True):
        encoded = rle.encode(mask)
        assert told["again"] == encoded
        assert told["area"] == rle.area(encoded)
        assert told["box"] == (list(rle.box(encoded)) if mask.any() else None)
