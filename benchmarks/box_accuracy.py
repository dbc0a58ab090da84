"""Measuring the choice among boxes, apart from finding them: the boxes are known, there are no pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch

from risctl.data.box_grounding.dataset import BoxGroundingItem, collate_box_grounding
from risctl.data.box_grounding.samples import BoxGroundingSample
from risctl.errors import UsageError
from risctl.inference.encoded_image import evaluation_mode
from risctl.systems.base import System
from risctl.systems.protocols import as_box_grounder


@torch.inference_mode()
def right_choices(system: System, questions: Sequence[BoxGroundingSample], *, batch_size: int = 256) -> np.ndarray:
    """Return for each of `questions` whether the box that `system` likes best is meant, (N,) bool.

    It chooses among all boxes of the question's picture. A question without a word or without a box is wrong. The
    system is left in the mode it came in. Raises `UsageError` if it does not choose among boxes.
    """
    spec = as_box_grounder(system).grounding_spec
    device = next(system.parameters()).device
    collate = partial(
        collate_box_grounding, per_word=spec.ids_per_word, classes=spec.categories, appearance=spec.appearance
    )
    right = np.zeros(len(questions), dtype=bool)
    # Those with like numbers of boxes together, so that few are padding.
    order = sorted(range(len(questions)), key=lambda index: len(questions[index].boxes.category_ids))
    order = [index for index in order if len(questions[index].boxes.category_ids)]
    with evaluation_mode(system):
        for start in range(0, len(order), batch_size):
            rows, items = [], []
            for index in order[start : start + batch_size]:
                item = _item(system, questions[index])
                if item is not None:
                    rows.append(index)
                    items.append(item)
            if items:
                batch = collate(items).to(device)
                assert batch.box_targets is not None
                best = system(batch).extras["choice"].scores.argmax(1, keepdim=True)
                right[rows] = batch.box_targets.is_target.gather(1, best)[:, 0].bool().cpu().numpy()
    return right


def _item(system: System, question: BoxGroundingSample) -> BoxGroundingItem | None:
    try:
        words, word_mask = system.preprocess.text(question.text)
    except UsageError:
        return None
    return BoxGroundingItem(sample=question, words=words, word_mask=word_mask)
