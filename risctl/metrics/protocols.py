"""Defines the named protocols: the facts that decide a figure, one protocol per public codebase.

The same masks give different figures in different codebases, so no figure is printed without its protocol. A protocol
is a set of literal facts; `risctl.metrics.figures` does the arithmetic that they select.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from risctl.errors import UsageError, unknown_name

Resolution = Literal["original"] | tuple[int, int]
ThresholdSource = Literal["protocol", "recipe", "option", "saved", "masks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The facts of one convention.

    Attributes:
        name: The protocol's name.
        source: The codebase that it reproduces.
        resolution: Where masks are compared: the image's own size, or (height, width), to which the target is resized
            by nearest neighbour.
        threshold: A pixel is in the mask if its probability is above it.
        threshold_rule: Whether the convention as published fixes the threshold ("fixed", "argmax" of two classes) or
            leaves it to the model ("open").
        threshold_source: Where the threshold comes from: "protocol", the model's "recipe", an "option" that was given,
            "saved" rows that do not say, or nowhere as predictions came as "masks".
        other_threshold: The threshold of the model's recipe, where the protocol's own takes its place.
        empty: The IoU (or J) of a sample where both masks are empty.
        no_target: "ordinary" treats samples without a target like all others; "counted" puts them into the mean by the
            rules of gRefCOCO; "apart" keeps them out of oIoU, mIoU and Pr@X, and reports gIoU, cIoU, T-acc and N-acc
            too. "frames", of videos, measures all alike and reports T-acc and N-acc beside.
        compare: How Pr@X compares: it is the share of samples whose IoU is `compare` X.
        precisions: The thresholds of Pr@X, as (name, X).
        sentences: Whether all expressions of a ref count, or the first.
        smoothing: Added to intersection and union.
        names: What the ratio of sums and the mean of ratios are called.
        sum_smoothing: Added to the sum of unions, and to the number of samples.
        single: Whether IoUs are computed in float32.
        average_precision: Whether AP by COCO's evaluator is reported too.
        boundary: Whether J and F are reported in place of IoU.
        absent_video: What the expressions of a video count for which nothing was predicted at all: as if their masks
            were empty, or 0.
        remark: What else must be known to compare figures.
    """

    name: str
    source: str
    resolution: Resolution = "original"
    threshold: float = 0.5
    threshold_rule: Literal["fixed", "argmax", "open"] = "fixed"
    threshold_source: ThresholdSource = "protocol"
    other_threshold: float | None = None
    empty: Literal[0, 1] = 0
    no_target: Literal["ordinary", "counted", "apart", "frames"] = "ordinary"
    compare: Literal[">=", ">"] = ">="
    precisions: tuple[tuple[str, float], ...] = ()
    sentences: Literal["all", "first"] = "all"
    smoothing: tuple[float, float] = (0.0, 0.0)
    names: tuple[str, str] = ("oIoU", "mIoU")
    sum_smoothing: tuple[float, float] = (0.0, 0.0)
    single: bool = False
    average_precision: bool = False
    boundary: bool = False
    absent_video: Literal["empty", "zero"] = "empty"
    remark: str = ""

    def at_threshold(self, *, given: float | None, recipe: float | None) -> Protocol:
        """Returns the protocol at the threshold that holds: the one given, else its own, else the recipe's, else 0.5.

        Its own comes first only where the convention as published fixes one.

        Args:
            given: The threshold that a user gave, if any.
            recipe: The threshold of the model's recipe, if it has one.

        Raises:
            UsageError: A threshold is not within [0, 1).
        """
        if given is not None:
            return self.with_threshold(given)
        if recipe is None:
            return self
        if self.threshold_rule == "open":
            return self.with_threshold(recipe, source="recipe")
        return self if recipe == self.threshold else replace(self, other_threshold=recipe)

    def with_threshold(self, threshold: float | None, *, source: ThresholdSource = "option") -> Protocol:
        """Returns the protocol at another threshold, which `describe` then states; None changes nothing.

        Raises:
            UsageError: The threshold is not within [0, 1).
        """
        if threshold is None:
            return self
        if not 0 <= threshold < 1:
            raise UsageError(f"a threshold is a probability in [0, 1); got {threshold}")
        return replace(self, threshold=threshold, threshold_source=source, other_threshold=None)

    def describe(self) -> str:
        """Returns the one line that is printed with every figure."""
        parts = [self._where(), self.threshold_text(), *self._samples()]
        return f"{self.name} ({self.source}): {'; '.join(parts)}"

    def where(self) -> str:
        """Returns the resolution in words."""
        if self.resolution == "original":
            return "original size"
        height, width = self.resolution
        return f"{height}x{width}"

    def _where(self) -> str:
        if self.resolution == "original":
            return "compared at original size"
        how = "masks by nearest" if self.threshold_source == "masks" else "target by nearest, prediction by bilinear"
        return f"compared at {self.where()}, {how} resizing"

    def threshold_text(self) -> str:
        """Returns the threshold in words, with where it comes from."""
        if self.threshold_source == "masks":
            return "masks as predicted, which meet no threshold"
        fixed = self.threshold_rule != "open"
        bound = f"probability > {self.threshold:g}"
        if self.threshold_source == "option":
            return f"{bound} as given" + (", not the protocol's own" if fixed else "")
        if self.threshold_source == "recipe":
            return f"{bound}, from the model's recipe"
        if self.threshold_source == "saved":
            return f"{bound}, as the rows say" + (", not the protocol's own" if fixed else "")
        if not fixed:
            return f"{bound}, the default"
        other = "" if self.other_threshold is None else f", not {self.other_threshold:g} of the model's recipe"
        if self.threshold_rule == "argmax":
            bound = f"argmax of two classes ({bound})"
        return f"{bound}, fixed by the protocol {self.name}{other}"

    def _samples(self) -> list[str]:
        measure = "J" if self.boundary else "IoU"
        parts = []
        if self.no_target == "frames":
            parts.append("a frame where both masks are empty: J and F 1")
        elif self.no_target == "ordinary":
            parts.append(f"both masks empty: {measure} {self.empty}")
        else:
            rule = "in gIoU and cIoU" if self.no_target == "counted" else "apart, in gIoU and cIoU beside"
            parts.append(f"both masks empty: IoU {self.empty} if a target exists; no-target samples {rule} (gRefCOCO)")
        if self.precisions:
            of = " of targeted samples" if self.no_target in ("counted", "apart") else ""
            parts.append(f"Pr@X counts IoU {self.compare} X{of}")
        else:
            parts.append("no Pr@X")
        parts.append("all sentences" if self.sentences == "all" else "the first sentence of each ref")
        return [*parts, self.remark] if self.remark else parts


