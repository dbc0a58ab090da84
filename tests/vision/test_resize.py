"""Images resized into a square, to a longest or to a short side, and back again, at every size an image can have."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional

from risctl.vision.resize import Letterbox, ResizeLongest, ResizeShortest, Square

sides = st.one_of(st.integers(1, 64), st.integers(1, 2000))


@given(sides, sides, st.integers(1, 640))
def test_the_image_lies_centred_within_the_square(height: int, width: int, size: int) -> None:
    box = Letterbox.fit(height=height, width=width, size=size)
    assert 1 <= box.inner_height <= size and 1 <= box.inner_width <= size
    # One side fills the square, up to the pixel that truncation can take.
    assert max(box.inner_height, box.inner_width) >= size - 1
    assert box.top >= 0 and box.rows.stop <= size and box.left >= 0 and box.columns.stop <= size
    assert abs((size - box.rows.stop) - box.top) <= 1 and abs((size - box.columns.stop) - box.left) <= 1
    padding = box.padding()
    assert padding.shape == (size, size)
    assert (~padding).sum() == box.inner_height * box.inner_width


def test_truncation_can_give_415() -> None:
    truncated = [side for side in range(1, 1000) if Letterbox.fit(height=side, width=side, size=416).inner_width == 415]
    assert truncated, "416 / side * side falls below 416 for some side"
    box = Letterbox.fit(height=truncated[0], width=truncated[0], size=416)
    assert (box.inner_height, box.inner_width, box.top, box.left) == (415, 415, 0, 0)
    restored = box.invert(torch.ones(1, 416, 416))
    assert restored.shape == (1, truncated[0], truncated[0])


@pytest.mark.parametrize(("height", "width"), [(1, 5000), (5000, 1), (1, 1), (2, 900)])
def test_thin_images_keep_a_row(height: int, width: int) -> None:
    box = Letterbox.fit(height=height, width=width, size=416)
    image = box.image(np.full((height, width, 3), 255, dtype=np.uint8), fill=0.5)
    assert image[:, ~box.padding()].eq(1).all()
    assert image[:, box.padding()].eq(0.5).all()
    assert box.invert(torch.rand(2, 104, 104)).shape == (2, height, width)


@given(sides, sides, st.integers(8, 160))
@settings(max_examples=60)
def test_the_inverse_uses_the_very_cells_that_the_image_covers(height: int, width: int, size: int) -> None:
    box = Letterbox.fit(height=height, width=width, size=size)
    inside = (~box.padding()).float()[None]
    restored = box.invert(inside)
    assert restored.shape == (1, height, width)
    assert (restored - 1).abs().max() < 1e-6, "a cell of the border came back into the image"
    noise = torch.rand(1, size, size, generator=torch.Generator().manual_seed(0))
    other = torch.where(box.padding(), 1 - noise, noise)
    assert torch.equal(box.invert(noise), box.invert(other)), "the border's values reach the image"


def test_the_inverse_of_the_same_size_is_exact() -> None:
    box = Letterbox.fit(height=64, width=96, size=96)
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    there = box.image(pixels, fill=0.5)
    back = box.invert(there)
    np.testing.assert_array_equal((back * 255).round().numpy().astype(np.uint8).transpose(1, 2, 0), pixels)


def test_the_inverse_goes_by_the_square_and_the_crop() -> None:
    box = Letterbox.fit(height=300, width=500, size=416)
    maps = torch.rand(3, 208, 208, generator=torch.Generator().manual_seed(1))
    square = functional.interpolate(maps[:, None], size=(416, 416), mode="bilinear")
    crop = square[..., box.top : box.top + box.inner_height, box.left : box.left + box.inner_width]
    expected = functional.interpolate(crop, size=(300, 500), mode="bilinear")[:, 0]
    torch.testing.assert_close(box.invert(maps), expected, rtol=0, atol=0)


def test_masks_come_back_where_they_were() -> None:
    mask = np.zeros((240, 320), dtype=bool)
    mask[60:180, 200:290] = True
    box = Letterbox.fit(height=240, width=320, size=416)
    target = box.mask(mask, size=208)
    assert target.shape == (208, 208) and target.min() >= 0 and target.max() <= 1
    back = box.invert(target[None])[0].numpy() > 0.5
    assert (back & mask).sum() / (back | mask).sum() > 0.96


@given(st.integers(1, 40), st.integers(1, 40), st.integers(4, 48))
@settings(max_examples=40)
def test_pixels_are_the_cubic_of_the_image(height: int, width: int, size: int) -> None:
    pixels = np.random.default_rng(height * 41 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    box = Letterbox.fit(height=height, width=width, size=size)
    values = torch.from_numpy(pixels).permute(2, 0, 1)[None].double()
    cubic = functional.interpolate(values, size=(box.inner_height, box.inner_width), mode="bicubic")[0]
    got = box.image(pixels, fill=0.25)[:, box.rows, box.columns].double() * 255
    assert (got - got.round()).abs().max() < 1e-4, "eight-bit values"
    assert (got - cubic.clamp(0, 255)).abs().max() <= 0.501


def test_a_mirrored_view_is_taken_as_it_is() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    box = Letterbox.fit(height=30, width=50, size=64)
    assert torch.equal(box.image(pixels[:, ::-1], fill=0), box.image(pixels[:, ::-1].copy(), fill=0))


@given(height=st.integers(1, 300), width=st.integers(1, 300), longest=st.integers(1, 16).map(lambda number: 8 * number))
def test_the_input_is_just_large_enough(height: int, width: int, longest: int) -> None:
    fitted = ResizeLongest.fit(height=height, width=width, longest=longest, multiple=8)
    assert max(fitted.inner_height, fitted.inner_width) == longest
    assert fitted.input_height % 8 == fitted.input_width % 8 == 0
    assert 0 <= fitted.input_height - fitted.inner_height < 8
    inside = ~fitted.padding()
    assert inside.sum() == fitted.inner_height * fitted.inner_width
    image = fitted.image(np.full((height, width, 3), 255, np.uint8))
    assert image.shape[1:] == inside.shape
    assert torch.equal(image[0] > 0.5, inside)
    mask = fitted.mask(np.ones((height, width), bool))
    assert torch.equal(mask > 0.5, inside)
    back = fitted.invert(mask[None])
    assert back.shape == (1, height, width)
    assert back.min() > 1 - 1e-5


@given(seed=st.integers(0, 1000))
def test_masks_of_inputs_of_any_size_come_back_where_they_were(seed: int) -> None:
    generator = np.random.default_rng(seed)
    height, width = (int(side) for side in generator.integers(40, 200, 2))
    mask = np.zeros((height, width), bool)
    top, left = int(generator.integers(0, height // 2)), int(generator.integers(0, width // 2))
    mask[top : top + height // 2, left : left + width // 2] = True
    fitted = ResizeLongest.fit(height=height, width=width, longest=128, multiple=8)
    back = fitted.invert(fitted.mask(mask)[None])[0].numpy() > 0.5
    assert (back & mask).sum() / (back | mask).sum() > 0.93


@given(height=st.integers(1, 200), width=st.integers(1, 200), short=st.integers(8, 60))
@settings(max_examples=40)
def test_the_short_side_is_met_unless_the_long_side_is_bounded(height: int, width: int, short: int) -> None:
    geometry = ResizeShortest.fit(height=height, width=width, short=short)
    assert min(geometry.inner_height, geometry.inner_width) == short
    bounded = ResizeShortest.fit(height=height, width=width, short=short, longest=80)
    # As published, the short side is rounded first: half a pixel of it is half the ratio of the long side.
    ratio = max(height, width) / min(height, width)
    sides = bounded.inner_height, bounded.inner_width
    assert max(sides) <= max(80, short) + ratio / 2 or min(sides) == 1
    for fitted in (geometry, bounded):
        image = fitted.image(np.full((height, width, 3), 255, np.uint8))
        assert image.shape == (3, fitted.inner_height, fitted.inner_width) and not fitted.padding().any()
        assert fitted.invert(fitted.mask(np.ones((height, width), bool))[None]).min() > 1 - 1e-5


@given(st.integers(1, 200), st.integers(1, 200), st.sampled_from([32, 64]))
def test_a_square_is_pils_resizing_there_and_bilinear_back(height: int, width: int, size: int) -> None:
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (height, width, 3), dtype=np.uint8)
    geometry = Square.fit(height=height, width=width, size=size)
    expected = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
    assert np.array_equal((geometry.image(image) * 255).round().byte().permute(1, 2, 0).numpy(), expected)
    mask = image[..., 0] > 128
    nearest = np.asarray(Image.fromarray(mask.astype(np.uint8)).resize((size, size), Image.Resampling.NEAREST))
    assert np.array_equal(geometry.mask(mask).numpy(), nearest)
    assert not geometry.padding().any()
    assert geometry.invert(torch.ones(2, size // 4, size // 4)).shape == (2, height, width)
