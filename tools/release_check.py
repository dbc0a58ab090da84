"""Checks what a release publishes: a wheel and a source distribution in one folder.

    python -m build && python tools/release_check.py dist
    python tools/release_check.py dist --install [--python python3.13] [--torch "torch torchvision --index-url …"]

The first looks into both files and builds the wheel again from the source distribution: its contents must be equal,
byte for byte. The second also installs the wheel into a new environment outside of the repository, and asks it for
masks with the network cut off; it prints how long the installation took and what is large in it. Exit code 1 says what
is wrong.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
PICTURE = REPOSITORY / "docs" / "pictures" / "coffee.jpg"

MAX_BYTES = 25_000_000
"""The most that the wheel may have. A package index takes 100 MB of a file without asking."""
LARGE = 20
"""MB from which on a part of the environment is named."""

NEEDED = (
    "risctl/models/mini.safetensors",
    "risctl/models/mini.md",
    "risctl/models/mini_onnx/encode.onnx",
    "risctl/recipes/mini.yaml",
    "risctl/recipes/ablations/",
    "risctl/evaluation/published/tables/",
    "risctl/language/english_parser/",
    "risctl/demo/page/",
    "risctl/py.typed",
)
# Nothing of the repository's other folders belongs into the wheel.
UNWANTED = re.compile(r"^(?!risctl/|risctl-[^/]*\.dist-info/)|__pycache__|\.pyc$|\.h5$|(^|/)tests?/")

# Laid into the new environment, for where the system has no network namespaces.
NO_NETWORK = """
import socket


def refuse(*given, **named):
    raise OSError("the network is cut")


socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse
"""


class WrongError(Exception):
    """What is wrong with the files of a release."""


def main() -> int:
    """Checks the folder that the command names. Returns the exit code."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("folder", type=Path)
    options.add_argument("--install", action="store_true", help="install the wheel and predict without a network")
    options.add_argument("--python", default=sys.executable, help="of the new environment (default: this one)")
    options.add_argument("--torch", default="", help="what pip installs before the wheel, such as a build for CPUs")
    options.add_argument("--version", help="the version that both files must have, such as 0.2.0 or a tag v0.2.0")
    asked = options.parse_args()
    try:
        wheel, source = find(asked.folder)
        check_names(wheel, source, version=asked.version)
        check_contents(wheel)
        compare_with_source(wheel, source)
        if asked.install:
            install(wheel, python=asked.python, before=shlex.split(asked.torch))
    except WrongError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    return 0


def find(folder: Path) -> tuple[Path, Path]:
    """Returns the wheel and the source distribution of a folder that holds one of each."""
    wheels, sources = sorted(folder.glob("*.whl")), sorted(folder.glob("*.tar.gz"))
    if len(wheels) != 1 or len(sources) != 1:
        raise WrongError(f"expected one wheel and one .tar.gz in {folder}, got {len(wheels)} and {len(sources)}")
    return wheels[0].resolve(), sources[0].resolve()


def check_names(wheel: Path, source: Path, *, version: str | None) -> None:
    """Refuses files of two versions, or of another one than was asked for."""
    found = wheel.name.split("-")[1]
    if source.name != f"risctl-{found}.tar.gz" or wheel.name != f"risctl-{found}-py3-none-any.whl":
        raise WrongError(f"{wheel.name} and {source.name} are not risctl's wheel and source of one version")
    if version is not None and version.removeprefix("v") != found:
        raise WrongError(f"expected version {version.removeprefix('v')}, got {found}")


def check_contents(wheel: Path) -> None:
    """Refuses a wheel that is too large, lacks what the first command needs, or holds what is not the package's."""
    with zipfile.ZipFile(wheel) as archive:
        sizes = {one.filename: one.file_size for one in archive.infolist()}
    lacking = [need for need in NEEDED if not any(name.startswith(need) for name in sizes)]
    unwanted = [name for name in sizes if UNWANTED.search(name)]
    if lacking or unwanted:
        raise WrongError(f"the wheel lacks {lacking or 'nothing'} and has {unwanted[:5] or 'nothing'} too much")
    size = wheel.stat().st_size
    if size > MAX_BYTES:
        raise WrongError(f"the wheel has {size / 1e6:.1f} MB, more than {MAX_BYTES / 1e6:.0f}")
    print(f"{wheel.name}: {size / 1e6:.1f} MB, {len(sizes):,} files")
    for name, number in sorted(sizes.items(), key=lambda pair: -pair[1])[:5]:
        print(f"  {number / 1e6:6.1f} MB  {name}")