FIFTHS = (("Pr@0.5", 0.5), ("Pr@0.6", 0.6), ("Pr@0.7", 0.7), ("Pr@0.8", 0.8), ("Pr@0.9", 0.9))

# CRIS compares float64 IoUs with torch.arange(0.5, 1.0, 0.1), which is float32: its 0.7 is below 0.7, so an IoU of
# exactly 0.7 counts although the comparison is strict, and its 0.6 is above 0.6.
CRIS_PRECISIONS = tuple((name, float(np.float32(value))) for name, value in FIFTHS)

# MCN compares with numpy.arange(0.5, 1, 0.05), whose steps add up to slightly more than their names say.
MCN_PRECISIONS = tuple((f"Pr@{value:.2f}", float(value)) for value in np.arange(0.5, 1, 0.05))

_LISA = Protocol(
    name="lisa",
    source="LISA validate",
    empty=1,
    smoothing=(0.0, 1e-5),
    names=("cIoU", "gIoU"),
    sum_smoothing=(1e-10, 1e-5),
    remark="ignored regions count in neither mask",
)

_ALL = (
    Protocol(
        name="original",
        source="the default here",
        threshold_rule="open",
        no_target="apart",
        precisions=FIFTHS,
    ),
    Protocol(
        name="lavt",
        source="LAVT test.evaluate",
        resolution=(480, 480),
        threshold_rule="argmax",
        precisions=FIFTHS,
    ),
    Protocol(
        name="cris",
        source="CRIS and ETRIS engine.inference",
        threshold=0.35,
        compare=">",
        precisions=CRIS_PRECISIONS,
        smoothing=(0.0, 1e-6),
        remark="published as IoU: the mIoU here",
    ),
    Protocol(
        name="mcn",
        source="MCN cal_seg_iou, also VLT",
        threshold=0.35,
        empty=1,
        compare=">",
        precisions=MCN_PRECISIONS,
        smoothing=(1e-10, 1e-10),
    ),
    Protocol(
        name="rela",
        source="ReLA ReferEvaluator, gRefCOCO",
        resolution=(480, 480),
        threshold_rule="argmax",
        no_target="counted",
        precisions=(("Pr@0.7", 0.7), ("Pr@0.8", 0.8), ("Pr@0.9", 0.9)),
        remark="stored masks stand in for re-rasterised polygons",
    ),
    Protocol(
        name="mmdet",
        source="MMDetection RefSegMetric",
        threshold_rule="open",
        sentences="first",
        single=True,
        remark="published as cIoU: the oIoU here",
    ),
    Protocol(
        name="a2d",
        source="MTTR and ReferFormer on A2D-Sentences and JHMDB",
        threshold_rule="open",
        empty=1,
        compare=">",
        precisions=FIFTHS,
        smoothing=(1e-6, 1e-6),
        # The quotient is rounded to float32 and then compared as a float64: 0.6 becomes 0.60000002 and counts as
        # above 0.6, 0.7 becomes 0.69999999 and does not count as above 0.7.
        single=True,
        average_precision=True,
        remark="one instance per image id",
    ),
    Protocol(
        name="davis",
        source="DAVIS 2017",
        threshold_rule="open",
        empty=1,
        boundary=True,
        remark="per object and frame, F within 0.008 of the diagonal",
    ),
    Protocol(
        name="zsris",
        source="Zero-shot-RIS Compute_IoU",
        threshold_rule="open",
        single=True,
    ),
    _LISA,
    replace(_LISA, name="reasonseg", source="LISA validate on ReasonSeg", sentences="first"),
    Protocol(
        name="phrasecut",
        source="PhraseCut evaluator, masks",
        threshold_rule="open",
        compare=">",
        precisions=FIFTHS,
    ),
)

