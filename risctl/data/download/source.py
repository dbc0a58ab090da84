"""One downloadable archive or file: where its mirrors lie and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """An archive or a file that can be downloaded.

    Attributes:
        file_name: Its name; a zip is unpacked and removed.
        mirrors: Addresses in the order in which they are tried. `hf://datasets/OWNER/NAME/FILE` means the file of
            that name, in whichever folder of that dataset on the Hugging Face hub.
        folder: Where it belongs, or is unpacked, from the data root.
        about: Its rough size in bytes, for people and for the check of free space.
        provides: A file, from the data root, that is there once the source was fetched; of images empty.
        size: Its exact size in bytes, checked if given.
        sha256: Its SHA-256 in hex, checked if given.
        table: A dataset on the hub that stands in if no mirror answers.
    """

    file_name: str
    mirrors: tuple[str, ...]
    folder: str
    about: int
    provides: str = ""
    size: int | None = None
    sha256: str | None = None
    table: str | None = None

    @property
    def is_archive(self) -> bool:
        """Whether it is unpacked after the download."""
        return self.file_name.endswith(".zip")
