"""Rows files of evaluations that never took place, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from risctl.evaluation.report import Report, Result
from risctl.metrics.accumulator import Accumulator
from risctl.metrics.protocols import get_protocol
from risctl.metrics.rows import Facts


def write_rows(
    path: Path,
    shares: Sequence[int],
    *,
    protocols: Sequence[str] = ("original", "lavt"),
    threshold: float | None = None,
    text: str = "cup",
    **origin: Any,
) -> Path:
    """Write rows of samples of which `shares` tenths of the target are found; two sentences an image."""
    chosen = [get_protocol(name).with_threshold(threshold) for name in protocols]
    accumulator = Accumulator(chosen)
    for key, share in enumerate(shares):
        found, wanted = np.zeros((10, 10), dtype=bool), np.ones((10, 10), dtype=bool)
        found[:share] = True
        accumulator.add(
            found,
            wanted,
            key=key,
            image_id=100 + key // 2,
            ref_id=key,
            sentence_id=key,
            text=f"{text} {'left' if key % 2 else 'red'} {key}",
            abilities=("place",) if key % 2 else ("colour",),
            facts=Facts(targets=1, categories=("cup",), area=0.3, distractors=0),
        )
    report = Report(
        images=len(shares) // 2,
        refs=len(shares),
        sentences=len(shares),
        total_sentences=len(shares),
        results={
            protocol.name: Result.of(accumulator.rows(protocol.name), protocol, resamples=0) for protocol in chosen
        },
        seconds=1.0,
        device="cpu",
        **{
            "dataset": "toy",
            "split_by": "unc",
            "split": "val",
            "fingerprint": "ab" * 32,
            "text_field": "sent",
            "checkpoint": "cd" * 32,
            **origin,
        },
    )
    report.write_rows(path)
    return path
