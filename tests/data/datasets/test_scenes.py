"""Scenes: the same on every machine's every process, exact masks, and expressions that single out one thing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from helpers.scene_reader import Eye, Meaning, read
from PIL import Image

from risctl.data.datasets.scenes.catalogue import CATEGORIES
from risctl.data.datasets.scenes.export import write_images
from risctl.data.datasets.scenes.generate import RenderedScene, make_scene, make_scenes
from risctl.data.datasets.scenes.palette import COLOURS
from risctl.data.datasets.scenes.phrases import ABILITIES, Phrase, without_words
from risctl.data.datasets.scenes.render import View, render
from risctl.data.datasets.scenes.spatial_relations import RELATIONS
from risctl.data.records import Dataset
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.errors import UsageError
from risctl.vision import rle

SEED = 7


@pytest.fixture(scope="module")
def made() -> list[tuple[RenderedScene, View]]:
    """Scenes with how they were drawn; those found at the first attempt."""
    pairs = [(make_scene(index, seed=SEED), render(np.random.default_rng([SEED, index, 0]))) for index in range(120)]
    same = [(scene, view) for scene, view in pairs if np.array_equal(scene.pixels, view.pixels)]
    assert len(same) > 0.8 * len(pairs)
    return same


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return make_scenes(count=30, seed=SEED)


def digest(dataset: Dataset) -> str:
    """Return one mark for all that a dataset holds."""
    mark = hashlib.sha256()
    for image in dataset.images.values():
        mark.update(repr((image.image_id, image.file_name, image.height, image.width)).encode())
        mark.update(image.data or b"")
    for annotation in dataset.annotations.values():
        mark.update(repr(annotation).encode())
    mark.update(repr(dataset.records).encode())
    return mark.hexdigest()


def eye(scene: RenderedScene, view: View) -> Eye:
    """Return a scene as the second reader sees it: painted again, one object at a time."""
    height, width = scene.index_map.shape
    whole = np.zeros((len(view.objects), height, width), dtype=bool)
    for k, one in enumerate(view.objects):
        rows, columns = np.nonzero(one.sprite.alpha >= 0.5)
        whole[k, rows + one.top, columns + one.left] = True
    count = len(view.objects)
    covered = np.zeros((count, count), dtype=int)
    for back in range(count):
        for front in range(back + 1, count):
            covered[back, front] = np.count_nonzero(whole[back] & whole[front])
    masks = np.stack([scene.index_map == k for k in range(count)])
    return Eye(
        masks,
        [scene_object.category for scene_object in scene.objects],
        [scene_object.colour for scene_object in scene.objects],
        covered,
    )


def meaning_of(phrase: Phrase) -> Meaning:
    relation = None if phrase.relation is None else (phrase.relation[0], meaning_of(phrase.relation[1]))
    return Meaning(phrase.noun, phrase.colour, phrase.size, phrase.place, phrase.order, relation)


def test_a_seed_gives_the_same_bytes_in_any_process_and_with_any_number_of_workers() -> None:
    program = (
        "import sys; from test_scenes import digest, make_scenes\n"
        "if __name__ == '__main__': print(digest(make_scenes(count=20, seed=3, workers=2)))"
    )
    here = Path(__file__).resolve().parent
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "12345",
        "PYTHONPATH": os.pathsep.join([str(here), str(here.parents[1])]),
    }
    command = [sys.executable, "-c", program]
    there = subprocess.run(command, env=environment, capture_output=True, text=True, cwd=here, check=True)
    assert there.stdout.strip() == digest(make_scenes(count=20, seed=3))


def test_a_scene_does_not_depend_on_how_many_there_are(dataset: Dataset) -> None:
    fewer = make_scenes(count=10, seed=SEED)
    assert list(fewer.images.values()) == list(dataset.images.values())[:10]
    assert fewer.records == dataset.records[: len(fewer.records)]
    assert not np.array_equal(make_scene(0, seed=1).pixels[:200, :200], make_scene(0, seed=2).pixels[:200, :200])


def test_splits_are_disjoint_in_fixed_shares_and_ids_are_unique(dataset: Dataset) -> None:
    counts = dataset.counts()
    assert {split: row["images"] for split, row in counts.items()} == {"train": 24, "val": 3, "test": 3}
    splits: dict[int, set[str]] = {}
    for record in dataset.records:
        splits.setdefault(record.image_id, set()).add(record.split)
    assert all(len(found) == 1 for found in splits.values())
    assert len({record.ref_id for record in dataset.records}) == len(dataset.records)
    sentences = [expression.sentence_id for record in dataset.records for expression in record.expressions]
    assert len(set(sentences)) == len(sentences)
    for record in dataset.records:
        assert 1 <= len(record.expressions) <= 3
        assert all(
            dataset.annotations[annotation_id].image_id == record.image_id for annotation_id in record.annotation_ids
        )
        for expression in record.expressions:
            assert expression.sent == expression.raw.lower().rstrip(".")
            assert expression.tokens == tuple(expression.sent.split())
            assert set(expression.abilities) <= set(ABILITIES) and expression.abilities
            assert ("absent" in expression.abilities) == (record.annotation_ids == ())


def test_images_are_jpeg_of_the_stated_size_and_masks_do_not_overlap(dataset: Dataset) -> None:
    for image in dataset.images.values():
        picture = Image.open(io.BytesIO(image.data or b""))
        assert (picture.format, picture.size) == ("JPEG", (image.width, image.height))
        of_image = [annotation for annotation in dataset.annotations.values() if annotation.image_id == image.image_id]
        masks = np.stack([rle.decode(one.mask) for one in of_image])
        assert masks.shape[1:] == (image.height, image.width)
        assert masks.sum(axis=0).max() == 1
        for one, mask in zip(of_image, masks, strict=True):
            rows, columns = np.nonzero(mask)
            x, y, width, height = one.box
            assert (x, y) == (columns.min(), rows.min())
            assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)


def test_the_stored_image_and_masks_are_those_of_the_scene(dataset: Dataset) -> None:
    for image in list(dataset.images.values())[:10]:
        scene = make_scene(image.image_id - 1, seed=SEED)
        decoded = np.asarray(Image.open(io.BytesIO(image.data or b"")), dtype=int)
        assert np.abs(decoded - scene.pixels).mean() < 4
        of_image = [annotation for annotation in dataset.annotations.values() if annotation.image_id == image.image_id]
        for k, one in enumerate(of_image):
            assert np.array_equal(rle.decode(one.mask), scene.index_map == k)
            assert dataset.categories[one.category_id] == scene.objects[k].category


def test_masks_are_what_is_seen_of_each_object(made: list[tuple[RenderedScene, View]]) -> None:
    for scene, view in made[:40]:
        painted = np.full(scene.index_map.shape, -1)
        for k, one in enumerate(view.objects):
            for row, column in np.argwhere(one.sprite.alpha >= 0.5):
                painted[one.top + row, one.left + column] = k
        assert np.array_equal(painted, scene.index_map)


def test_an_object_taken_away_changes_the_image_where_its_mask_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from risctl.data.datasets.scenes import layout

    whole = render(np.random.default_rng([SEED, 0, 0]))
    placing = layout.place
    for k in range(len(whole.objects)):
        monkeypatch.setattr(layout, "place", lambda *a, k=k, **b: [o for j, o in enumerate(placing(*a, **b)) if j != k])
        without = render(np.random.default_rng([SEED, 0, 0]))
        changed = np.abs(whole.pixels.astype(int) - without.pixels).max(axis=2) > 4
        mask = whole.index_map == k
        assert changed[mask].mean() > 0.9
        others = (whole.index_map >= 0) & ~mask
        # A soft edge may show through one pixel of a neighbour; shadows fall on the background alone.
        assert changed[others].mean() < 0.02


def test_what_is_referred_to_can_be_seen(made: list[tuple[RenderedScene, View]]) -> None:
    for scene, view in made:
        for referral in scene.referrals:
            if referral.target is not None:
                visible = np.count_nonzero(scene.index_map == referral.target)
                assert visible >= 0.008 * scene.index_map.size
                assert visible >= 0.45 * np.count_nonzero(view.objects[referral.target].sprite.solid)


def test_expressions_read_back_as_they_were_meant(made: list[tuple[RenderedScene, View]]) -> None:
    for scene, _ in made:
        for referral in scene.referrals:
            for worded in referral.expressions:
                assert asdict(read(worded.sent)) == asdict(meaning_of(worded.phrase)), worded.sent


def test_expressions_fit_exactly_what_they_refer_to(made: list[tuple[RenderedScene, View]]) -> None:
    for scene, view in made:
        viewer = eye(scene, view)
        for referral in scene.referrals:
            expected = set() if referral.target is None else {referral.target}
            for worded in referral.expressions:
                assert viewer.fitting(read(worded.sent)) == expected, (scene.index, worded.sent)


def test_what_is_not_tagged_is_not_needed(made: list[tuple[RenderedScene, View]]) -> None:
    for scene, view in made:
        viewer = eye(scene, view)
        for referral in scene.referrals:
            expected = set() if referral.target is None else {referral.target}
            for worded in referral.expressions:
                for ability, others in without_words(worded.phrase).items():
                    if ability not in worded.abilities:
                        found = [viewer.fitting(meaning_of(other)) for other in others]
                        assert all(one == expected for one in found), (scene.index, worded.sent, ability)


def test_what_is_tagged_is_needed_where_kind_and_colour_decide(made: list[tuple[RenderedScene, View]]) -> None:
    checked = 0
    for scene, view in made:
        viewer = eye(scene, view)
        for referral in scene.referrals:
            expected = set() if referral.target is None else {referral.target}
            for worded in referral.expressions:
                phrase = worded.phrase
                if phrase == Phrase(noun=phrase.noun, colour=phrase.colour):
                    if "colour" in worded.abilities:
                        assert viewer.fitting(meaning_of(replace(phrase, colour=None))) != expected
                        checked += 1
                    if "category" in worded.abilities:
                        assert viewer.fitting(meaning_of(replace(phrase, noun="thing"))) != expected
                        checked += 1
    assert checked > 50


def test_size_words_agree_with_the_areas_seen(made: list[tuple[RenderedScene, View]]) -> None:
    found = Counter()
    for scene, view in made:
        areas = eye(scene, view).areas
        for referral in scene.referrals:
            for worded in referral.expressions:
                phrase = worded.phrase
                if phrase.size is None or referral.target is None or phrase.noun not in CATEGORIES:
                    continue
                others = [areas[k] for k, one in enumerate(scene.objects) if one.category == phrase.noun]
                own = areas[referral.target]
                assert own * 1.7 <= max(others) if phrase.size.startswith("small") else own >= 1.7 * min(others)
                found[phrase.size] += 1
    assert set(found) == {"small", "large", "smallest", "largest"}


def test_every_ability_relation_colour_and_kind_has_its_share(made: list[tuple[RenderedScene, View]]) -> None:
    referrals = [referral for scene, _ in made for referral in scene.referrals]
    expressions = [worded for referral in referrals for worded in referral.expressions]
    counts = Counter(ability for worded in expressions for ability in worded.abilities)
    least = {"category": 0.4, "colour": 0.2, "size": 0.08, "place": 0.1, "order": 0.1, "relation": 0.08, "absent": 0.03}
    assert {
        name: counts[name] / len(expressions) for name in ABILITIES if counts[name] < least[name] * len(expressions)
    } == {}
    assert 0.04 < sum(referral.target is None for referral in referrals) / len(referrals) < 0.14
    assert {worded.phrase.relation[0] for worded in expressions if worded.phrase.relation} == set(RELATIONS)
    assert {worded.phrase.order[0] for worded in expressions if worded.phrase.order} >= {1, 2}
    assert {scene_object.colour for scene, _ in made for scene_object in scene.objects} == set(COLOURS)
    assert {scene_object.category for scene, _ in made for scene_object in scene.objects} == set(CATEGORIES)
    assert 2 <= len(referrals) / len(made) <= 4


def test_colours_stay_what_they_are_called_when_drawn(made: list[tuple[RenderedScene, View]]) -> None:
    """The median pixel of a thing's own parts is nearer to its own colour than to a far one (hue, or grey value)."""
    hues = {"red": 0, "orange": 28, "yellow": 54, "green": 125, "blue": 222, "purple": 278, "pink": 335}
    wrong, count = 0, 0
    for scene, _ in made:
        pixels = np.asarray(Image.fromarray(scene.pixels).convert("HSV"), dtype=float)
        for k, one in enumerate(scene.objects):
            if one.colour in hues and one.category in ("ball", "balloon", "cup", "box", "star", "hat"):
                hue, saturation, _ = pixels[scene.index_map == k].T
                hue = np.median(hue[saturation > 60] * 360 / 255) if (saturation > 60).any() else -1.0
                gaps = {name: min(abs(hue - own), 360 - abs(hue - own)) for name, own in hues.items()}
                wrong += one.colour not in sorted(gaps, key=lambda name: gaps[name])[:1]
                count += 1
    assert count > 60 and wrong <= 0.03 * count


