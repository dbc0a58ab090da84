"""Is everything there, and does it fit together? What is broken, and how to mend it."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version

import risctl
from risctl.environment.environment import cached_weights, devices, disks, language_models, stores
from risctl.environment.findings import Finding, Health
from risctl.environment.probes import Answer, ask_all

MEND_PAIR = (
    "install both anew from one source: `pip install --force-reinstall torch torchvision` "
    "(with the same --index-url for both, if you use one for CPU-only or CUDA builds)"
)


def examine(*, data: Sequence[Path] = (Path("data"),)) -> Health:
    """Look at the machine and the installation; `data` are the folders in which stores are looked for."""
    answers = ask_all()
    h5py_works = "h5py" not in answers["others"].found.get("errors", {"h5py": ""})
    return Health(
        [
            *_versions(answers),
            *_pair(answers),
            *devices(answers["torch"]),
            *disks(data),
            *stores(data, readable=h5py_works),
            *language_models(),
            *cached_weights(),
        ]
    )


def _versions(answers: Mapping[str, Answer]) -> Iterator[Finding]:
    def finding(name: str, value: str, **more: Any) -> Finding:
        return Finding(section="Versions", name=name, value=value, **more)

    yield finding("python", f"{platform.python_version()} ({platform.platform()}, {platform.machine()})")
    yield finding("risctl", f"{risctl.__version__} at {Path(risctl.__file__).parent}")
    others = answers["others"]
    errors: dict[str, str] = dict(others.found.get("errors", {}))
    if others.failed:
        yield finding("other packages", others.failed, state="broken", remedy="reinstall risctl in a new environment")
    for requirement in _requirements():
        name = requirement.name
        module = {"pillow": "PIL", "pycocotools": "pycocotools.mask"}.get(name, name)
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield finding(name, "not installed", state="broken", remedy=f"pip install '{requirement}'")
            continue
        if name == "h5py" and "hdf5" in others.found:
            version += f" (HDF5 {others.found['hdf5']})"
        if name == "torch":
            version = answers["torch"].found.get("torch", version)
        if not requirement.specifier.contains(Version(version.split()[0]), prereleases=True):
            wanted = str(requirement.specifier)
            yield finding(name, f"{version}, needs {wanted}", state="broken", remedy=f"pip install '{requirement}'")
        elif module in errors:
            remedy = MEND_PAIR if "torchvision" in errors[module] else f"pip install --force-reinstall {name}"
            yield finding(name, f"{version}, but {errors[module]}", state="broken", remedy=remedy)
        elif name == "torch" and answers["torch"].failed:
            yield finding(name, f"{version}, but {answers['torch'].failed}", state="broken", remedy=MEND_PAIR)
        elif name != "torchvision":
            yield finding(name, version)


def _requirements() -> list[Requirement]:
    try:
        wanted = importlib.metadata.requires("risctl") or []
    except importlib.metadata.PackageNotFoundError:
        wanted = ["torch", "torchvision", "numpy", "h5py", "transformers", "accelerate", "spacy"]
    requirements = [Requirement(text) for text in wanted]
    return [one for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})]


def _pair(answers: Mapping[str, Answer]) -> Iterator[Finding]:
    try:
        version = _version_in_files("torchvision") or importlib.metadata.version("torchvision")
        needs = importlib.metadata.requires("torchvision") or []
    except importlib.metadata.PackageNotFoundError:
        return
    torch_version = answers["torch"].found.get("torch")
    if torch_version is None:
        yield Finding(section="Versions", name="torchvision", value=f"{version}, not tried as torch does not work")
        return
    answer = answers["torchvision"]
    error = answer.failed or answer.found.get("error")
    if error is None and not answer.found.get("nms"):
        error = "nms gives a wrong answer"
    yield judge_pair(torch=torch_version, torchvision=version, needs=needs, error=error)


def judge_pair(*, torch: str, torchvision: str, needs: Sequence[str], error: str | None) -> Finding:
    """Return whether torch and torchvision fit each other.

    `torch`, `torchvision`: versions with their build tag (`2.6.0+cpu`); `needs`: what torchvision's metadata requires;
    `error`: what came of importing torchvision and calling one of its compiled operators, None if they work.
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
    if error and "torchvision::nms does not exist" in error:
        why = (
            why or "they come from different builds, typically a CPU-only torch beside the package index's torchvision"
        )
    if error:
        value = f"{named}: {error}" + (f"; {why}" if why else "")
        return Finding(section="Versions", name="torchvision", value=value, state="broken", remedy=MEND_PAIR)
    if why:
        value = f"{named}: works, but {why}"
        return Finding(section="Versions", name="torchvision", value=value, state="note", remedy=MEND_PAIR)
    return Finding(section="Versions", name="torchvision", value=torchvision)


def _build(version: str) -> str | None:
    """Return the build that a version's tag names (`cpu`, `cu124`, `rocm6.2`), None if it names none."""
    tag = Version(version).local
    return tag if tag and re.match(r"cpu|cu\d|rocm|xpu", tag) else None


def _version_in_files(package: str) -> str | None:
    """Return the version that `package`'s files state, with its build tag, without importing it."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin).parent / "version.py"
    if not file.is_file():
        return None
    match = re.search(r"^__version__ = ['\"]([^'\"]+)['\"]", file.read_text(encoding="utf-8"), re.MULTILINE)
    return match[1] if match else None
