"""Examines the installed packages: versions, extras, and whether torch and torchvision fit each other."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version

import risctl
from risctl.environment.probes import ProbeResult
from risctl.environment.report import Finding

REINSTALL_PAIR = (
    "reinstall both from one source: `pip install --force-reinstall torch torchvision` "
    "(with the same --index-url for both, if you use one for CPU-only or CUDA builds)"
)

WAIT = "`risctl doctor --full` waits for it"

# What is said when torchvision's operators were compiled for another torch.
_OF_ANOTHER_BUILD = ("torchvision::nms does not exist", "undefined symbol", "cannot open shared object file")

# The extras of risctl and what they are for.
EXTRAS = {
    "video": "reads and writes video files",
    "tables": "reads the RefCOCO annotations from the Hugging Face hub when no mirror responds",
    "tensorboard": "writes training logs for TensorBoard",
    "wandb": "sends training figures to Weights & Biases",
    "edgetam": "EdgeTAM as a source of proposals",
    "onnx": "predicts with exported models, without torch",
    "export": "writes models as ONNX graphs",
}


def examine_packages(probes: Mapping[str, ProbeResult]) -> Iterator[Finding]:
    """Yields the versions of Python, risctl and the packages that it requires."""

    def finding(name: str, value: str, **more: Any) -> Finding:
        return Finding(section="Versions", name=name, value=value, **more)

    yield finding("python", f"{platform.python_version()} ({platform.platform()}, {platform.machine()})")
    yield finding("risctl", f"{risctl.__version__} at {Path(risctl.__file__).parent}")
    compiled = probes["compiled"]
    errors: dict[str, str] = {}
    for probe in (compiled, probes.get("slow", ProbeResult())):
        errors.update(probe.found.get("errors", {}))
        if probe.failed and not probe.is_late:
            remedy = "reinstall risctl in a new environment"
            yield finding("other packages", probe.failed, state="broken", remedy=remedy)
    for requirement in _requirements():
        name = requirement.name
        module = {"pillow": "PIL", "pycocotools": "pycocotools.mask"}.get(name, name)
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield finding(name, "not installed", state="broken", remedy=f"pip install '{requirement}'")
            continue
        if name == "h5py" and "hdf5" in compiled.found:
            version += f" (HDF5 {compiled.found['hdf5']})"
        if name == "torch":
            version = probes["torch"].found.get("torch") or _version_in_files("torch") or version
        if not requirement.specifier.contains(Version(version.split()[0]), prereleases=True):
            needed = str(requirement.specifier)
            yield finding(name, f"{version}, needs {needed}", state="broken", remedy=f"pip install '{requirement}'")
        elif module in errors and name != "torchvision":
            remedy = REINSTALL_PAIR if "torchvision" in errors[module] else f"pip install --force-reinstall {name}"
            yield finding(name, f"{version}, but {errors[module]}", state="broken", remedy=remedy)
        elif name == "torch" and probes["torch"].is_late:
            yield finding(name, f"{version}, {_unexamined(probes['torch'])}", state="unexamined", remedy=WAIT)
        elif name == "torch" and probes["torch"].failed:
            yield finding(name, f"{version}, but {probes['torch'].failed}", state="broken", remedy=REINSTALL_PAIR)
        elif name != "torchvision":
            yield finding(name, version)


def _unexamined(probe: ProbeResult) -> str:
    return f"{probe.failed}: the machine is busy, or reads the package for the first time"


def examine_extras() -> Iterator[Finding]:
    """Yields the optional extras of risctl, installed or not."""
    for extra, purpose in EXTRAS.items():
        names = [requirement.name for requirement in _requirements(extra)]
        missing = [name for name in names if _installed_version(name) is None]
        if missing:
            value = f"not installed ({', '.join(missing)}): {purpose}; pip install 'risctl[{extra}]'"
        else:
            value = ", ".join(f"{name} {_installed_version(name)}" for name in names)
        if names:
            yield Finding(section="Optional packages", name=extra, value=value)


def _installed_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _requirements(extra: str = "") -> list[Requirement]:
    """Returns what risctl requires, or what one of its extras adds."""
    try:
        texts = importlib.metadata.requires("risctl") or []
    except importlib.metadata.PackageNotFoundError:
        texts = [] if extra else ["torch", "torchvision", "numpy", "h5py", "transformers", "accelerate", "spacy"]
    requirements = [Requirement(text) for text in texts]
    if extra:
        return [
            requirement
            for requirement in requirements
            if requirement.marker is not None and _belongs_to(requirement, extra)
        ]
    return [
        requirement
        for requirement in requirements
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""})
    ]


def _belongs_to(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})


def examine_torchvision(probes: Mapping[str, ProbeResult]) -> Iterator[Finding]:
    """Yields whether torchvision fits torch."""
    try:
        version = _version_in_files("torchvision") or importlib.metadata.version("torchvision")
        needs = importlib.metadata.requires("torchvision") or []
    except importlib.metadata.PackageNotFoundError:
        return
    torch_version = probes["torch"].found.get("torch")
    probe = probes["torchvision"]
    if torch_version is None and not probes["torch"].is_late:
        yield Finding(section="Versions", name="torchvision", value=f"{version}, not examined as torch does not work")
        return
    torch_version = torch_version or _version_in_files("torch") or importlib.metadata.version("torch")
    error = None if probe.is_late else probe.failed or probe.found.get("error")
    if error is None and probe.found.get("nms") is False:
        error = "nms gives a wrong answer"
    error = error or probes.get("slow", ProbeResult()).found.get("errors", {}).get("torchvision")
    finding = judge_pair(torch=torch_version, torchvision=version, needs=needs, error=error)
    if probe.is_late and finding.state == "ok":
        finding = replace(finding, value=f"{version}, {_unexamined(probe)}", state="unexamined", remedy=WAIT)
    yield finding


def judge_pair(*, torch: str, torchvision: str, needs: Sequence[str], error: str | None) -> Finding:
    """Returns the finding on whether torch and torchvision fit each other.

    Args:
        torch: The version with its build tag (`2.6.0+cpu`).
        torchvision: The version with its build tag.
        needs: What torchvision's metadata requires.
        error: The error of importing torchvision and calling one of its compiled operators, None if they work.
    """
    named = f"{torchvision} with torch {torch}"
    needed = next((one for one in map(Requirement, needs) if one.name == "torch"), None)
    builds = _build(torch), _build(torchvision)
    if needed and not needed.specifier.contains(Version(torch).public, prereleases=True):
        why = f"this torchvision is built for torch{needed.specifier}"
    elif all(builds) and builds[0] != builds[1]:
        why = f"they come from different builds, {builds[0]} and {builds[1]}"
    else:
        why = ""
    if error and any(sign in error for sign in _OF_ANOTHER_BUILD):
        why = (
            why or "they come from different builds, typically a CPU-only torch beside the package index's torchvision"
        )
    if error:
        value = f"{named}: {error}" + (f"; {why}" if why else "")
        return Finding(section="Versions", name="torchvision", value=value, state="broken", remedy=REINSTALL_PAIR)
    if why:
        value = f"{named}: works, but {why}"
        return Finding(section="Versions", name="torchvision", value=value, state="note", remedy=REINSTALL_PAIR)
    return Finding(section="Versions", name="torchvision", value=torchvision)


def _build(version: str) -> str | None:
    """Returns the build that a version's tag names (`cpu`, `cu124`, `rocm6.2`), None if it names none."""
    tag = Version(version).local
    return tag if tag and re.match(r"cpu|cu\d|rocm|xpu", tag) else None


def _version_in_files(package: str) -> str | None:
    """Returns the version that `package`'s files state, with its build tag, without importing it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / "version.py"
    if not file.is_file():
        return None
    match = re.search(r"^__version__ = ['\"]([^'\"]+)['\"]", file.read_text(encoding="utf-8"), re.MULTILINE)
    return match[1] if match else None
