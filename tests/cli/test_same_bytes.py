"""Commands that take their time, write files and show progress: their results are the same bytes wherever they go."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import Run
from helpers.published_zsi import WORDS, write_checkpoint, write_vectors
from helpers.small_models import SMALL_VLT
from helpers.terminal import Screen, stderr_on
from helpers.tiny import tiny_store
from helpers.tiny_clip import write_hugging_face
from PIL import Image

pytestmark = pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals")

RECIPE = f"""{SMALL_VLT}
data: {{store: tiny.h5, batch_size: 5, workers: 0}}
optim: {{lr: 0.01}}
train: {{epochs: 1, eval_limit: 2}}
"""
COMMANDS = {
    "zeroshot predict": "zeroshot predict a.png b.png cup box --proposals boxes.npz --clip clip",
    "zeroshot eval": "zeroshot eval --data tiny.h5 --split val --proposals gt --clip clip",
    "import": "import zsi epoch_12.pth --split 48_17 --vocabulary vectors.txt --words words.txt --out zsi.safetensors",
    "prepare scenes": "prepare scenes -n 10 --out scenes.h5 --workers 1",
    "prepare custom": "prepare custom mine.jsonl --out mine.h5 --splits train=1",
    "train": "train small.yaml --out run --device cpu",
    "train --dry-run": "train small.yaml --dry-run",
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Whatever the commands read."""
    folder = tmp_path_factory.mktemp("files")
    masks = np.zeros((2, 60, 90), dtype=bool)
    masks[0, 10:50, 5:40] = masks[1, 20:40, 50:80] = True
    for name in "ab":
        pixels = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{name}.png")
    np.savez(folder / "boxes.npz", masks=masks, scores=np.array([0.9, 0.8]))
    tiny_store(folder, images=6, validation=2)
    write_hugging_face(folder / "clip")
    write_checkpoint(folder / "epoch_12.pth")
    write_vectors(folder / "vectors.txt")
    (folder / "words.txt").write_text("\n".join(WORDS))
    (folder / "small.yaml").write_text(RECIPE)
    entries = [{"image": f"{name}.png", "text": "the cup", "mask": [[5, 10, 35, 10, 35, 30]]} for name in "ab"]
    (folder / "mine.jsonl").write_text("\n".join(map(json.dumps, entries)))
    return folder


def on_a_terminal(ran: Callable[[], int]) -> tuple[int, bytes]:
    """Run with stdout and stderr on a terminal each."""
    screen, messages = Screen(), Screen()
    sys.stdout = io.TextIOWrapper(io.FileIO(os.dup(screen.terminal), "w"), encoding="utf-8", write_through=True)
    with stderr_on(messages):
        code = ran()
    sys.stdout.close()
    messages.written()
    return code, screen.written()


def on_a_pipe(ran: Callable[[], int]) -> tuple[int, bytes]:
    reader, writer = os.pipe()
    found: list[bytes] = []

    def read() -> None:
        with os.fdopen(reader, "rb") as file:
            found.append(file.read())

    thread = threading.Thread(target=read)
    thread.start()
    sys.stdout = io.TextIOWrapper(io.FileIO(writer, "w"), encoding="utf-8")
    code = ran()
    sys.stdout.close()
    thread.join(60)
    return code, found[0]


def in_a_file(ran: Callable[[], int]) -> tuple[int, bytes]:
    path = Path("stdout")
    sys.stdout = path.open("w", encoding="utf-8")
    code = ran()
    sys.stdout.close()
    return code, path.read_bytes()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_same_bytes_on_a_terminal_in_a_pipe_and_in_a_file(
    name: str, risctl: Run, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("RISCTL_CACHE", str(tmp_path / "cache"))
    for variable in ("NO_COLOR", "TTY_INTERACTIVE", "TTY_COMPATIBLE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "stdout", sys.stdout)  # put back at the end
    results = {}
    for place in (on_a_terminal, on_a_pipe, in_a_file):
        folder = tmp_path / place.__name__
        folder.mkdir()
        for path in files.iterdir():
            (folder / path.name).symlink_to(path)
        monkeypatch.chdir(folder)
        code, results[place.__name__] = place(lambda: risctl(*COMMANDS[name].split()).code)
        assert code == 0, place.__name__
    shown = {without_times(result.decode()) for result in results.values()}
    assert len(shown) == 1 and next(iter(shown)).strip(), results
    assert not any(b"\x1b" in result or b"\r" in result for result in results.values())


def without_times(text: str) -> str:
    """Leave out how long something took."""
    return re.sub(r"[\d.]+ s( on cpu \([\d.]+ s/image)?|seconds an image.*", "", text)