VIDEOS = Protocol(
    name="videos",
    source="Ref-YouTube-VOS, Ref-DAVIS17",
    threshold_rule="open",
    empty=1,
    boundary=True,
    remark="J and F of an expression are means over all frames of its video, void pixels aside, F within 0.008 of the "
    "diagonal; an expression's IoU is its J",
)
"""The usual protocol of stores of videos; those of videos are no choice for images."""

_MEVIS = replace(
    VIDEOS,
    name="mevis",
    source="MeViS eval_mevis; T-acc and N-acc are ours",
    no_target="frames",
    absent_video="zero",
    remark="the target is the union of an expression's objects; J and F of an expression are means over all frames of "
    "its video, so that one without a target scores its share of empty frames; N-acc asks for no pixel in any frame",
)
VIDEO_PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        VIDEOS,
        _MEVIS,
        replace(
            _MEVIS,
            name="long_rvos",
            source="Long-RVOS eval_long_rvos",
            remark="J and F as of mevis; tIoU is of the frames that show something, vIoU the sum of J over the frames "
            "where both masks do; by type of expression, static+dynamic is hybrid",
        ),
        replace(
            _MEVIS,
            name="ref_sav",
            source="Sa2VA on Ref-SAV",
            remark="J and F as of mevis, A is the share of pixels that are alike; the published figures are the means "
            "of long and short expressions",
        ),
    )
}
"""The protocols of stores of videos by name."""

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _ALL}


def get_protocol(name: str) -> Protocol:
    """Returns the protocol called `name`.

    Raises:
        UsageError: There is none; the message has the nearest name.
    """
    try:
        return PROTOCOLS[name]
    except KeyError:
        raise UsageError(unknown_name("protocol", name, PROTOCOLS)) from None


def get_video_protocol(name: str) -> Protocol:
    """Returns the protocol of videos called `name`. Raises `UsageError` with the nearest name otherwise."""
    if name not in VIDEO_PROTOCOLS:
        raise UsageError(unknown_name("protocol of videos", name, VIDEO_PROTOCOLS))
    return VIDEO_PROTOCOLS[name]


def get_protocols(names: str) -> tuple[Protocol, ...]:
    """Returns the protocols of a comma-separated list, in its order, each once.

    Raises:
        UsageError: A name is unknown, or there is none.
    """
    found = {name.strip(): get_protocol(name.strip()) for name in names.split(",") if name.strip()}
    if not found:
        raise UsageError(f"no protocol named; known: {', '.join(PROTOCOLS)}")
    return tuple(found.values())