def test_too_few_scenes_and_impossible_sizes_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 10 scenes"):
        make_scenes(count=9, seed=0)
    with pytest.raises(UsageError, match="seed"):
        make_scenes(count=10, seed=-1)
    with pytest.raises(UsageError, match="50x50"):
        make_scenes(count=10, seed=0, size=(50, 50))


def test_a_size_asked_for_is_kept() -> None:
    scene = make_scene(0, seed=0, size=(400, 200))
    assert scene.pixels.shape == (200, 400, 3)


def test_images_come_with_their_expressions(tmp_path: Path) -> None:
    written = write_images(tmp_path, count=2, seed=SEED)
    assert [path.name for path in written] == ["scene_000009.png", "scene_000019.png"]
    scene = make_scene(9, seed=SEED)
    assert np.array_equal(np.asarray(Image.open(written[0])), scene.pixels)
    described = json.loads(written[0].with_suffix(".json").read_text())
    texts = [worded.sent for referral in scene.referrals for worded in referral.expressions]
    assert described["image"] == written[0].name
    assert [one["text"] for one in described["expressions"]] == texts


def test_scenes_survive_the_store(dataset: Dataset, tmp_path: Path) -> None:
    write_store(dataset, tmp_path / "scenes.h5")
    with Store(tmp_path / "scenes.h5") as store:
        assert store.counts() == dataset.counts()
        rows = store.sentences("test")
        sample = store.sample(int(rows[0]))
        record = next(one for one in dataset.records if one.ref_id == sample.ids.ref_id)
        expression = next(one for one in record.expressions if one.sentence_id == sample.ids.sentence_id)
        assert (sample.text, sample.abilities) == (expression.sent, expression.abilities)
        mask = rle.decode(dataset.annotations[record.annotation_ids[0]].mask)
        assert np.array_equal(sample.mask, mask)
        absent = next(one for one in dataset.records if not one.annotation_ids)
        number = next(n for n in store.refs("all") if store.ref(int(n)).ref_id == absent.ref_id)
        assert rle.area(store.mask(int(number))) == 0
