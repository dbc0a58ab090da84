"""CLIP's tokenizer as a vocabulary: from each form of its files, stored and read back, cut and padded."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from helpers.tiny_clip import write_tokenizer

from risctl.errors import CheckpointError, UsageError
from risctl.language.byte_pairs import vocabulary_from_list
from risctl.language.clip_vocabulary import MARK, ClipVocabulary
from risctl.language.pretrained_tokens import PretrainedTokens


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> ClipVocabulary:
    folder = tmp_path_factory.mktemp("tokens")
    write_tokenizer(folder)
    return ClipVocabulary.load(str(folder))


def test_a_text_has_start_and_end_and_the_end_stays_when_it_is_cut(vocabulary: ClipVocabulary) -> None:
    start, end = len(vocabulary) - 2, len(vocabulary) - 1
    ids, mask = vocabulary.encode("The RED cup", max_words=10)
    assert ids[0] == start and ids[-1] == end and len(ids) == 5 and bool(mask.all())
    assert [vocabulary.words[number] for number in ids[1:-1].tolist()] == ["the</w>", "red</w>", "cup</w>"]
    assert vocabulary.ids("the red cup", max_words=4) == [*ids[:3].tolist(), end]
    assert vocabulary.ids("", max_words=4) == [start, end]


def test_id_zero_is_masked_even_within_a_word(vocabulary: ClipVocabulary) -> None:
    """As published; here "a" before another letter has it, in CLIP "!" within a word."""
    ids, mask = vocabulary.encode("ab", max_words=10)
    assert ids[1] == 0 and mask.tolist() == [True, False, True, True]


def test_it_is_stored_and_read_back(vocabulary: ClipVocabulary) -> None:
    stored = vocabulary.to_list()
    assert stored[0] == MARK and vocabulary_from_list(stored) == vocabulary
    assert pickle.loads(pickle.dumps(vocabulary)) == vocabulary
    assert vocabulary != PretrainedTokens(vocabulary.definition)
    with pytest.raises(CheckpointError, match="damaged"):
        vocabulary_from_list([MARK, "a", "b"])
    with pytest.raises(CheckpointError, match="tokenizer as JSON"):
        vocabulary_from_list([MARK, "{}"])


def test_a_missing_file_and_an_empty_text_are_told_clearly(vocabulary: ClipVocabulary, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="found nothing there"):
        ClipVocabulary.load(str(tmp_path / "none.txt.gz"))
    with pytest.raises(CheckpointError, match="found neither"):
        ClipVocabulary.load(str(tmp_path))
    with pytest.raises(UsageError, match="at least one word"):
        vocabulary.encode(" ", max_words=5)


def test_the_published_merges_give_the_published_ids(shared: Path) -> None:
    file = shared / "data" / "tokenizers" / "bpe_simple_vocab_16e6.txt.gz"
    if not file.is_file():
        pytest.skip(f"no CLIP vocabulary at {file}")
    vocabulary = ClipVocabulary.load(str(file))
    assert len(vocabulary) == 49_408
    assert vocabulary.ids("a man", max_words=17) == [49_406, 320, 786, 49_407]
    ids, mask = vocabulary.encode("!?", max_words=17)
    assert torch.equal(mask, ids != 0)
