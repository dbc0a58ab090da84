"""The accuracy of box choice is right, whatever batch a sample comes in."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny import build_tiny, tiny_recipe

from risctl.core.encoders.text.hashed_words import HashedWords
from risctl.core.fusion.box_selector import BoxSelector
from risctl.core.heads.detector import InstanceDetector
from risctl.core.losses.box_selection import box_selection_losses
from risctl.data.box_grounding.dataset import BoxGroundingDataset
from risctl.data.box_grounding.noise import BoxNoise
from risctl.data.box_grounding.samples import BoxGroundingSample, ImageBoxes
from risctl.errors import UsageError
from risctl.language.vocabulary import Vocabulary
from risctl.systems.mini.model import Mini
from risctl.systems.mini.preprocess import MiniPreprocess

_SPEC = importlib.util.spec_from_file_location(
    "box_accuracy", Path(__file__).resolve().parents[2] / "benchmarks" / "box_accuracy.py"
)
assert _SPEC is not None and _SPEC.loader is not None
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)
right_choices = _MODULE.right_choices


WORDS = ("left", "right", "man")


def lefts_and_rights(count: int, *, first: int = 0) -> list[BoxGroundingSample]:
    """Of three boxes or more of one kind, the leftmost and the rightmost."""
    questions = []
    for seed in range(first, first + count):
        generator = np.random.default_rng(seed)
        boxes = 3 + seed % 3
        low = generator.random((boxes, 2)) * 0.7
        corners = np.concatenate([low, low + 0.1 + 0.2 * generator.random((boxes, 2))], 1).astype(np.float32)
        own = ImageBoxes(corners=corners, category_ids=np.zeros(boxes, dtype=np.int64), aspect=1.5)
        order = own.corners[:, [0, 2]].mean(1).argsort()
        questions.append(BoxGroundingSample(boxes=own, text="left man", targets=(int(order[0]),)))
        questions.append(BoxGroundingSample(boxes=own, text="man right", targets=(int(order[-1]),)))
    return questions


@pytest.fixture
def mini() -> Mini:
    torch.manual_seed(0)
    words = HashedWords(len(WORDS), channels=24, buckets=64, max_words=4)
    return Mini(
        preprocess=MiniPreprocess(size=64, words=WORDS, buckets=64, max_words=4),
        detector=InstanceDetector(classes=2, channels=8),
        box_selector=BoxSelector(words, classes=2, channels=24, layers=1, heads=2, dropout=0.0),
    )


def learn(mini: Mini, questions: list[BoxGroundingSample], *, steps: int) -> None:
    spec = mini.grounding_spec
    items = BoxGroundingDataset(
        mini.preprocess,
        annotated=questions,
        noise=BoxNoise(),
        per_word=spec.ids_per_word,
        classes=spec.categories,
        appearance=spec.appearance,
        seed=0,
    )
    optimizer = torch.optim.AdamW(mini.box_selector.parameters(), lr=5e-3)
    generator = np.random.default_rng(0)
    mini.train()
    for step in range(steps):
        batch = items.collate([items.item(step, int(integer)) for integer in generator.integers(0, len(items), 32)])
        assert batch.box_targets is not None
        terms = box_selection_losses(mini(batch).extras["choice"], batch.box_targets)
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()


def test_a_chooser_that_has_learned_is_measured_as_such(mini: Mini) -> None:
    held_out = lefts_and_rights(60, first=1000)
    before = right_choices(mini, held_out).mean()
    learn(mini, lefts_and_rights(100), steps=60)
    assert mini.training
    right = right_choices(mini, held_out)
    assert right.dtype == bool and mini.training and before < 0.6 < 0.8 < right.mean()
    # Each answer stands at its question's place, whatever batch it came in.
    for size in (1, 7, 500):
        assert np.array_equal(right_choices(mini, held_out, batch_size=size), right)
    order = np.random.default_rng(0).permutation(len(held_out))
    assert np.array_equal(right_choices(mini, [held_out[index] for index in order]), right[order])


def test_what_cannot_be_asked_is_wrong(mini: Mini) -> None:
    known = lefts_and_rights(1)[0]
    nowhere = ImageBoxes(
        corners=np.zeros((0, 4), dtype=np.float32), category_ids=np.zeros(0, dtype=np.int64), aspect=1.0
    )
    everything = BoxGroundingSample(boxes=known.boxes, text="man", targets=tuple(range(len(known.boxes.category_ids))))
    some = [
        everything,
        BoxGroundingSample(boxes=known.boxes, text="...", targets=everything.targets),
        BoxGroundingSample(boxes=nowhere, text="man", targets=()),
        BoxGroundingSample(boxes=known.boxes, text="man", targets=()),
        everything,
    ]
    assert right_choices(mini, some).tolist() == [True, False, False, False, True]
    assert right_choices(mini, []).shape == (0,)


def test_a_system_without_boxes_is_refused() -> None:
    system = build_tiny(tiny_recipe(Path("none.h5")).model, vocabulary=Vocabulary(["man"]))
    with pytest.raises(UsageError, match="does not choose among boxes"):
        right_choices(system, lefts_and_rights(1))
