"""IoU of tracks: that of the volumes of their masks."""

from __future__ import annotations

import numpy as np

from risctl.metrics.tracks import overlap_of, track_ious, united
from risctl.vision import rle


def made(generator: np.random.Generator, *, frames: int = 5) -> tuple[np.ndarray, dict[int, rle.RLE]]:
    """Returns a volume (T, H, W) and the same as a track; some frames show nothing."""
    volume = generator.random((frames, 6, 7)) < 0.4
    volume[generator.random(frames) < 0.4] = False
    return volume, {place: rle.encode(mask) for place, mask in enumerate(volume) if mask.any()}


def test_it_is_that_of_the_volumes() -> None:
    generator = np.random.default_rng(0)
    first, second = ([made(generator) for _ in range(count)] for count in (4, 3))
    found = track_ious([track for _, track in first], [track for _, track in second])
    for row, (one, own) in enumerate(first):
        for column, (other, others) in enumerate(second):
            shared, union = np.count_nonzero(one & other), np.count_nonzero(one | other)
            assert found[row, column] == shared / union
            assert overlap_of(own, others) == (shared, union, np.count_nonzero(one))
    whole = united([track for _, track in first])
    for place in range(5):
        expected = np.any([volume[place] for volume, _ in first], axis=0)
        assert np.array_equal(rle.decode(whole[place]) if place in whole else np.zeros_like(expected), expected)


def test_of_two_without_a_pixel_it_is_one_and_none_have_no_rows() -> None:
    assert track_ious([{}], [{}]).tolist() == [[1.0]]
    assert track_ious([], [{}]).shape == (0, 1) and track_ious([{}], []).shape == (1, 0)
