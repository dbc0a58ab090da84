"""TensorFlow's checkpoints of both forms: small ones that TensorFlow wrote, and damaged ones."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest

from risctl.errors import CheckpointError
from risctl.weights.tf_checkpoint import is_tf_checkpoint, read_tf_checkpoint

# Written by TensorFlow 2's `tf.compat.v1.train.Saver`, write_version 2 and 1; the first holds a text variable, too.
INDEX = (
    "AAAGCAEaAggBAA0bY29udjEvd2VpZ2h0cwgBEhASAggBEgIIARICCAMSAggCKBg1TcnANw0JES9Nb21lbnR1bQgCEgQSAggCIBgoEDVnx6oaAAsN"
    "Z2xvYmFsX3N0ZXAICRIAICgoCDWBa3oFAAQNbmFtZQgHEgAgMCgJNRtMMz8AAAAAAQAAAAB9nGolAAAAAAEAAAAAwPKhsAABA28AiAEAAAAAAQAA"
    "AACd4M8ajQEImgEPAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAFf7gIskdUfb"
)
DATA = "AAAAAAAAgD4AAAA/AABAPwAAgD8AAKA/AAAAAAAA4D8AAAAAAADgPyBOAAAAAAAABGJR65Z0ZXh0"
ONE_FILE = (
    "AABwCm4KLQoNY29udjEvd2VpZ2h0cxIQEgIIARICCAESAggDEgIIAhgBIggKAAoACgAKAAokChZjb252MS93ZWlnaHRzL01vbWVudHVtEgQSAggC"
    "GAIiAgoAChMKC2dsb2JhbF9zdGVwEgAYCSIAEgIIAQAaNwBjb252MS93ZWlnaHRzAAEBBIB/gH+Af4B/EjUKDWNvbnYxL3dlaWdodHMSCAoACgAK"
    "AAoAGhoqGAAAAAAAAIA+AAAAPwAAQD8AAIA/AACgPw4PMi9Nb21lbnR1bQABAQGAfxIwChZjb252MS93ZWlnaHRzL01vbWVudHVtEgIKABoSMhAA"
    "AAAAAADgPwAAAAAAAOA/AQ4YZ2xvYmFsX3N0ZXAAAQASFgoLZ2xvYmFsX3N0ZXASABoFUgOgnAEAAAAAAQAAAABRdqAMAAAAAAEAAAAAwPKhsAAB"
    "AwEAvAIAAAAAAQAAAABLXlRTwQIIzgIPAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAFf7gIskdUfb"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `new.ckpt` in two files and `old.ckpt` in one."""
    (tmp_path / "new.ckpt.index").write_bytes(base64.b64decode(INDEX))
    (tmp_path / "new.ckpt.data-00000-of-00001").write_bytes(base64.b64decode(DATA))
    (tmp_path / "old.ckpt").write_bytes(base64.b64decode(ONE_FILE))
    return tmp_path


@pytest.mark.parametrize("name", ["new.ckpt", "new.ckpt.index", "new.ckpt.data-00000-of-00001", "old.ckpt"])
def test_both_forms_are_read(folder: Path, name: str) -> None:
    assert is_tf_checkpoint(folder / name)
    arrays = read_tf_checkpoint(folder / name)
    assert set(arrays) == {"conv1/weights", "conv1/weights/Momentum", "global_step"}
    expected = np.arange(6, dtype=np.float32).reshape(1, 1, 3, 2) / 4
    assert arrays["conv1/weights"].dtype == np.float32
    assert np.array_equal(arrays["conv1/weights"], expected)
    assert arrays["conv1/weights/Momentum"].tolist() == [0.5, 0.5]
    assert (arrays["global_step"].shape, int(arrays["global_step"])) == ((), 20000)


def test_other_files_are_none(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("x" * 100)
    assert not is_tf_checkpoint(tmp_path / "text")
    assert not is_tf_checkpoint(tmp_path / "absent")


@pytest.mark.parametrize("name", ["new.ckpt.index", "old.ckpt"])
def test_damage_is_told_and_breaks_nothing(folder: Path, name: str) -> None:
    """Whatever byte is changed: numbers, or a clear error."""
    whole = (folder / name).read_bytes()
    for place in range(len(whole)):
        (folder / name).write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read_tf_checkpoint(folder / name)
        except CheckpointError as error:
            assert "cannot be read as a TensorFlow checkpoint" in str(error)


def test_missing_numbers_are_told(folder: Path) -> None:
    (folder / "new.ckpt.data-00000-of-00001").write_bytes(b"\0" * 10)
    with pytest.raises(CheckpointError, match="ends before conv1/weights"):
        read_tf_checkpoint(folder / "new.ckpt")
    (folder / "new.ckpt.data-00000-of-00001").unlink()
    with pytest.raises(CheckpointError, match="No such file"):
        read_tf_checkpoint(folder / "new.ckpt")
