"""`risctl doctor`: what it finds, what it calls broken, and what it advises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from risctl.environment import doctor, packages
from risctl.environment.doctor import examine
from risctl.environment.packages import REINSTALL_PAIR, judge_pair
from risctl.environment.probes import ProbeResult, run_probes
from risctl.environment.resources import hub_cache, torch_cache

NMS = "RuntimeError: operator torchvision::nms does not exist"


def healthy() -> dict[str, ProbeResult]:
    """Answers of a machine on which everything works."""
    return {
        "torch": ProbeResult({"torch": "2.6.0", "cuda_build": None, "threads": 2, "cuda": [], "mps": False}),
        "torchvision": ProbeResult({"torchvision": "0.21.0", "nms": True}),
        "others": ProbeResult({"errors": {}, "hdf5": "1.14.4"}),
    }


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, ProbeResult]:
    """The answers that `examine` gets; a test may change them."""
    found = healthy()
    monkeypatch.setattr(doctor, "run_probes", lambda: found)
    monkeypatch.setattr(packages, "_version_in_files", lambda package: "0.21.0")
    requires = ["torch>=2", "torchvision>=0.15", "h5py>=3"]
    monkeypatch.setattr(
        packages.importlib.metadata, "requires", lambda name: requires if name == "risctl" else ["torch"]
    )
    return found


def test_a_torchvision_that_does_not_fit_torch_is_told_with_its_remedy(tmp_path: Path) -> None:
    fake = tmp_path / "torchvision"
    fake.mkdir()
    (fake / "__init__.py").write_text(
        'raise RuntimeError("operator torchvision::nms does not exist")', encoding="utf-8"
    )
    for slow in ("accelerate", "scipy", "spacy", "transformers"):
        (tmp_path / f"{slow}.py").touch()  # beside the point, and seconds to import
    ran = subprocess.run(
        [sys.executable, "-m", "risctl", "doctor", "--json", "--data-root", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 5, ran.stderr
    report = json.loads(ran.stdout)
    assert report["healthy"] is False
    pair = next(one for one in report["findings"] if one["name"] == "torchvision")
    assert pair["state"] == "broken"
    assert "torchvision::nms does not exist" in pair["value"]
    assert "CPU-only torch" in pair["value"]
    assert "pip install --force-reinstall torch torchvision" in pair["remedy"]
    assert "broken: " in ran.stderr


@pytest.mark.parametrize(
    ("versions", "error", "state", "says"),
    [
        (("2.6.0+cpu", "0.21.0+cpu"), None, "ok", "0.21.0+cpu"),
        (("2.6.0", "0.21.0"), None, "ok", "0.21.0"),
        (("2.6.0+cpu", "0.21.0+cu124"), NMS, "broken", "different builds, cpu and cu124"),
        (("2.6.0+cpu", "0.21.0"), NMS, "broken", "typically a CPU-only torch"),
        (("2.6.0+cpu", "0.21.0+cu124"), None, "note", "works, but they come from different builds"),
        (("2.5.1", "0.21.0"), NMS, "broken", "built for torch==2.6.0"),
        (("2.6.0", "0.21.0"), "OSError: undefined symbol", "broken", "undefined symbol"),
    ],
)
def test_the_pair_is_judged(versions: tuple[str, str], error: str | None, state: str, says: str) -> None:
    finding = judge_pair(torch=versions[0], torchvision=versions[1], needs=["numpy", "torch==2.6.0"], error=error)
    assert finding.state == state
    assert says in finding.value
    assert finding.remedy == (None if state == "ok" else REINSTALL_PAIR)


def test_a_healthy_machine(answers: Mapping[str, ProbeResult], tmp_path: Path) -> None:
    health = examine(data=[tmp_path])
    assert health.broken == []
    text = health.text()
    assert text.endswith("Nothing is broken.")
    for heading in ("Versions", "Devices", "Disk", "Data", "Models", "Cached weights"):
        assert f"\n## {heading}\n" in text
    assert "built without CUDA" in text
    assert "HDF5 1.14.4" in text
    assert health.to_dict()["healthy"] is True


@pytest.mark.parametrize(
    ("question", "answer", "broken"),
    [
        ("torch", ProbeResult(failed="the process ended with code -11: no message"), "torch"),
        ("torchvision", ProbeResult({"error": NMS}), "torchvision"),
        ("torchvision", ProbeResult({"nms": False}), "torchvision"),
        ("others", ProbeResult({"errors": {"h5py": "ImportError: libhdf5.so"}}), "h5py"),
    ],
)
def test_what_does_not_work_is_broken(
    answers: dict[str, ProbeResult], tmp_path: Path, question: str, answer: ProbeResult, broken: str
) -> None:
    answers[question] = answer
    health = examine(data=[tmp_path])
    assert [finding.name for finding in health.broken] == [broken]
    assert all(finding.remedy for finding in health.broken)
    assert f"Broken: {broken}." in health.text()


def test_packages_that_are_missing_or_too_old_are_broken(
    answers: Mapping[str, ProbeResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted = ["numpy>=1000", "no-such-package-anywhere>=1", 'unneeded>=9; extra == "test"']
    monkeypatch.setattr(packages.importlib.metadata, "requires", lambda name: wanted if name == "risctl" else [])
    broken = {finding.name: finding for finding in examine(data=[tmp_path]).broken}
    assert set(broken) == {"numpy", "no-such-package-anywhere"}
    assert "needs >=1000" in broken["numpy"].value
    assert broken["no-such-package-anywhere"].remedy == "pip install 'no-such-package-anywhere>=1'"


def test_gpus_are_named_with_their_memory(answers: dict[str, ProbeResult], tmp_path: Path) -> None:
    card = {"name": "Some GPU", "free": 3 * 2**30, "total": 8 * 2**30}
    answers["torch"] = ProbeResult({**answers["torch"].found, "cuda": [card], "cuda_build": "12.4"})
    values = {finding.name: finding.value for finding in examine(data=[tmp_path]).findings}
    assert values["cuda:0"] == "Some GPU, 3.0 GiB of 8.0 GiB free"


def test_files_that_are_no_stores_are_noted_not_broken(answers: Mapping[str, ProbeResult], tmp_path: Path) -> None:
    (tmp_path / "cut.h5").write_bytes(b"\x89HDF\r\n\x1a\n and no more")
    health = examine(data=[tmp_path, tmp_path / "absent"])
    found = {finding.name: finding for finding in health.findings if finding.section == "Data"}
    assert found[str(tmp_path / "cut.h5")].state == "note"
    assert "no such folder" in found[str(tmp_path / "absent")].value
    assert health.broken == []


def test_cached_weights_are_found(
    answers: Mapping[str, ProbeResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    blobs = hub_cache() / "models--openai--clip" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "abc").write_bytes(bytes(3 * 2**20))
    torch_cache().mkdir(parents=True)
    (torch_cache() / "resnet18.pth").write_bytes(bytes(2**20))
    text = examine(data=[tmp_path]).text()
    assert "openai/clip (3.0 MiB)" in text
    assert "resnet18.pth (1.0 MiB)" in text


def test_the_home_folder_is_not_given_away(
    answers: Mapping[str, ProbeResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    text = examine(data=[tmp_path / "data"]).text()
    assert str(tmp_path / "data") not in text
    assert f"~{os.sep}data" in text


def test_a_question_that_crashes_hangs_or_babbles_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    questions: dict[str, Any] = {
        "crash": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        "raise": "found['before'] = 1\nraise SystemExit('gone')",
        "babble": "print('a line')\nfound['x'] = 2",
        "hang": "import time\ntime.sleep(60)",
    }
    monkeypatch.setattr("risctl.environment.probes.PROBES", questions)
    found = run_probes(timeout=3.0)
    assert "ended with code -9" in str(found["crash"].failed)
    assert found["raise"] == ProbeResult({"before": 1}, "SystemExit: gone")
    assert found["babble"] == ProbeResult({"x": 2})
    assert "no answer within 3 seconds" in str(found["hang"].failed)


def test_the_shipped_model_and_missing_extras_are_named(
    answers: Mapping[str, ProbeResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    wanted = ['no-such-package-anywhere>=1; extra == "video"', 'packaging>=20; extra == "tables"']
    monkeypatch.setattr(packages.importlib.metadata, "requires", lambda name: wanted if name == "risctl" else [])
    health = examine(data=[tmp_path])
    values = {finding.name: finding.value for finding in health.findings}
    assert "comes with risctl" in values["mini"]
    assert "pip install 'risctl[video]'" in values["video"] and "no-such-package-anywhere" in values["video"]
    assert values["tables"].startswith("packaging ")
    assert health.broken == []
