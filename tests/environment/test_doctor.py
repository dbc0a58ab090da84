"""`risctl doctor`: what it finds, what it calls broken, and what it advises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from risctl.environment import doctor, packages
from risctl.environment.doctor import examine
from risctl.environment.packages import REINSTALL_PAIR, judge_pair
from risctl.environment.probes import FULL, PROBES, ProbeResult, probing
from risctl.environment.resources import hub_cache, torch_cache

NMS = "RuntimeError: operator torchvision::nms does not exist"


def healthy() -> dict[str, ProbeResult]:
    """Answers of a machine on which everything works."""
    return {
        "torch": ProbeResult({"torch": "2.6.0", "cuda_build": None, "threads": 2, "mps": False}),
        "torchvision": ProbeResult({"nms": True}),
        "gpus": ProbeResult({"cuda": []}),
        "compiled": ProbeResult({"errors": {}, "hdf5": "1.14.4"}),
    }


class Answers:
    """Stands in for the probes."""

    def __init__(self, found: dict[str, ProbeResult]) -> None:
        self._found = found

    def result(self, name: str) -> ProbeResult:
        return self._found[name]

    def results(self) -> dict[str, ProbeResult]:
        return self._found


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, ProbeResult]:
    """The answers that `examine` gets; a test may change them."""
    found = healthy()
    monkeypatch.setattr(doctor, "probing", lambda chains, *, seconds: nullcontext(Answers(found)))
    monkeypatch.setattr(packages, "_version_in_files", {"torch": "2.6.0", "torchvision": "0.21.0"}.get)
    requires = ["torch>=2", "torchvision>=0.15", "h5py>=3", "spacy>=3"]
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
        [sys.executable, "-m", "risctl", "doctor", "--full", "--json", "--data-root", str(tmp_path)],
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
        ("compiled", ProbeResult({"errors": {"h5py": "ImportError: libhdf5.so"}}), "h5py"),
        ("slow", ProbeResult({"errors": {"spacy": "ValueError: numpy.dtype size changed"}}), "spacy"),
        ("slow", ProbeResult({"errors": {"torchvision": NMS}}), "torchvision"),
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
    answers["torch"] = ProbeResult({**answers["torch"].found, "cuda_build": "12.4"})
    answers["gpus"] = ProbeResult({"cuda": [card]})
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
        "fine": "found['x'] = 1",
        "crash": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
        "raise": "found['before'] = 1\nraise SystemExit('gone')",
        "babble": "print('a line')\nfound['x'] = 2",
        "hang": "import time\ntime.sleep(60)",
        "after": "found['x'] = 3",
    }
    monkeypatch.setattr("risctl.environment.probes.PROBES", questions)
    with probing((("fine", "crash", "after"), ("raise", "babble", "hang")), seconds=2.0) as probes:
        found = probes.results()
    # What was answered before a crash or a hang stands.
    assert found["fine"] == ProbeResult({"x": 1})
    assert all("ended with code -9" in str(found[name].failed) for name in ("crash", "after"))
    assert found["raise"] == ProbeResult({"before": 1}, "SystemExit: gone")
    assert found["babble"] == ProbeResult({"x": 2})
    assert found["hang"].is_late and "no answer within 2.0 seconds" in str(found["hang"].failed)


def test_every_probe_that_is_asked_is_there() -> None:
    assert {name for chain in FULL for name in chain} == set(PROBES)


def test_what_does_not_answer_in_time_is_not_examined_rather_than_broken(
    answers: dict[str, ProbeResult], tmp_path: Path
) -> None:
    late = ProbeResult(failed="no answer within 2.4 seconds", is_late=True)
    answers.update(torch=late, torchvision=late, gpus=late)
    health = examine(data=[tmp_path])
    assert health.broken == []
    assert [one.name for one in health.findings if one.state == "unexamined"] == ["torch", "torchvision"]
    assert health.text().endswith("Nothing broken was found; not examined: torch, torchvision.")
    assert "doctor --full" in health.text()


def test_it_takes_three_seconds_though_torch_takes_a_minute(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("import time; time.sleep(60)", encoding="utf-8")
    began = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-m", "risctl", "doctor", "--json"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    took = time.monotonic() - began
    assert ran.returncode == 0, ran.stderr
    states = {one["name"]: one["state"] for one in json.loads(ran.stdout)["findings"]}
    assert states["torch"] == "unexamined" and states["h5py"] == "ok" and "mini" in states
    assert took < 4.5  # 3 seconds, on a machine that runs other tests beside it


def test_free_cores_and_the_threads_that_come_of_them_are_named(
    answers: Mapping[str, ProbeResult], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "free_cores", lambda: 0.4)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    values = {one.name: one.value for one in examine(data=[tmp_path]).findings}
    assert f"of {os.cpu_count()} cores, 0.4 of them free" in values["cpu"]
    assert values["threads"] == "2, by OMP_NUM_THREADS=7"
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert {one.name: one.value for one in examine(data=[tmp_path]).findings}["threads"].startswith("1 on the CPU")


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
