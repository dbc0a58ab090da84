"""Holds what is measured of each expression of a video, and computes a protocol's figures from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from risctl.data.datasets.registry import DATASETS
from risctl.data.store.clips import ClipRef, ClipStore
from risctl.data.store.reader import Store, TextField
from risctl.metrics.protocols import VIDEO_PROTOCOLS, VIDEOS, Protocol, get_video_protocol
from risctl.metrics.video_expressions import NO_PREDICTION, ExpressionMeasures, ExpressionMeter, protocol_figures


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionRow:
    """The measures of one expression.

    Attributes:
        sample: Its sentence's row in the store.
        video: Name of the video.
        ref_id: Id of the referred object.
        sentence_id: Id of the sentence.
        text: The expression.
        abilities: The tags of the expression.
        targeted: Whether it refers to anything.
        predicted_none: Whether nothing was predicted in any frame.
        j: The mean region similarity over the video's frames, in [0, 1].
        f: The mean contour accuracy over the video's frames, in [0, 1].
        temporal: tIoU, in [0, 1]: see `ExpressionMeasures`.
        spatiotemporal: vIoU, in [0, 1].
        accuracy: The mean share of pixels that are alike, in [0, 1].
        intersection: Pixels of all frames together.
        union: Pixels of all frames together.
        predicted: Pixels of all frames together.
    """

    sample: int
    video: str
    ref_id: int
    sentence_id: int
    text: str
    abilities: tuple[str, ...]
    targeted: bool
    predicted_none: bool
    j: float
    f: float
    temporal: float
    spatiotemporal: float
    accuracy: float
    intersection: int
    union: int
    predicted: int

    def measures(self) -> ExpressionMeasures:
        """Returns its measures."""
        return ExpressionMeasures(
            j=self.j,
            f=self.f,
            temporal=self.temporal,
            spatiotemporal=self.spatiotemporal,
            accuracy=self.accuracy,
            predicted_none=self.predicted_none,
        )


def measured_row(
    clips: ClipStore, ref: ClipRef, meter: ExpressionMeter | None, *, sample: int, text_field: TextField
) -> ExpressionRow:
    """Returns the row of an expression.

    Args:
        clips: The store.
        ref: What it refers to.
        meter: Its measured frames; None counts it as 0, where its protocol says so of what was not predicted.
        sample: Its sentence's row.
        text_field: Which form of the sentence is reported.
    """
    sentence = clips.store.sentence(sample)
    found = NO_PREDICTION if meter is None else meter.measures()
    targeted = bool(ref.annotations)
    return ExpressionRow(
        sample=sample,
        video=ref.video,
        ref_id=ref.ref_id,
        sentence_id=sentence.sentence_id,
        text=sentence.text(text_field),
        abilities=sentence.abilities,
        targeted=targeted,
        # Of a video without any prediction neither answer is right.
        predicted_none=targeted if meter is None else found.predicted_none,
        j=found.j,
        f=found.f,
        temporal=found.temporal,
        spatiotemporal=found.spatiotemporal,
        accuracy=found.accuracy,
        intersection=0 if meter is None else meter.intersection,
        union=0 if meter is None else meter.union,
        predicted=0 if meter is None else meter.predicted,
    )


def figures_of(rows: Sequence[ExpressionRow], protocol: Protocol) -> dict[str, float]:
    """Returns the figures of a protocol of videos in percent: J, F and J&F, then its own."""
    j, f = (100 * float(np.mean([getattr(row, name) for row in rows])) for name in ("j", "f"))
    found = {"J": j, "F": f, "J&F": (j + f) / 2}
    if protocol.no_target == "frames" and not all(row.targeted for row in rows):
        there = [not row.predicted_none for row in rows if row.targeted]
        none = [row.predicted_none for row in rows if not row.targeted]
        found |= {"T-acc": 100 * float(np.mean(there))} if there else {}
        found["N-acc"] = 100 * float(np.mean(none))
    further = protocol_figures(protocol.name, [row.measures() for row in rows], [row.abilities for row in rows])
    return found | {name: 100 * value for name, value in further.items()}


def video_protocol_of(store: Store, name: str | None) -> Protocol:
    """Returns the protocol `name` of videos, or the one by which papers measure on the store's dataset.

    Raises:
        UsageError: The name is unknown.
    """
    if name is not None:
        return get_video_protocol(name)
    dataset = DATASETS.get(store.name)
    return VIDEO_PROTOCOLS.get(dataset.protocol, VIDEOS) if dataset is not None else VIDEOS
