"""`risctl eval` in two processes, as `accelerate launch` starts them: each sample counts once, one process tells."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from helpers.small_models import REFERFORMER, recipe_of
from helpers.tiny import tiny_store
from helpers.video_files import write_youtube

from risctl.checkpoints.checkpoint import save_checkpoint
from risctl.cli.app import main
from risctl.data.datasets.ref_video.reader import read_ref_youtube_vos
from risctl.data.store.writer import write_store
from risctl.language.vocabulary import Vocabulary
from risctl.systems.registry import build_system

# All commands in one process each: importing torch takes longer than they do.
DRIVER = """
import json, sys
from risctl.cli.app import main
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["risctl", *arguments]
    try:
        main()
    except SystemExit as left:
        if left.code:
            raise
"""


@pytest.fixture
def video_model(tmp_path: Path) -> Path:
    recipe = recipe_of(REFERFORMER)
    vocabulary = Vocabulary.from_texts(["a red box on the left"])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        system = build_system(recipe.model, vocabulary=vocabulary)
    save_checkpoint(tmp_path / "clips.safetensors", system=system, recipe=recipe, vocabulary=vocabulary)
    return tmp_path / "clips.safetensors"


def test_two_processes_tell_what_one_does(
    tmp_path: Path,
    tiny_checkpoint: Path,
    video_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    images = tiny_store(tmp_path, images=7, validation=3)
    videos = {"train": ("aa",), "test": ("bb", "cc", "dd")}
    write_store(read_ref_youtube_vos(write_youtube(tmp_path / "set", videos=videos)), tmp_path / "set.h5")
    common = ("--device", "cpu", "--json", "--quiet")
    asked = [
        # Seven images, 27 sentences, three videos: none can be halved.
        ["-m", tiny_checkpoint, "-d", images, "-s", "all", "--limit", 27, "--threshold", 0.2, "-p", "original,lavt"],
        ["-m", video_model, "-d", tmp_path / "set.h5", "-s", "test"],
    ]

    def commands(name: str) -> list[list[str]]:
        every = enumerate(asked)
        return [
            [str(part) for part in ("eval", *one, *common, "--rows", tmp_path / f"{name}{place}.jsonl")]
            for place, one in every
        ]

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", DRIVER, json.dumps(commands("both"))],
            env={**os.environ, **together, "RANK": str(rank), "LOCAL_RANK": str(rank), "ACCELERATE_USE_CPU": "true"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    told = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    assert told[1][0] == ""
    both = [json.loads(line) for line in told[0][0].splitlines()]
    alone = []
    for arguments in commands("alone"):
        monkeypatch.setattr("sys.argv", ["risctl", *arguments])
        with pytest.raises(SystemExit):
            main()
        alone.append(json.loads(capsys.readouterr().out))
    for place, (one, other) in enumerate(zip(both, alone, strict=True)):
        assert one["figures"] == other["figures"]
        assert (tmp_path / f"both{place}.jsonl").read_bytes() == (tmp_path / f"alone{place}.jsonl").read_bytes()
    assert (both[0]["processes"], both[0]["sentences"], both[0]["images"]) == (2, 27, 7)
    assert both[0]["protocols"] == alone[0]["protocols"]
    assert both[1]["expressions"] == alone[1]["expressions"] == 12
