"""Ends a run when a figure of its evaluations has not risen for a while."""

from __future__ import annotations

from collections.abc import Mapping

from risctl.recipe.train import EarlyStopSection, TrainSection
from risctl.training.state import TrainingState


def watched_figure(train: TrainSection) -> str:
    """Returns the figure whose rise is waited for."""
    return (train.early_stop.figure if train.early_stop else None) or train.best


def note_evaluation(state: TrainingState, figures: Mapping[str, float], train: TrainSection) -> None:
    """Counts an evaluation; one that is not finite counts as none that rose."""
    if train.early_stop is None:
        return
    value = figures.get(watched_figure(train))
    rose = value is not None and (state.highest is None or value > state.highest + train.early_stop.min_delta)
    state.highest, state.waited = (value, 0) if rose else (state.highest, state.waited + 1)


def is_over(state: TrainingState, section: EarlyStopSection | None) -> bool:
    """Returns whether the run ends early."""
    return section is not None and state.waited >= section.patience


def described(state: TrainingState, train: TrainSection) -> str:
    """Returns why a run ended early, for its log."""
    assert train.early_stop is not None
    least = f" by more than {train.early_stop.min_delta:g}" if train.early_stop.min_delta else ""
    plural = "s" if state.waited != 1 else ""
    return (
        f"stopped early after step {state.step}: {watched_figure(train)} has not risen{least} in {state.waited} "
        f"evaluation{plural}"
    )
