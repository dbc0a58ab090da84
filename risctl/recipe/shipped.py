"""Finds the shipped recipes: inside the package when it is installed, else at the top of a checkout."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def shipped_folder() -> Path | None:
    """Returns the folder of the shipped recipes; None if this installation has none."""
    inside = _PACKAGE / "recipes"
    if inside.is_dir():
        return inside
    checkout = _PACKAGE.parent
    if (checkout / "recipes").is_dir() and (checkout / "pyproject.toml").is_file():
        return checkout / "recipes"
    return None


def shipped_recipes() -> dict[str, Path]:
    """Returns the shipped recipes, `{name: file}`, sorted by name."""
    return _files(shipped_folder())


def shipped_ablations() -> dict[str, Path]:
    """Returns the shipped ablations, `{name: file}`, sorted by name: rows of the papers' tables, each on a base."""
    folder = shipped_folder()
    return _files(folder / "ablations" if folder else None)


def _files(folder: Path | None) -> dict[str, Path]:
    return {file.stem: file for file in sorted(folder.glob("*.yaml"), key=lambda file: file.stem)} if folder else {}
