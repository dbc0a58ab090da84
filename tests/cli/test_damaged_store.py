"""A damaged store ends every command that reads it with one line, which names the store, and exit code 4."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.command_line import Run
from helpers.tiny import tiny_store

from risctl.data.store import schema

COMMANDS = {
    "eval": ["eval", "--model", "CHECKPOINT", "--data", "STORE", "--split", "val", "--device", "cpu"],
    "stats": ["data", "stats", "STORE"],
    "show": ["data", "show", "STORE"],
    "visualize data": ["visualize", "data", "STORE", "--out", "sheet.png"],
    "visualize predictions": [
        "visualize",
        "predictions",
        "STORE",
        "--model",
        "CHECKPOINT",
        "--split",
        "val",
        "--device",
        "cpu",
    ],
    "verify": ["prepare", "verify", "STORE"],
    "train": ["train", "vlt-scenes", "data.store=STORE", "--out", "run", "--device", "cpu"],
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("column", ["annotations/counts/blob", "sentences/sent/blob"])
def test_one_changed_bit_of_a_mask_or_a_text_ends_every_command(
    risctl: Run, tmp_path: Path, tiny_checkpoint: Path, command: str, column: str
) -> None:
    store = tiny_store(tmp_path, images=12)
    data = bytearray(store.read_bytes())
    offset, length, _ = schema.check_header(bytes(data[: schema.HEADER_BYTES]), length=len(data), path=store)
    place = json.loads(data[offset : offset + length])["columns"][column]
    data[place["offset"] + int(np.prod(place["shape"])) // 2] ^= 1
    store.write_bytes(data)
    words = [
        word.replace("STORE", str(store)).replace("CHECKPOINT", str(tiny_checkpoint)) for word in COMMANDS[command]
    ]
    ran = risctl(*words)
    assert ran.code == 4, ran
    lines = [line for line in ran.err.splitlines() if "is damaged" in line]
    assert lines and str(store) in ran.err.replace("\n", "") and column.removesuffix("/blob") in ran.err
    assert "Traceback" not in ran.err and ran.out == ""
