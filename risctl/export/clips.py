"""Exports systems of videos: a clip's frames are encoded once, and asked many expressions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim
from torch.nn.utils.rnn import pad_sequence

from risctl.errors import UsageError
from risctl.export import check
from risctl.export.formats import Run
from risctl.export.plan import Half, Plan
from risctl.export.trace import MOST_EXPRESSIONS, traced_module
from risctl.runtime.manifest import ANSWER, ENCODE
from risctl.systems.base import System
from risctl.systems.exportable import ClipGraphs, ExportableClips

OUTPUTS = ("logits", "scores", "boxes")
"""What the second graph gives of every query."""

_EXAMPLE = (264, 328)  # sides of which no map has one cell, nor as many rows as columns


def of_clips(system: System) -> Plan:
    """Plans the export of a system of videos.

    Raises:
        UsageError: It cannot be exported; why, in one line.
    """
    assert isinstance(system, ExportableClips)
    name, graphs = type(system).__name__, system.clip_graphs()
    _check_sides(system, graphs)
    frames, padding = torch.rand(3, 3, *_EXAMPLE), torch.zeros(1, *_EXAMPLE, dtype=torch.bool)
    padding[:, -3:], padding[:, :, -5:] = True, True
    words, word_mask = _tokens(system, check.PHRASES)
    many, sides = Dim("frames", min=1, max=graphs.most_frames), {1: Dim.AUTO, 2: Dim.AUTO}
    encode = traced_module(graphs.encode, (frames, padding), ({0: many, 2: Dim.AUTO, 3: Dim.AUTO}, sides), name=name)
    with torch.no_grad():
        features: tuple[Tensor, ...] = tuple(encode.module()(frames, padding))
    asked = {0: Dim("expressions", min=1, max=MOST_EXPRESSIONS), 1: Dim("tokens", min=1, max=graphs.most_tokens)}
    maps = tuple({0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO} for _ in features)
    answer = traced_module(
        graphs.answer, (features, padding, words, word_mask), (maps, sides, asked, dict(asked)), name=name
    )
    with torch.no_grad():
        answers: tuple[Tensor, ...] = tuple(answer.module()(features, padding, words, word_mask))
    return Plan(
        halves={
            ENCODE: Half(
                module=graphs.encode,
                program=encode,
                inputs=("frames", "padding"),
                outputs=graphs.features,
                given=(frames, padding),
                gives=features,
            ),
            ANSWER: Half(
                module=graphs.answer,
                program=answer,
                inputs=(*graphs.features, "padding", "words", "word_mask"),
                outputs=OUTPUTS,
                given=(*features, padding, words, word_mask),
                gives=answers,
                grouped=len(features),
            ),
        },
        axes=_axes(graphs),
        sides=f"any of at least {graphs.least_side} pixels",
        compared=lambda encoding, answering, images: compare(system, graphs, encoding, answering, images),
        described={
            "clip": {
                "most_frames": graphs.most_frames,
                "frames_apart": graphs.frames_apart,
                "answer": "the query whose score, averaged over the frames, is highest"
                if not graphs.frames_apart
                else "in each frame the query with the highest score",
                "boxes": "centre x, centre y, width, height in shares of the image",
            }
        },
    )


def compare(
    system: System, graphs: ClipGraphs, encode: Run, answer: Run, images: Sequence[np.ndarray] = ()
) -> list[check.Agreement]:
    """Compares the graphs with the system on clips of three sizes, with one to three expressions.

    Args:
        system: The system.
        graphs: Its halves, as they compute in torch.
        encode: Runs the first graph.
        answer: Runs the second.
        images: Images that stand for frames of clips; made ones if there are fewer than three.

    Returns:
        The agreement at each size; the logits and scores are those of all queries.
    """
    found = []
    for number, (height, width) in enumerate(check.SIZES):
        frames = (1, min(3, graphs.most_frames), min(2, graphs.most_frames))[number]
        if len(images) > number:
            pictures = [np.roll(images[number], 8 * frame, axis=1) for frame in range(frames)]
        else:
            pictures = [check.made_image(height, width, seed=10 * number + frame) for frame in range(frames)]
        laid = [system.preprocess.image(one) for one in pictures]
        clip, padding = torch.stack([tensor for tensor, _ in laid]), laid[0][1].padding()[None]
        phrases = check.PHRASES[: 3 - number]
        tokens = _tokens(system, phrases)
        with torch.no_grad():
            expected = graphs.answer(graphs.encode(clip, padding), padding, *tokens)
            logits, scores, boxes = answer([*encode([clip, padding]), padding, *tokens])
        found.append(
            check.Agreement(
                height=pictures[0].shape[0],
                width=pictures[0].shape[1],
                images=frames,
                expressions=len(phrases),
                logits=check.largest(logits, expected[0]),
                scores=max(check.largest(scores, expected[1]), check.largest(boxes, expected[2])),
            )
        )
    return found


def _tokens(system: System, phrases: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Returns the token ids (N, L) of expressions and their mask."""
    ids, masks = zip(*(system.preprocess.text(text) for text in phrases), strict=True)
    return pad_sequence(list(ids), batch_first=True), pad_sequence(list(masks), batch_first=True)


def _check_sides(system: System, graphs: ClipGraphs) -> None:
    """Raises `UsageError` if inputs of the system are too small for its graph."""
    tensor, _ = system.preprocess.image(np.zeros((480, 640, 3), dtype=np.uint8))
    least = min(tensor.shape[1:])
    if least < graphs.least_side:
        raise UsageError(
            f"{type(system).__name__} cannot be exported: its inputs have {least} pixels on the short side, and the "
            f"graph takes {graphs.least_side} or more (model.short_side)"
        )


def _axes(graphs: ClipGraphs) -> dict[str, Sequence[Any]]:
    return {
        "frames": ("frames", 3, "rows", "columns"),
        "padding": (1, "rows", "columns"),
        **{name: ("frames", channels, f"rows_{name}", f"columns_{name}") for name, channels in graphs.channels.items()},
        "words": ("expressions", "tokens"),
        "word_mask": ("expressions", "tokens"),
        "logits": ("expressions", "frames", graphs.queries, "mask_rows", "mask_columns"),
        "scores": ("expressions", "frames"),
        "boxes": ("expressions", "frames"),
    }
