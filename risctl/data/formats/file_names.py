"""Names the image files of a folder that is written: safe on every file system, and distinct."""

from __future__ import annotations

from risctl.output_files import safe_stem


class FileNames:
    """The names that were given in one folder; names that differ by capitals only count as the same."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def distinct(self, name: str, *, number: int) -> str:
        """Returns a safe name that no other image has.

        Folders in it stay, but for what would lead out of the folder of images.

        Args:
            name: The publisher's or the user's, with forward slashes.
            number: What tells the image from others of that name.
        """
        parts = [safe_stem(part) for part in name.split("/") if part not in ("", ".", "..")]
        safe = "/".join(parts) or f"{number}.jpg"
        if safe.casefold() in self._taken:
            stem, dot, ending = safe.rpartition(".")
            safe = f"{stem or safe}-{number}{dot}{ending if stem else ''}"
        self._taken.add(safe.casefold())
        return safe
