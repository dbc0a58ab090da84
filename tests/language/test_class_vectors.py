"""The published matrices of class vectors as word vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from risctl.errors import DataError
from risctl.language.class_vectors import BACKGROUND, read_class_table
from risctl.language.coco_classes import SPLITS
from risctl.language.vocabulary import Vocabulary
from risctl.language.word_vectors import WordVectors
from risctl.systems.zsi.build import WORD_NORM, background_vector, class_vectors

ORDER = (*SPLITS["65_15"].seen, *SPLITS["65_15"].unseen)


def write(path: Path, columns: int) -> np.ndarray:
    matrix = np.random.default_rng(0).standard_normal((5, columns)).astype(np.float32)
    path.write_text("\n".join(",".join(f"{number:.6f}" for number in row) for row in matrix) + "\n")
    return matrix


def test_a_matrix_is_read_as_words(tmp_path: Path) -> None:
    """Background's column is the last of them; the classes have the order of their split."""
    matrix = write(tmp_path / "classes.txt", 81)
    vectors = WordVectors.open(tmp_path / "classes.txt", needed=["zebra"], first=3, dim=5)
    assert vectors.dim == 5 and len(vectors.words) == 81
    assert np.allclose(vectors.lookup([BACKGROUND], whole=True)[0][0], matrix[:, 0], atol=1e-5)
    found, there = vectors.lookup(["toaster", "traffic_light", "traffic"])
    assert there.tolist() == [True, True, False]
    for vector, name in zip(found, ("toaster", "traffic light"), strict=False):
        assert np.allclose(vector, matrix[:, 1 + ORDER.index(name)], atol=1e-5)


def test_a_class_has_the_vector_of_its_whole_name_if_there_is_one() -> None:
    words = Vocabulary(["traffic", "light", "traffic_light", "hot", "dog"])
    vectors = torch.eye(7)
    vectors[:2] = 0
    whole, mean = class_vectors(["traffic light", "hot dog"], words, vectors)
    assert torch.allclose(whole, WORD_NORM * vectors[4])
    assert torch.allclose(mean, WORD_NORM * torch.tensor([0, 0, 0, 0, 0, 1, 1]) / 2**0.5, atol=1e-6)


def test_background_is_the_mean_of_all_classes_seen_or_not(shared: Path) -> None:
    """Of the 48 and 17 of one split too: so its published matrix has it, and so it comes of 80 words."""
    folder = shared / "data" / "word_vectors"
    if not folder.is_dir():
        pytest.skip(f"no word vectors at {folder}")
    found = {}
    for name in ("word_w2v_withbg_48_17.txt", "word_w2v_withbg_65_15.txt"):
        vectors = WordVectors.open(folder / name)
        words = Vocabulary([word for word in vectors.words if name.endswith("48_17.txt") or word != BACKGROUND])
        found[name] = background_vector(words, torch.from_numpy(vectors.lookup(words.words, whole=True)[0]))
    own, mean = found.values()
    assert torch.allclose(own, mean, atol=1e-5) and float(own.norm()) == pytest.approx(0.32356, abs=1e-5)


def test_other_files_are_none(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_text("cat 1 2\ndog 3 4\n")
    assert WordVectors.open(path, cached=False).words == ("cat", "dog")
    write(path, 12)
    with pytest.raises(DataError, match="66 or 81 columns"):
        read_class_table(path)
    path.write_text(path.read_text().replace("-", "x"))
    with pytest.raises(DataError, match="cannot read"):
        read_class_table(path)


def test_the_published_ones(shared: Path) -> None:
    path = shared / "data" / "word_vectors" / "word_w2v_withbg_48_17.txt"
    if not path.is_file():
        pytest.skip(f"no word vectors at {path}")
    vectors, there = WordVectors.open(path).lookup(["dog", "cat", "toaster"])
    assert there.all()
    dog, cat, toaster = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert dog @ cat > 0.5 > dog @ toaster
