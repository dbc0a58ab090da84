"""Explanations are drawn by kind, whichever system they are of."""

from __future__ import annotations

import pytest

from risctl.systems.explanation import Explainable
from risctl.systems.mini.model import Mini
from risctl.systems.referformer.model import ReferFormer
from risctl.systems.step.model import Step
from risctl.systems.vlt.model import VLT
from risctl.visualization.explain.sheets import SHEETS


@pytest.mark.parametrize("system", [Mini, ReferFormer, Step, VLT])
def test_every_kind_of_explanation_has_a_contact_sheet(system: type[Explainable]) -> None:
    assert system.explanation_kind in SHEETS
