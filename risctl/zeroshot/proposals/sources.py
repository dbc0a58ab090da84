"""Names the sources of mask proposals and opens one by what the user writes after `--proposals`."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from risctl.errors import UsageError, unknown_name

if TYPE_CHECKING:
    import torch

    from risctl.data.store.reader import Store
    from risctl.zeroshot.proposals.base import ProposalSource


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceEntry:
    """A source that can be named.

    Attributes:
        help: One line for a person.
        build: "module:function"; the function takes `SourceOptions` and returns a `ProposalSource`. Only the chosen
            source's module is imported, since some need packages that take seconds to import.
    """

    help: str
    build: str


_HERE = "risctl.zeroshot.proposals"
SOURCES = {
    "embedded": SourceEntry(help="the model that comes with risctl", build=f"{_HERE}.detector:build_embedded"),
    "sam": SourceEntry(help="SAM, or any model of its family", build=f"{_HERE}.segment_anything:build"),
    "sam2": SourceEntry(help="SAM 2", build=f"{_HERE}.segment_anything:build"),
    "sam-hq": SourceEntry(help="SAM-HQ", build=f"{_HERE}.segment_anything:build"),
    "edgetam": SourceEntry(help="EdgeTAM", build=f"{_HERE}.segment_anything:build"),
    "mask2former": SourceEntry(help="Mask2Former's instances", build=f"{_HERE}.mask2former:build"),
    "mask-rcnn": SourceEntry(help="torchvision's Mask R-CNN", build=f"{_HERE}.mask_rcnn:build"),
    "zsi": SourceEntry(help="what a ZSI checkpoint detects (zsi:CHECKPOINT)", build=f"{_HERE}.detector:build_zsi"),
    "gt": SourceEntry(help="the store's own annotations, an upper bound", build=f"{_HERE}.ground_truth:build"),
}
"""Every source by the name that the user gives it. To add one: a file with its `build`, and a line here."""


def default_source() -> str | None:
    """Returns the name of the source that is used where none is named; None if this copy of risctl lacks its model."""
    from risctl.checkpoints import loaded_model

    return "embedded" if loaded_model.SHIPPED.is_file() else None


def open_source(spec: str, *, device: torch.device, store: Store | None = None, max_count: int = 100) -> ProposalSource:
    """Opens a source of proposals.

    Args:
        spec: A name in `SOURCES`, `NAME:LOCATION`, or a file or folder of proposals.
        device: Where a model computes.
        store: The store that is evaluated, None for an image of the user's.
        max_count: How many proposals a detector may give.

    Raises:
        UsageError: `spec` names neither a source nor a file.
        RisctlError: What the source raises when it opens its files.
    """
    from risctl.zeroshot.proposals.base import SourceOptions
    from risctl.zeroshot.proposals.files import open_proposal_files

    name, _, location = spec.partition(":")
    if name in SOURCES:
        module, _, function = SOURCES[name].build.partition(":")
        options = SourceOptions(name=name, location=location, device=device, store=store, max_count=max_count)
        source: ProposalSource = getattr(import_module(module), function)(options)
        return source
    path = Path(spec).expanduser()
    if not path.exists():
        raise UsageError(
            f"{unknown_name('source of proposals', spec, SOURCES)} (models also as NAME:FOLDER), or a file or folder "
            "of proposals"
        )
    return open_proposal_files(path)