def compare_with_source(wheel: Path, source: Path) -> None:
    """Builds the wheel again from the source distribution alone and refuses any difference in its files."""
    with tempfile.TemporaryDirectory() as folder:
        _extract(source, Path(folder))
        [project] = Path(folder).iterdir()
        # A builder of this environment is taken where there is one, which needs no network.
        isolation = [] if importlib.util.find_spec("hatchling") is None else ["--no-build-isolation"]
        _run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", *isolation, "-w", folder, str(project)])
        [again] = Path(folder).glob("*.whl")
        before, after = contents(wheel), contents(again)
    differing = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if differing:
        raise WrongError(f"the source distribution builds another wheel: {', '.join(differing[:5])}")
    print(f"{source.name}: {source.stat().st_size / 1e6:.1f} MB, builds the same wheel")


def contents(wheel: Path) -> dict[str, bytes]:
    """Returns the files of a wheel by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _extract(source: Path, folder: Path) -> None:
    with tarfile.open(source) as archive:
        archive.extractall(folder, filter="data")


def install(wheel: Path, *, python: str, before: list[str]) -> None:
    """Installs the wheel into a new environment and predicts there without a network."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        environment = folder / "environment"
        if python == sys.executable:
            venv.create(environment, with_pip=True, symlinks=os.name == "posix")
        else:
            _run([python, "-m", "venv", str(environment)])
        binaries = environment / ("bin" if os.name == "posix" else "Scripts")
        pip = [str(binaries / "python"), "-m", "pip", "install", "-q", "--no-cache-dir"]
        begun = time.monotonic()
        if before:
            _run([*pip, *before])
        _run([*pip, str(wheel)])
        print(f"installed in {time.monotonic() - begun:.0f} s")
        _print_sizes(environment)
        _predict(binaries, folder)


def _print_sizes(environment: Path) -> None:
    [packages] = (path for path in environment.rglob("site-packages") if path.is_dir())
    sizes = {path.name: _megabytes(path) for path in packages.iterdir()}
    print(f"{_megabytes(environment):,.0f} MB")
    for name, size in sorted(sizes.items(), key=lambda pair: -pair[1]):
        if size >= LARGE:
            print(f"  {size:6,.0f} MB  {name}")


def _megabytes(path: Path) -> float:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.lstat().st_size for file in files if not file.is_dir() or file.is_symlink()) / 1e6


def _predict(binaries: Path, folder: Path) -> None:
    """Asks the new environment for a mask, in a folder of its own and with the network cut."""
    [packages] = (path for path in binaries.parent.rglob("site-packages") if path.is_dir())
    (packages / "sitecustomize.py").write_text(NO_NETWORK, encoding="utf-8")
    shutil.copy(PICTURE, folder / "coffee.jpg")
    kept = {name: os.environ[name] for name in ("SYSTEMROOT", "OMP_NUM_THREADS") if name in os.environ}
    closed = {f"{kind}_proxy": "http://127.0.0.1:9" for kind in ("http", "https", "all")}  # for what is not Python
    alone = {**kept, **closed, "PATH": str(binaries), "HOME": str(folder)}
    command = [str(binaries / "risctl"), "predict", "coffee.jpg", "the cup", "the spoon", "--out", "masks", "--json"]
    begun = time.monotonic()
    done = subprocess.run([*_without_network(), *command], cwd=folder, env=alone, capture_output=True, text=True)
    if done.returncode:
        raise WrongError(f"`risctl predict` ended with {done.returncode}: {done.stderr.strip()}")
    records = json.loads(done.stdout)
    masks = [folder / record["mask"] for record in records]
    if len(masks) != 2 or not all(mask.is_file() for mask in masks):
        raise WrongError(f"expected two masks, got {done.stdout}")
    print(
        f"predicted in {time.monotonic() - begun:.1f} s without a network: {records[0]['text']}, {records[1]['text']}"
    )


def _without_network() -> list[str]:
    """Returns what starts a command in a network namespace without interfaces, where the system lets one."""
    program = shutil.which("unshare")
    command = [] if program is None else [program, "--map-root-user", "--net"]
    return command if command and not subprocess.run([*command, "true"], capture_output=True).returncode else []


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise WrongError(
            f"`{shlex.join(command)}` ended with {done.returncode}:\n{(done.stderr or done.stdout)[-2000:]}"
        )


if __name__ == "__main__":
    sys.exit(main())
