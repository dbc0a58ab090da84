"""Generated phrases: each means what it says, of the right things, reproducibly."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from risctl.data.datasets.coco_phrases.colours import colour_of
from risctl.data.datasets.coco_phrases.describe import Describer, Phrase
from risctl.data.datasets.coco_phrases.generate import make_coco_phrases, read_ids
from risctl.data.datasets.coco_phrases.instances import Instance
from risctl.data.datasets.coco_phrases.lexicon import NOUNS, nouns, plural
from risctl.errors import DataError, UsageError
from risctl.vision import rle

RED, BLUE, WHITE = (200, 20, 30), (30, 40, 200), (250, 250, 250)


def instance(x: float, y: float, *, size: float = 0.2, category: str = "cup", colour: str | None = None) -> Instance:
    corners = (x - size / 2, y - size / 2, x + size / 2, y + size / 2)
    return Instance(corners=corners, category=category, area=size * size, colour=colour)


def said(instances: list[Instance], index: int, *, times: int = 150) -> list[Phrase]:
    describer = Describer(instances, random.Random(0))
    phrases = [describer.single(index) for _ in range(times)]
    return [phrase for phrase in phrases if phrase is not None]


def texts(instances: list[Instance], index: int) -> set[str]:
    return {one.text for one in said(instances, index)}


def test_sides_are_told_apart() -> None:
    cups = [instance(0.2, 0.5), instance(0.5, 0.5), instance(0.8, 0.5)]
    assert any("left" in text for text in texts(cups, 0))
    assert not any("right" in text and "from right" not in text for text in texts(cups, 0))
    assert any("middle" in text or "center" in text for text in texts(cups, 1))
    assert any("second" in text or "2nd" in text for text in texts(cups, 1))


def test_nothing_is_said_of_what_nothing_tells_from_its_like() -> None:
    assert said([instance(0.5, 0.5), instance(0.51, 0.51)], 0) == []


def test_a_name_alone_serves_only_for_the_only_one() -> None:
    assert {"cup", "the cup", "glass"} & texts([instance(0.5, 0.5), instance(0.2, 0.5, category="dog")], 0)
    names = {noun for noun, _ in nouns("cup")}
    assert not names & texts([instance(0.2, 0.5), instance(0.8, 0.5)], 0)
    # A wine glass and a cup are both "glass".
    assert "glass" not in texts([instance(0.2, 0.5), instance(0.8, 0.5, category="wine glass")], 0)


def test_colour_tells_only_if_all_colours_are_known_and_unlike() -> None:
    told = texts([instance(0.5, 0.5, colour="red"), instance(0.51, 0.51, colour="blue")], 0)
    assert any("red" in text for text in told)
    assert said([instance(0.5, 0.5, colour="red"), instance(0.51, 0.51)], 0) == []
    assert said([instance(0.5, 0.5, colour="red"), instance(0.51, 0.51, colour="orange")], 0) == []


def test_people_are_dressed_in_colours() -> None:
    people = [
        instance(0.5, 0.5, category="person", colour="red"),
        instance(0.51, 0.51, category="person", colour="blue"),
    ]
    assert any(" in red" in text for text in texts(people, 0))


def test_size_and_relation() -> None:
    assert any(
        "big" in text or "large" in text for text in texts([instance(0.5, 0.5, size=0.4), instance(0.5, 0.5)], 0)
    )
    scene = [instance(0.2, 0.7), instance(0.35, 0.7, category="dog"), instance(0.9, 0.7)]
    relations = [one for one in said(scene, 0, times=600) if "relation" in one.abilities]
    assert relations
    assert all("dog" in relation.text or "puppy" in relation.text or "pup" in relation.text for relation in relations)


def test_several_are_meant_together() -> None:
    cups = [instance(0.2, 0.5), instance(0.8, 0.5), instance(0.5, 0.9, category="dog")]
    describer = Describer(cups, random.Random(0))
    phrases = [describer.group() for _ in range(60)]
    assert {phrase.targets for phrase in phrases if phrase} == {(0, 1)}
    assert any(phrase is not None and phrase.text.startswith("both") for phrase in phrases)
    assert Describer(cups[1:], random.Random(0)).group() is None


def test_several_on_one_side_are_those_of_that_side() -> None:
    cups = [instance(0.1, 0.5, size=0.1), instance(0.25, 0.5, size=0.1), instance(0.9, 0.5, size=0.1)]
    describer = Describer(cups, random.Random(1))
    phrases = [one for one in (describer.group() for _ in range(300)) if one is not None]
    placed = {phrase.targets for phrase in phrases if "place" in phrase.abilities}
    assert placed == {(0, 1)}
    assert all("left" in phrase.text for phrase in phrases if phrase.targets == (0, 1))


@pytest.mark.parametrize("seed", range(20))
def test_what_is_absent_is_not_there(seed: int) -> None:
    scene = [instance(0.2, 0.5), instance(0.5, 0.9, category="dog")]
    phrase = Describer(scene, random.Random(seed)).absent()
    assert phrase is not None
    assert phrase.targets == ()
    assert "absent" in phrase.abilities
    there = {noun for name in ("cup", "dog") for noun, _ in nouns(name)}
    assert not there & set(phrase.text.split())


# A tie is no order: the third plane is above the others, but not left of them.
@example(places=[(0.5, 0.5, 0.5, "airplane"), (0.5, 0.5, 0.5, "airplane"), (0.5, 0.25, 0.5, "airplane")], seed=0)
@settings(max_examples=60, deadline=None)
@given(
    places=st.lists(
        st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95), st.floats(0.03, 0.5), st.sampled_from(sorted(NOUNS))),
        max_size=12,
    ),
    seed=st.integers(0, 9),
)
def test_any_scene_gives_sound_phrases(places: list[tuple[float, float, float, str]], seed: int) -> None:
    instances = [instance(x, y, size=size, category=category) for x, y, size, category in places]
    describer = Describer(instances, random.Random(seed))
    phrases = [describer.single(index) for index in describer.targets()] + [describer.group(), describer.absent()]
    for phrase in phrases:
        if phrase is None:
            continue
        assert phrase.text.split() and "{" not in phrase.text and phrase.text == " ".join(phrase.text.split())
        assert all(0 <= index < len(instances) for index in phrase.targets)
        assert len(set(phrase.targets)) == len(phrase.targets)
    lefts = [p for p in phrases if p and p.text.startswith("left ") and p.abilities == ("category", "place")]
    for phrase in lefts:
        own = instances[phrase.targets[0]]
        like = [t for t in instances if t.category == own.category and t is not own and t.area >= own.area]
        assert all(own.x < other.x for other in like)


def test_plurals_and_nouns() -> None:
    assert [plural(word) for word in ("cup", "glass", "baby", "man", "toy", "hot dog", "couch", "wine glass")] == [
        *("cups", "glasses", "babies", "men", "toys", "hot dogs", "couches", "wine glasses"),
    ]
    assert nouns("forklift_truck") == [("forklift truck", 1.0)]
    assert all(weight > 0 and noun for name in NOUNS for noun, weight in nouns(name))


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        *((RED, "red"), (BLUE, "blue"), (WHITE, "white"), ((5, 5, 5), "black"), ((230, 220, 30), "yellow")),
        *(((240, 130, 20), "orange"), ((20, 140, 40), "green"), ((110, 60, 25), "brown")),
        *(((128, 128, 128), "gray"), ((250, 150, 180), "pink"), ((120, 30, 160), "purple")),
    ],
)
def test_plain_colours_have_their_names(colour: tuple[int, int, int], name: str) -> None:
    image = np.full((40, 40, 3), colour, dtype=np.uint8)
    assert colour_of(image, np.ones((40, 40), dtype=bool), category="cup") == name


def test_a_mixture_has_no_name_and_a_person_that_of_the_shirt() -> None:
    half = np.zeros((40, 40, 3), dtype=np.uint8)
    half[:, :20], half[:, 20:] = RED, BLUE
    everywhere = np.ones((40, 40), dtype=bool)
    assert colour_of(half, everywhere, category="cup") is None
    dressed = np.full((40, 40, 3), BLUE, dtype=np.uint8)
    dressed[8:22] = RED
    assert colour_of(dressed, everywhere, category="person") == "red"
    assert colour_of(half, np.zeros((40, 40), dtype=bool), category="cup") is None


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """A COCO file of 10 images, each with a red cup left, a blue one right and a white dog."""
    folder = tmp_path / "images"
    folder.mkdir()
    images, annotations = [], []
    for image_id in range(1, 11):
        image = np.full((120, 160, 3), 128, dtype=np.uint8)
        places = ((10, 20, 40, 40, RED, 47), (100, 30, 40, 40, BLUE, 47), (60, 70, 40, 40, WHITE, 18))
        for x, y, width, height, colour, category in places:
            image[y : y + height, x : x + width] = colour
            corners = [x, y, x + width, y, x + width, y + height, x, y + height]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": category,
                    "segmentation": [corners],
                    "bbox": [x, y, width, height],
                    "iscrowd": 0,
                }
            )
        Image.fromarray(image).save(folder / f"{image_id}.png")
        images.append({"id": image_id, "file_name": f"{image_id}.png", "height": 120, "width": 160})
    categories = [{"id": 47, "name": "cup"}, {"id": 18, "name": "dog"}, {"id": 22, "name": "elephant"}]
    path = tmp_path / "instances.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


def test_a_coco_file_becomes_a_dataset(coco: Path) -> None:
    dataset = make_coco_phrases(coco, images=coco.parent / "images", seed=3)
    assert {split: row["images"] for split, row in dataset.counts().items()} == {"train": 8, "val": 1, "test": 1}
    spoken = {expression.sent for record in dataset.records for expression in record.expressions}
    assert any("red" in text for text in spoken) and any("left" in text for text in spoken)
    for record in dataset.records:
        for expression in record.expressions:
            assert ("absent" in expression.abilities) == (record.annotation_ids == ())
            assert ("plural" in expression.abilities) == (len(record.annotation_ids) > 1)
        boxes = [rle.box(dataset.annotations[key].mask) for key in record.annotation_ids]
        if len(boxes) == 1 and any("red" in expression.sent.split() for expression in record.expressions):
            assert boxes[0][0] == 10
    sentence_ids = [expression.sentence_id for record in dataset.records for expression in record.expressions]
    assert sentence_ids == list(range(len(sentence_ids)))


def test_the_seed_decides(coco: Path) -> None:
    first, again, other = (make_coco_phrases(coco, images=coco.parent / "images", seed=seed) for seed in (1, 1, 2))
    assert first.records == again.records
    assert first.records != other.records


def test_excluded_and_missing_images(coco: Path, tmp_path: Path) -> None:
    listed = tmp_path / "ids.txt"
    listed.write_text("1, 2\n000000000003\n")
    images = coco.parent / "images"
    dataset = make_coco_phrases(coco, images=images, exclude=read_ids(listed))
    assert not {1, 2, 3} & set(dataset.images)
    listed.write_text("1\ntwo\n")
    with pytest.raises(DataError, match="line 2"):
        read_ids(listed)
    (images / "4.png").unlink()
    with pytest.raises(DataError, match="missing"):
        make_coco_phrases(coco, images=images)
    kept = make_coco_phrases(coco, images=images, on_missing="drop")
    assert 4 not in kept.images
    assert kept.notes == {"pictures missing, left out": 1}
    with pytest.raises(DataError, match="no picture"):
        make_coco_phrases(coco, images=images, exclude=range(20))
    with pytest.raises(UsageError):
        make_coco_phrases(coco, images=images, shares={"train": 0})


def test_held_out_images_are_the_test_split(coco: Path) -> None:
    images = coco.parent / "images"
    dataset = make_coco_phrases(coco, images=images, held_out={2, 5, 99}, shares={"train": 0.5, "val": 0.5}, seed=1)
    of_split: dict[str, set[int]] = {}
    for record in dataset.records:
        of_split.setdefault(record.split, set()).add(record.image_id)
    assert of_split["test"] == {2, 5}
    assert {len(of_split["train"]), len(of_split["val"])} == {4}
    assert list(dataset.counts()) == ["train", "val", "test"]


def test_the_command_writes_a_store(coco: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from risctl.cli.app import app
    from risctl.data.store.reader import Store

    out = tmp_path / "phrases.h5"
    files = ["--instances", str(coco), "--images", str(coco.parent / "images")]
    arguments = ["prepare", "coco-phrases", *files, "--out", str(out), "--json"]
    assert isinstance(CliRunner().invoke(app, [*arguments, "--splits", "train"]).exception, UsageError)
    done = CliRunner().invoke(app, [*arguments, "--splits", "held=1"])
    assert done.exit_code == 0, done.output
    written = json.loads(done.stdout)
    with Store(out) as store:
        assert store.counts() == written["counts"]
        sample = store.sample(int(store.sentences("held")[0]))
        assert sample.abilities and sample.image.shape == (120, 160, 3)


def test_real_images_get_phrases_of_every_kind(shared: Path) -> None:
    folder = shared / "data" / "coco_mini"
    content = json.loads((folder / "instances.json").read_text())
    others = {image["id"] for image in content["images"][40:]}
    dataset = make_coco_phrases(folder / "instances.json", images=folder / "images", exclude=others)
    abilities = {
        name for record in dataset.records for expression in record.expressions for name in expression.abilities
    }
    assert abilities == {"category", "colour", "size", "place", "order", "relation", "absent", "plural"}
