"""The wheel, installed where nothing else of the project is: its first command answers, without a network."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email import message_from_string
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from risctl.checkpoints.loaded_model import SHIPPED
from risctl.evaluation.published.rows import TABLES
from risctl.recipe.shipped import shipped_ablations

REPOSITORY = Path(__file__).resolve().parents[1]
# Laid into the new environment: whoever asks for the network there is told so and fails.
NO_NETWORK = """
import socket


def refuse(*given, **named):
    raise OSError("the network is cut")


socket.socket.connect = socket.socket.connect_ex = socket.create_connection = socket.getaddrinfo = refuse
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    pytest.importorskip("hatchling", reason="hatchling, which builds the wheel, is not installed")
    if not (REPOSITORY / "pyproject.toml").is_file():
        pytest.skip("these tests do not stand in a checkout")
    if not SHIPPED.is_file():
        pytest.skip(f"this copy has no shipped model ({SHIPPED})")
    out = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", out, REPOSITORY)
    [path] = out.glob("risctl-*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a new environment with the wheel and this one's dependencies, without a network."""
    folder = tmp_path_factory.mktemp("new") / "environment"
    venv.create(folder, with_pip=False, symlinks=os.name == "posix")
    binaries = folder / ("bin" if os.name == "posix" else "Scripts")
    pip("--python", binaries / "python", "install", "--no-deps", "--no-index", "--no-compile", wheel)
    own = next(folder.rglob("site-packages"))
    (own / "sitecustomize.py").write_text(NO_NETWORK)
    # A plain line adds the folder but follows none of its own .pth files: an editable risctl there is not seen.
    (own / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return binaries


def pip(*arguments: object) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def run(installed: Path, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    kept = {
        name: os.environ[name] for name in ("SYSTEMROOT", "OMP_NUM_THREADS", "LD_LIBRARY_PATH") if name in os.environ
    }
    environment = {**kept, "PATH": str(installed), "HOME": str(folder)}
    return subprocess.run([*map(str, arguments)], cwd=folder, env=environment, capture_output=True, text=True)


def test_the_wheel_holds_model_card_and_recipes(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {"risctl/models/mini.safetensors", "risctl/models/mini.md", "risctl/recipes/mini.yaml"} <= names
    folders = {"recipes": REPOSITORY / "recipes", "evaluation/published/tables": TABLES}
    for name, folder in folders.items():
        files = [f"risctl/{name}/{file.relative_to(folder).as_posix()}" for file in folder.rglob("*.yaml")]
        assert len(files) > 5 and names >= {*files}
    ablations = [name for name in names if name.startswith("risctl/recipes/ablations/")]
    assert len(ablations) == len(shipped_ablations()) > 50
    assert not {name for name in names if name.startswith(("tests/", "tools/", "benchmarks/"))}
    assert wheel.stat().st_size < 25_000_000


def test_the_description_leads_somewhere_from_a_page_of_the_index(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = (one for one in archive.namelist() if one.endswith(".dist-info/METADATA"))
        metadata = message_from_string(archive.read(name).decode())
    assert metadata["Metadata-Version"] == "2.4" and metadata["Description-Content-Type"] == "text/markdown"
    text = metadata.get_payload()
    assert isinstance(text, str)
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)\s]+)", text)
    assert len(links) == len(re.findall(r"\]\(([^)\s]+)", readme)) > 5
    assert not [link for link in links if not link.startswith(("https://", "#"))]
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert pictures and all("/raw/" in picture for picture in pictures)


def test_the_first_command_answers_without_a_network(installed: Path, tmp_path: Path) -> None:
    pixels = np.full((240, 320, 3), (90, 140, 90), dtype=np.uint8)
    pixels[60:180, 100:220] = (200, 30, 30)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg")
    asked = "import risctl, socket; print(risctl.__file__); socket.create_connection(('localhost', 9))"
    cut = run(installed, tmp_path, installed / "python", "-c", asked)
    assert "the network is cut" in cut.stderr
    assert Path(cut.stdout.strip()).is_relative_to(installed.parent)
    answer = ("predict", "photo.jpg", "the red box on the left", "--always", "--json")
    done = run(installed, tmp_path, installed / "risctl", *answer)
    assert done.returncode == 0, done.stderr
    [record] = json.loads(done.stdout)
    assert Path(record["model"]).is_relative_to(installed.parent) and "network" not in done.stderr
    mask = np.asarray(Image.open(tmp_path / record["mask"]))
    assert mask.shape == (240, 320) and set(np.unique(mask)) <= {0, 255}
