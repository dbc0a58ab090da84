"""What a release publishes is looked into: two files of one version, the same contents, nothing too much."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAM = REPOSITORY / "tools" / "release_check.py"

_spec = importlib.util.spec_from_file_location("release_check", PROGRAM)
assert _spec is not None and _spec.loader is not None
release = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(release)


def made_wheel(folder: Path, *names: str, version: str = "1.2.0", large: int = 0) -> Path:
    path = folder / f"risctl-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name in (*(f"{one}x" if one.endswith("/") else one for one in release.NEEDED), *names):
            archive.writestr(name, "text")
        archive.writestr("risctl/large", bytes(large))
    return path


def test_a_folder_holds_one_file_of_each_kind(tmp_path: Path) -> None:
    wheel = made_wheel(tmp_path)
    with pytest.raises(release.WrongError, match="got 1 and 0"):
        release.find(tmp_path)
    source = tmp_path / "risctl-1.2.0.tar.gz"
    source.write_bytes(b"")
    assert release.find(tmp_path) == (wheel, source)
    release.check_names(wheel, source, version="v1.2.0")
    with pytest.raises(release.WrongError, match=r"expected version 1\.3\.0, got 1\.2\.0"):
        release.check_names(wheel, source, version="v1.3.0")
    with pytest.raises(release.WrongError, match="one version"):
        release.check_names(wheel, tmp_path / "risctl-1.1.0.tar.gz", version=None)


@pytest.mark.parametrize(
    "name", ["tests/test_api.py", "risctl/__pycache__/a.pyc", "tools/gallery.py", "risctl/data/a.h5"]
)
def test_what_is_not_the_packages_is_refused(name: str, tmp_path: Path) -> None:
    release.check_contents(made_wheel(tmp_path, "risctl-1.2.0.dist-info/RECORD"))
    with pytest.raises(release.WrongError, match=name):
        release.check_contents(made_wheel(tmp_path, name))


def test_a_wheel_is_small_and_whole(tmp_path: Path) -> None:
    with pytest.raises(release.WrongError, match="more than 25"):
        release.check_contents(made_wheel(tmp_path, large=release.MAX_BYTES))
    empty = tmp_path / "risctl-1.2.0-py3-none-any.whl"
    with zipfile.ZipFile(empty, "w"):
        pass
    with pytest.raises(release.WrongError, match=r"mini\.safetensors"):
        release.check_contents(empty)


@pytest.mark.slow
def test_a_file_that_the_source_lacks_is_named(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed")
    project = tmp_path / "risctl-1.2.0"
    (project / "risctl").mkdir(parents=True)
    (project / "risctl" / "__init__.py").write_text('"""Nothing."""\n')
    (project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "risctl"\nversion = "1.2.0"\n'
    )
    source = tmp_path / "risctl-1.2.0.tar.gz"
    with tarfile.open(source, "w:gz") as archive:
        archive.add(project, arcname=project.name)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w"]
    subprocess.run([*pip, str(tmp_path), str(project)], check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    release.compare_with_source(wheel, source)
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr("risctl/more.py", "")
    with pytest.raises(release.WrongError, match=r"another wheel: risctl/more\.py"):
        release.compare_with_source(wheel, source)


@pytest.mark.slow
def test_the_source_distribution_of_this_checkout_builds_its_wheel(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed")
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    done = subprocess.run([sys.executable, str(PROGRAM), str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "builds the same wheel" in done.stdout
    shutil.rmtree(tmp_path)
