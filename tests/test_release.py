"""What a release needs: one version, a changelog in order, a conda recipe that asks for what the wheel asks for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import risctl

REPOSITORY = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA = yaml.safe_load((REPOSITORY / "conda" / "recipe.yaml").read_text(encoding="utf-8"))


def test_every_file_has_the_version() -> None:
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == CONDA["context"]["version"] == risctl.__version__
    assert "version" in PROJECT["dynamic"]


def test_the_changelog_begins_with_this_version() -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    assert re.match(r"\[?" + re.escape(re.match(r"[\d.]*\d", risctl.__version__)[0]) + r"\b", sections[0])


def test_conda_asks_for_what_the_wheel_asks_for() -> None:
    called = {"torch": "pytorch"}
    wanted = [re.match(r"([\w-]+)(.*)", one) for one in PROJECT["dependencies"]]
    expected = [f"{called.get(name, name)} {bound}" for name, bound in (one.groups() for one in wanted if one)]
    assert CONDA["requirements"]["run"] == [f"python {PROJECT['requires-python']}", *expected]
    assert CONDA["build"]["python"]["entry_points"] == [f"{name} = {at}" for name, at in PROJECT["scripts"].items()]


def test_every_python_that_is_named_is_tried() -> None:
    named = [one.rpartition(" ")[2] for one in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", one)]
    for workflow, job in (("release.yml", "try"), ("ci.yml", "linux")):
        jobs = yaml.safe_load((REPOSITORY / ".github" / "workflows" / workflow).read_text(encoding="utf-8"))["jobs"]
        assert jobs[job]["strategy"]["matrix"]["python"] == named


def test_actions_are_pinned_and_the_token_may_little() -> None:
    for workflow in sorted((REPOSITORY / ".github" / "workflows").glob("*.yml")):
        text = workflow.read_text(encoding="utf-8")
        used = re.findall(r"uses: (\S+)(.*)", text)
        assert used and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action) for action, _ in used)
        assert all(re.fullmatch(r" # v\d+\.\d+\.\d+", said) for _, said in used)
        assert text.count("persist-credentials: false") == text.count("actions/checkout@")
        assert yaml.safe_load(text)["permissions"] in ({}, {"contents": "read"})


def test_an_image_is_built_from_files_that_its_context_has() -> None:
    lines = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8").splitlines()
    copied = {name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]}
    context = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert context[0] == "*" and {line[1:] for line in context if line.startswith("!")} == copied
    assert all((REPOSITORY / name).exists() for name in copied)
    # What builds the wheel from them.
    assert copied >= {"pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "risctl", "recipes"}


SECTIONS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]


def test_the_changelog_has_the_form_of_keep_a_changelog() -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.startswith("# Changelog\n") and "keepachangelog.com" in text.split("\n## ")[0]
    versions = re.findall(r"^## (.*)$", text, flags=re.MULTILINE)
    parsed = [re.fullmatch(r"\[(\d+)\.(\d+)\.(\d+)\] - (unreleased|\d{4}-\d{2}-\d{2})", one) for one in versions]
    assert len(versions) > 1 and all(parsed)
    numbers = [tuple(int(part) for part in one.groups()[:3]) for one in parsed if one]
    assert numbers == sorted(set(numbers), reverse=True)
    # Only the version at the top may be in the making.
    assert "unreleased" not in [one[4] for one in parsed[1:] if one]
    assert (parsed[0] is not None and parsed[0][4] == "unreleased") == (".dev" in risctl.__version__)
    for block in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        names = re.findall(r"^### (.*)$", block, flags=re.MULTILINE)
        assert names and names == [name for name in SECTIONS if name in names]
        for section in re.split(r"^### ", block, flags=re.MULTILINE)[1:]:
            lines = section.splitlines()[1:]
            entries = re.split(r"^- ", "\n".join(lines), flags=re.MULTILINE)[1:]
            assert entries and all(entry.strip() for entry in entries)
            broken = ["**Breaking.**" in entry for entry in entries]
            assert broken == sorted(broken, reverse=True), "what breaks stands first"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("## [0.2.0]", "## 0.2.0"),
        ("### Changed", "### Changes"),
        ("[0.1.0] - 2", "[0.3.0] - 2"),
        ("# Changelog", "# News"),
    ],
)
def test_another_form_is_noticed(old: str, new: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "CHANGELOG.md").write_text(text.replace(old, new, 1), encoding="utf-8")
    monkeypatch.setitem(globals(), "REPOSITORY", tmp_path)
    with pytest.raises(AssertionError):
        test_the_changelog_has_the_form_of_keep_a_changelog()
