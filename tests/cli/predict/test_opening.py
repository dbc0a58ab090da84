"""Which runtime answers, and what goes with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from risctl.cli.predict.opening import MOST_IMAGES, open_any, refuse_exported
from risctl.errors import UsageError

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from helpers.exported_folder import write_exported

PLAIN: dict[str, Any] = {"runtime": "auto", "device": "auto", "threshold": None, "no_target_threshold": None}


def test_an_exported_folder_is_opened_by_onnx_runtime(tmp_path: Path) -> None:
    from risctl.runtime.predictor import OnnxPredictor

    folder = write_exported(tmp_path / "model")
    for runtime in ("auto", "onnx"):
        opened = open_any(folder, **PLAIN | {"runtime": runtime, "threshold": 0.25})
        assert isinstance(opened, OnnxPredictor) and opened.threshold == 0.25


@pytest.mark.parametrize(
    ("exported", "changes", "said"),
    [
        (True, {"runtime": "torch"}, "name its checkpoint"),
        (True, {"device": "cuda"}, "computed on the CPU"),
        (False, {"runtime": "onnx"}, "export it first"),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, exported: bool, changes: dict[str, str], said: str
) -> None:
    model = write_exported(tmp_path / "model") if exported else tmp_path / "none.safetensors"
    with pytest.raises(UsageError, match=said):
        open_any(model, **PLAIN | changes)


def test_categories_need_a_checkpoint(tmp_path: Path) -> None:
    refuse_exported(None, runtime="auto", job="--classes detects")
    for model, runtime in ((write_exported(tmp_path / "model"), "auto"), (None, "onnx")):
        with pytest.raises(UsageError, match="with a checkpoint"):
            refuse_exported(model, runtime=runtime, job="--classes detects")


def test_mini_is_computed_by_onnx_runtime_unless_torch_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from risctl.inference.predictor import Predictor
    from risctl.runtime.predictor import OnnxPredictor

    monkeypatch.setenv("RISCTL_CACHE", str(tmp_path / "cache"))
    for model in (None, Path("mini")):
        opened = open_any(model, **PLAIN)
        # What records say of the model is the same, whatever computes it.
        assert isinstance(opened, OnnxPredictor) and opened.path.name == "mini.safetensors"
    for changes in ({"runtime": "torch"}, {"images": MOST_IMAGES + 1}, {"surest": False, "calibration": "file.json"}):
        assert isinstance(open_any(None, **PLAIN | changes), Predictor)
    with pytest.raises(UsageError, match="--runtime onnx computes on the CPU"):
        open_any(None, **PLAIN | {"runtime": "onnx", "device": "cuda"})
    (tmp_path / "cache" / "calibration").mkdir(parents=True)
    (tmp_path / "cache" / "calibration" / "mini-0.json").write_text("{}")
    assert isinstance(open_any(None, **PLAIN), Predictor)
