"""The learning rate as a plain function of the step: a resumed run needs no state of it."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass

from risctl.recipe.schema import OptimSection


@dataclass(frozen=True, slots=True, kw_only=True)
class LRSchedule:
    """The factor of the learning rate at each step, steps counted from 0.

    milestones: steps from which on the rate is multiplied by `factor` once more (`steps`); the rate of `cosine` and
    `poly` goes from 1 at step 0 to `final` at `total` steps. Over the first `warmup_steps` the factor is multiplied by
    a line from `warmup_ratio` to 1.
    """

    name: str
    total: int
    milestones: tuple[int, ...] = ()
    factor: float = 0.1
    power: float = 0.9
    final: float = 0.0
    warmup_steps: int = 0
    warmup_ratio: float = 0.0

    @classmethod
    def of(cls, optim: OptimSection, *, steps_per_epoch: int, total: int) -> LRSchedule:
        """Returns the schedule of a recipe, whose milestones are epochs counted from 1, for a run of `total` steps."""
        course = optim.schedule
        return cls(
            name=course.name,
            total=total,
            milestones=course.milestone_steps or tuple((epoch - 1) * steps_per_epoch for epoch in course.milestones),
            factor=course.factor,
            power=course.power,
            final=course.final,
            warmup_steps=optim.warmup_steps,
            warmup_ratio=optim.warmup_ratio,
        )

    def __call__(self, step: int) -> float:
        """Returns the factor for the update that follows `step` updates."""
        return self._course(step) * self._warmup(step)

    def _course(self, step: int) -> float:
        passed = min(step / max(self.total, 1), 1.0)
        if self.name == "steps":
            return self.factor ** bisect.bisect_right(self.milestones, step)
        if self.name == "cosine":
            return self.final + (1 - self.final) * (1 + math.cos(math.pi * passed)) / 2
        if self.name == "poly":
            return self.final + (1 - self.final) * (1 - passed) ** self.power
        if self.name == "constant":
            return 1.0
        raise ValueError(f"unknown schedule {self.name!r}")

    def _warmup(self, step: int) -> float:
        if step >= self.warmup_steps:
            return 1.0
        return self.warmup_ratio + (1 - self.warmup_ratio) * step / self.warmup_steps
