"""The accumulator: known figures, any order, any sharing out."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risctl.metrics import accumulator as measuring
from risctl.metrics.accumulator import Accumulator
from risctl.metrics.figures import sample_ious
from risctl.metrics.protocols import PROTOCOLS, Protocol, get_protocol
from risctl.vision import rle

EVERY = list(PROTOCOLS.values())


def bar(first: int, last: int) -> np.ndarray:
    """A mask of one row of ten pixels, set from `first` up to `last`."""
    row = np.zeros((1, 10), dtype=bool)
    row[0, first:last] = True
    return row


NOTHING = bar(0, 0)
PAIRS = [
    (bar(0, 10), bar(0, 5)),  # exactly 0.5
    (bar(0, 4), bar(0, 4)),  # 1
    (bar(0, 2), bar(5, 8)),  # 0
    (NOTHING, bar(0, 5)),  # missed
    (NOTHING, NOTHING),  # nothing there, nothing found
    (bar(0, 5), NOTHING),  # nothing there, something found
]


def measured(protocol: str | Protocol, pairs: list[tuple[np.ndarray, np.ndarray]] = PAIRS) -> dict[str, float]:
    accumulator = Accumulator(get_protocol(protocol) if isinstance(protocol, str) else protocol)
    for key, (found, wanted) in enumerate(pairs):
        accumulator.add(found, rle.encode(wanted), key=key, image_id=key // 2)
    return accumulator.figures()


def test_original_keeps_samples_without_a_target_apart() -> None:
    found = measured("original")
    assert found["oIoU"] == pytest.approx(100 * 9 / (10 + 4 + 5 + 5))
    assert found["mIoU"] == pytest.approx(100 * 1.5 / 4)
    assert found["Pr@0.5"] == pytest.approx(50)
    assert found["Pr@0.9"] == pytest.approx(25)
    assert found["gIoU"] == pytest.approx(100 * 2.5 / 6)
    assert found["cIoU"] == pytest.approx(100 * 9 / (10 + 4 + 5 + 5 + 5))
    # The missed one counts as predicted none.
    assert found["T-acc"] == pytest.approx(75)
    assert found["N-acc"] == pytest.approx(50)


def test_original_without_such_samples_has_no_such_figures() -> None:
    assert list(measured("original", PAIRS[:4])) == ["oIoU", "mIoU", *(f"Pr@0.{n}" for n in range(5, 10))]


def test_the_empty_rules_differ() -> None:
    assert measured("lavt")["mIoU"] == pytest.approx(100 * 1.5 / 6)
    assert measured("cris")["mIoU"] == pytest.approx(100 * 1.5 / 6, abs=1e-4)
    assert measured("mcn")["mIoU"] == pytest.approx(100 * 2.5 / 6, abs=1e-6)
    assert measured("a2d")["mIoU"] == pytest.approx(100 * 2.5 / 6, abs=1e-4)


def test_the_comparisons_differ_at_an_exact_half() -> None:
    assert measured("lavt")["Pr@0.5"] == pytest.approx(100 * 2 / 6)
    assert measured("phrasecut")["Pr@0.5"] == pytest.approx(100 * 1 / 6)
    # Smoothing lifts it over the bound.
    assert measured("mcn")["Pr@0.50"] == pytest.approx(100 * 3 / 6)


def test_a_stated_none_overrules_the_mask() -> None:
    accumulator = Accumulator(get_protocol("rela"))
    accumulator.add(bar(0, 5), bar(0, 5), key=0, image_id=0, predicted_none=True)
    accumulator.add(bar(0, 5), NOTHING, key=1, image_id=1, predicted_none=True)
    accumulator.add(NOTHING, NOTHING, key=2, image_id=2, predicted_none=False)
    found = accumulator.figures()
    assert (found["gIoU"], found["cIoU"]) == (pytest.approx(100 / 3), 0)
    assert (found["T-acc"], found["N-acc"]) == (0, 50)


def test_what_an_answer_none_cleared_counts_in_grefcoco_alone() -> None:
    """ReLA's code takes away the intersection of a target that is called absent, and keeps its union."""
    shown = bar(0, 8).astype(np.float32)
    accumulator = Accumulator([get_protocol("rela"), get_protocol("original")])
    for key, wanted in enumerate((bar(4, 10), NOTHING)):
        cleared = np.zeros_like(shown)
        accumulator.add(cleared, wanted, key=key, image_id=key, predicted_none=True, uncleared=(shown, None))
    accumulator.add(shown, bar(0, 8), key=2, image_id=2, predicted_none=False)
    area, united = int(bar(0, 8).sum()), int((bar(0, 8) | bar(4, 10)).sum())
    rows = accumulator.rows("original")
    assert rows.union.tolist() == [int(bar(4, 10).sum()), 0, area]
    found = accumulator.figures("rela")
    assert found["cIoU"] == pytest.approx(100 * area / (area + united), rel=0.05)  # at 480 x 480
    assert found["gIoU"] == pytest.approx(100 * 2 / 3)
    assert (found["T-acc"], found["N-acc"]) == (50, 100)


