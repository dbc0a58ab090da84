"""Which words a run knows, and what it tells about them."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.tiny import build_tiny, tiny_recipe, tiny_store

from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.data.store.reader import Store
from risctl.errors import DataError, RecipeError
from risctl.language.coco_classes import SPLITS
from risctl.recipe.load import parse_recipe
from risctl.recipe.schema import Recipe
from risctl.training.run import train
from risctl.training.vocabulary import GatheredVocabulary, gather_vocabulary


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tiny_store(tmp_path)


@pytest.fixture
def vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """GloVe's text form: four words, the most frequent first."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "glove.txt"
    path.write_text("the 1 0 0\ncup 0 1 0\nred 0.5 0.5 0\nrare 9 9 9\n")
    return path


def with_text(store: Path, **text: object) -> Recipe:
    return tiny_recipe(store, model={"text": text})


def test_learned_embeddings_know_the_training_split_alone(store: Path) -> None:
    with Store(store) as opened:
        words = gather_vocabulary(tiny_recipe(store, data={"train_split": "val", "val_split": "train"}), opened)
        expected = {word for text in opened.texts("val") for word in text.split()}
    assert words.vectors is None
    assert set(words.vocabulary.words[2:]) == expected
    assert words.note.startswith("words: learned embeddings over the training vocabulary")


def test_a_flip_brings_its_words_along(tmp_path: Path, store: Path) -> None:
    with Store(store) as opened:
        left = [text for text in opened.texts("train") if "right" not in text]
        opened.texts = lambda *_: left  # type: ignore[method-assign]
        without = gather_vocabulary(tiny_recipe(store), opened).vocabulary
        mirrored = gather_vocabulary(tiny_recipe(store, data={"augment": {"flip": 0.5}}), opened).vocabulary
    assert "left" in without and "right" not in without and "right" in mirrored


def test_read_vectors_stand_at_their_words(store: Path, vectors: Path) -> None:
    with Store(store) as opened:
        words = gather_vocabulary(with_text(store, vectors=str(vectors), dim=3, extra_words=2), opened)
    vocabulary = words.vocabulary.to_list()
    assert words.vectors is not None and words.vectors.shape == (len(vocabulary), 3)
    assert {"the", "cup", "red", "left"} <= set(vocabulary) and "rare" not in vocabulary
    assert words.vectors[vocabulary.index("red")].tolist() == [0.5, 0.5, 0]
    assert words.vectors[vocabulary.index("cup")].tolist() == [0, 1, 0]
    assert not words.vectors[vocabulary.index("left")].any() and not words.vectors[:2].any()
    lacking = len(vocabulary) - 2 - 3
    assert f"{lacking} of them without a vector" in words.note
    assert len(words.without) == lacking and words.without[0] in words.note


def test_other_widths_and_absent_files_are_refused(store: Path, vectors: Path) -> None:
    with Store(store) as opened:
        with pytest.raises(RecipeError, match="dim is 5"):
            gather_vocabulary(with_text(store, vectors=str(vectors), dim=5), opened)
        with pytest.raises(DataError, match=r"absent\.txt"):
            gather_vocabulary(with_text(store, vectors=str(vectors.with_name("absent.txt"))), opened)


def test_the_words_of_a_semantic_encoder_are_listed_and_those_without_a_vector_named(
    store: Path, tmp_path: Path
) -> None:
    """They come first, each with its own vector, "wed" not with those of "we" and "d"; classes must have one."""
    classes = [name.replace(" ", "_") for name in (*SPLITS["48_17"].seen, *SPLITS["48_17"].unseen)]
    listed = ("wed", "xyzzy", "cat", "plugh")
    (tmp_path / "listed.txt").write_text("\n".join(listed))
    vectors = {word: [number, 1.0] for number, word in enumerate(("we", "d", "wed", *classes))}
    recipe = parse_recipe(
        {
            "name": "words",
            "model": {
                "system": "zsi",
                "vocabulary_words": len(listed),
                "text": {"vectors": str(tmp_path / "w2v.txt"), "vocabulary": str(tmp_path / "listed.txt"), "dim": 2},
            },
            "data": {"store": str(store)},
            "train": {"epochs": 1},
        },
        source="test",
    )

    def gathered(**changed: list[float]) -> GatheredVocabulary:
        lines = [f"{word} {x} {y}" for word, (x, y) in (vectors | changed).items()]
        (tmp_path / "w2v.txt").write_text("\n".join(lines) + "\n")
        with Store(store) as opened:
            return gather_vocabulary(recipe, opened)

    words = gathered()
    assert words.vocabulary.words[2 : 2 + len(listed)] == listed
    assert words.vectors is not None and words.vectors[2].tolist() == [2, 1]
    assert words.without[:2] == ("xyzzy", "plugh") and "xyzzy, plugh" in words.note
    assert not {"leftmost", "zebras", "traffic_light"} & set(words.without)
    del vectors["zebra"], vectors["dog"]
    with pytest.raises(RecipeError, match=r"2 classes of the split have no vector in .*'zebra'"):
        gathered(cow=[7.0, 7.0])


def test_the_checkpoint_needs_the_vectors_no_more(store: Path, vectors: Path, tmp_path: Path) -> None:
    recipe = tiny_recipe(store, model={"text": {"vectors": str(vectors), "dim": 3}}, train={"epochs": 1})
    train(recipe, out=tmp_path / "run", device="cpu", build=build_tiny)
    vectors.unlink()
    store.unlink()
    loaded = load_checkpoint(tmp_path / "run", build=build_tiny)
    assert "left" in loaded.header["without_vector"] and "cup" not in loaded.header["without_vector"]
    assert loaded.vocabulary.unknown("the red cup at left") == ["at"]


def test_words_of_published_vectors_join_those_that_are_hashed(store: Path, vectors: Path) -> None:
    text = {"vectors": str(vectors), "dim": 3, "extra_words": 3}
    recipe = tiny_recipe(store, model={"system": "mini", "text": text}, data={"items": "box_grounding"})
    with Store(store) as opened:
        words = gather_vocabulary(recipe, opened)
        again = gather_vocabulary(recipe, opened, before=words.vocabulary)
        with pytest.raises(RecipeError, match=r"dim is 4.*have 3 numbers"):
            gather_vocabulary(
                tiny_recipe(
                    store, model={"system": "mini", "text": text | {"dim": 4}}, data={"items": "box_grounding"}
                ),
                opened,
            )
    assert words.vectors is not None and words.vectors.shape == (len(words.vocabulary), 3)
    assert words.vectors[words.vocabulary.words.index("cup")].tolist() == [0, 1, 0]
    assert again.vectors is not None and (again.vectors == words.vectors).all()
