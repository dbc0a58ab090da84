"""Synthetic scenes, made without a download."""

from __future__ import annotations

from risctl.data.datasets.descriptor import DatasetDescriptor

SCENES = DatasetDescriptor(
    name="scenes",
    help="Make scenes of everyday objects with expressions for them, in train, val and test. Needs no download.",
    example="-n 2000 --seed 0 --pictures pictures",
    read=None,
    stored_as=("moving-scenes",),
)
