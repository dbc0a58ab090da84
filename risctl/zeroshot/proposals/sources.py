"""From what the user writes after --proposals to a source of proposals."""

from __future__ import annotations

from pathlib import Path

import torch

from risctl.data.store.reader import Store
from risctl.errors import UsageError
from risctl.zeroshot.proposals.base import ProposalSource
from risctl.zeroshot.proposals.embedded import Embedded, InstanceFinder
from risctl.zeroshot.proposals.embedded_model import instances, is_shipped
from risctl.zeroshot.proposals.files import open_files
from risctl.zeroshot.proposals.ground_truth import GroundTruth

SEGMENT_ANYTHING = ("sam", "sam2", "sam-hq", "edgetam")
MODELS = (*SEGMENT_ANYTHING, "mask2former", "mask-rcnn", "zsi")
"""Models that propose; `KIND:WHERE` names another one's folder, file or hub id."""

embedded: InstanceFinder | None = instances if is_shipped() else None
"""What finds instances without a download, if the package has it; `--proposals embedded`, and then the default."""


def default_source() -> str | None:
    """Return the source that is taken where none is named, None if there is no such source."""
    return None if embedded is None else "embedded"


def open_source(spec: str, *, device: torch.device, store: Store | None = None, most: int = 100) -> ProposalSource:
    """Return the source that `spec` names: `gt`, `embedded`, a model of `MODELS`, `KIND:WHERE`, a file or a folder.

    most: how many instances the embedded model is asked for. Raises `UsageError`, or what the source raises when it
    opens its files.
    """
    kind, _, where = spec.partition(":")
    if kind == "gt":
        if store is None:
            raise UsageError("ground-truth proposals are there for a store only (`risctl zeroshot eval`)")
        return GroundTruth(store)
    if kind == "embedded" and embedded is not None:
        return Embedded(embedded, most=most)
    if kind in SEGMENT_ANYTHING:
        from risctl.zeroshot.proposals.segment_anything import load_segment_anything

        return load_segment_anything(where or None, family=kind, device=device)
    if kind == "mask2former":
        from risctl.zeroshot.proposals.mask2former import DEFAULT as DEFAULT_MASK2FORMER
        from risctl.zeroshot.proposals.mask2former import load_mask2former

        return load_mask2former(where or DEFAULT_MASK2FORMER, device=device)
    if kind == "mask-rcnn":
        from risctl.zeroshot.proposals.mask_rcnn import load_mask_rcnn

        return load_mask_rcnn(where or None, device=device)
    if kind == "zsi":
        return _open_zsi(where, device=device, most=most)
    path = Path(spec).expanduser()
    if not path.exists():
        known = (*([] if embedded is None else ["embedded"]), "gt", *MODELS)
        raise UsageError(
            f"expected {', '.join(known)} (also KIND:FOLDER for models), or a file or folder of proposals; found no "
            f"{spec!r}"
        )
    return open_files(path)


def _open_zsi(where: str, *, device: torch.device, most: int) -> ProposalSource:
    """Return what the ZSI checkpoint or run `where` finds of its split's seen and unseen classes."""
    from risctl.inference.predictor import Predictor
    from risctl.systems.protocols import ZeroShotDetector
    from risctl.zeroshot.proposals.zsi import FoundByName

    if not where:
        raise UsageError("expected --proposals zsi:CHECKPOINT, a ZSI checkpoint or its run folder")
    predictor = Predictor.load(where, device=device.type)
    if not isinstance(predictor.system, ZeroShotDetector):
        raise UsageError(f"{where} holds no ZSI, which finds things by class; it answers phrases itself")
    split = predictor.system.class_split
    return FoundByName(predictor, (split.seen, split.unseen), name=f"ZSI {where}", most=most)