def test_a_target_may_have_an_empty_mask() -> None:
    accumulator = Accumulator(get_protocol("original"))
    accumulator.add(NOTHING, NOTHING, key=0, image_id=0, targeted=True)
    assert accumulator.figures()["mIoU"] == 0


def test_only_first_sentences_count_where_the_protocol_says_so() -> None:
    accumulator = Accumulator([get_protocol("mmdet"), get_protocol("zsris")])
    accumulator.add(bar(0, 5), bar(0, 5), key=0, image_id=0, first=True)
    accumulator.add(NOTHING, bar(0, 5), key=1, image_id=0, first=False)
    assert accumulator.figures("mmdet")["mIoU"] == 100
    assert accumulator.figures("zsris")["mIoU"] == 50


def test_probabilities_meet_each_protocols_threshold() -> None:
    accumulator = Accumulator([get_protocol("original"), get_protocol("cris")])
    accumulator.add(np.full((2, 2), 0.4, dtype=np.float32), np.ones((2, 2), dtype=bool), key=0, image_id=0)
    assert accumulator.figures("original")["oIoU"] == 0
    assert accumulator.figures("cris")["oIoU"] == pytest.approx(100, abs=1e-3)


def test_a_protocol_of_the_inputs_size_compares_what_was_predicted_there() -> None:
    accumulator = Accumulator([get_protocol("lavt"), get_protocol("original")])
    target = np.zeros((480, 960), dtype=bool)
    target[:, :480] = True
    found = np.zeros((480, 480), dtype=np.float32)
    found[:, :240] = 1
    accumulator.add(np.zeros((480, 960), dtype=np.float32), target, key=0, image_id=0, at_input=found)
    accumulator.add(np.zeros((480, 960), dtype=np.float32), target, key=1, image_id=0, at_input=found[:100])
    assert accumulator.figures("lavt")["mIoU"] == 50
    assert accumulator.figures("original")["mIoU"] == 0


def test_an_empty_accumulator_measures_nothing() -> None:
    assert all(np.isnan(value) for name in PROTOCOLS for value in Accumulator(EVERY).figures(name).values())


def test_a_sample_counts_once() -> None:
    accumulator = Accumulator(get_protocol("original"))
    accumulator.add(bar(0, 5), bar(0, 5), key=7, image_id=0)
    with pytest.raises(ValueError, match="sample 7"):
        accumulator.add(bar(0, 5), bar(0, 5), key=7, image_id=0)
    with pytest.raises(ValueError, match="such as 7"):
        accumulator.merge(pickle.loads(pickle.dumps(accumulator)))
    with pytest.raises(ValueError, match="protocols differ"):
        accumulator.merge(Accumulator(get_protocol("lavt")))
    with pytest.raises(ValueError, match="differ"):
        accumulator.add(bar(0, 5), np.zeros((2, 2), dtype=bool), key=8, image_id=0)
    assert len(accumulator) == len(accumulator.rows()) == 1


samples = st.lists(
    st.tuples(*[st.integers(0, 10)] * 4, st.booleans(), st.sampled_from([None, True, False])), min_size=1, max_size=12
)


def filled(drawn: list[tuple], keys: list[int]) -> Accumulator:
    accumulator = Accumulator(EVERY)
    for key in keys:
        a, b, c, d, first, none = drawn[key]
        accumulator.add(
            bar(a, b),
            bar(c, d),
            key=key,
            image_id=key // 3,
            score=a / 10,
            first=first,
            predicted_none=none,
            text=str(a),
        )
    return accumulator


@settings(max_examples=25, deadline=None)
@given(drawn=samples, data=st.data())
def test_order_and_sharing_out_change_nothing(drawn: list[tuple], data: st.DataObject) -> None:
    keys = list(range(len(drawn)))
    whole = filled(drawn, keys)
    shuffled = data.draw(st.permutations(keys))
    cut = data.draw(st.integers(0, len(keys)))
    parts = filled(drawn, shuffled[:cut])
    parts.merge(pickle.loads(pickle.dumps(filled(drawn, shuffled[cut:]))))
    for name, protocol in PROTOCOLS.items():
        assert parts.figures(name) == pytest.approx(whole.figures(name), abs=0, rel=0, nan_ok=True)
        assert parts.rows(name).text.tolist() == whole.rows(name).text.tolist()
        ious = sample_ious(whole.rows(name), protocol)
        assert ((ious >= 0) & (ious <= 1)).all()
        assert all(np.isnan(value) or 0 <= value <= 100 + 1e-9 for value in whole.figures(name).values())


def test_memory_is_rows_not_masks() -> None:
    accumulator = Accumulator(EVERY)
    mask = np.ones((400, 600), dtype=bool)
    for key in range(20):
        accumulator.add(mask, mask, key=key, image_id=key)
    assert sys.getsizeof(pickle.dumps(accumulator)) < 10_000


def test_abilities_are_known() -> None:
    accumulator = Accumulator(get_protocol("original"))
    accumulator.add(bar(0, 5), bar(0, 5), key=0, image_id=0, abilities=("colour", "size"))
    accumulator.add(NOTHING, bar(0, 5), key=1, image_id=0, abilities=("size",))
    assert accumulator.rows().known_abilities() == ["colour", "size"]


@pytest.mark.parametrize("probable", [True, False])
def test_protocols_of_one_pass_share_their_work(probable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each mask is brought to each resolution once, and what every protocol says alone it says beside the others."""
    calls: list[str] = []
    for name in ("target_mask", "resized_map", "overlap"):
        function = getattr(measuring, name)

        def counted(*given: object, function=function, name: str = name, **options: object) -> object:  # type: ignore[no-untyped-def]
            calls.append(name)
            return function(*given, **options)

        monkeypatch.setattr(measuring, name, counted)
    generator = np.random.default_rng(0)
    probability, wanted = generator.random((30, 40), dtype=np.float32), rle.encode(generator.random((30, 40)) > 0.4)
    found = probability if probable else rle.encode(probability > 0.6)
    names = ("original", "cris", "mcn", "lavt", "rela")
    together = Accumulator([get_protocol(name) for name in names])
    together.add(found, wanted, key=0, image_id=0)
    if probable:
        # The target at both resolutions, the map resized to the one and as it is at the other.
        assert sorted(calls) == ["resized_map"] * 2 + ["target_mask"] * 2
    else:
        # At original size without decoding; both masks at 480x480.
        assert sorted(calls) == ["overlap"] + ["target_mask"] * 2
    for name in names:
        alone = Accumulator(get_protocol(name))
        alone.add(found, wanted, key=0, image_id=0)
        assert alone.figures() == pytest.approx(together.figures(name), abs=0, rel=0, nan_ok=True)
