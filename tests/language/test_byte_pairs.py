"""Byte pairs: as transformers reads them, cut, stored and refused."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from risctl.errors import CheckpointError, UsageError
from risctl.language.byte_pairs import BytePairs, vocabulary_from_list
from risctl.language.vocabulary import Vocabulary


def tokens_and_merges() -> tuple[list[str], list[str]]:
    from tokenizers.pre_tokenizers import ByteLevel

    merges = ["r e", "re d", "Ġ t", "Ġt h", "Ġth e", "c u", "cu p"]
    joined = [merge.replace(" ", "") for merge in merges]
    return ["<s>", "<pad>", "</s>", "<unk>", *sorted(ByteLevel.alphabet()), *joined, "<mask>"], merges


@pytest.fixture(scope="module")
def pairs() -> BytePairs:
    return BytePairs(*tokens_and_merges())


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory):
    from transformers import RobertaTokenizer

    tokens, merges = tokens_and_merges()
    return RobertaTokenizer(
        vocab={token: number for number, token in enumerate(tokens)}, merges=[tuple(merge.split()) for merge in merges]
    )


@settings(max_examples=60)
@given(text=st.text(max_size=40).filter(lambda text: text.strip() and "<" not in text))
def test_texts_are_read_as_transformers_reads_them(pairs: BytePairs, theirs, text: str) -> None:
    ids, mask = pairs.encode(text, max_words=1000)
    assert ids.tolist() == theirs(" ".join(text.split()))["input_ids"]
    assert mask.all()


def test_merges_are_used_and_long_texts_keep_their_end(pairs: BytePairs) -> None:
    ids, _ = pairs.encode("red  the\ncup", max_words=50)
    assert [pairs.words[number] for number in ids] == ["<s>", "red", "Ġthe", "Ġ", "cup", "</s>"]
    cut, mask = pairs.encode("red the cup " * 30, max_words=9)
    assert len(cut) == len(mask) == 9
    assert cut[0] == 0 and cut[-1] == 2


def test_an_empty_text_is_refused(pairs: BytePairs) -> None:
    with pytest.raises(UsageError, match="at least one word"):
        pairs.encode(" \n", max_words=5)


def test_they_are_stored_as_a_list_and_sent_to_workers(pairs: BytePairs) -> None:
    again = vocabulary_from_list(json.loads(json.dumps(pairs.to_list())))
    assert again == pairs
    assert pickle.loads(pickle.dumps(pairs)) == pairs
    words = Vocabulary(["red", "cup"])
    assert vocabulary_from_list(words.to_list()) == words
    assert pairs != words


def test_what_is_no_tokenizer_is_refused(tmp_path: Path) -> None:
    tokens, merges = tokens_and_merges()
    with pytest.raises(CheckpointError, match="<unk>"):
        BytePairs([token for token in tokens if token != "<unk>"], merges)
    with pytest.raises(CheckpointError, match="no tokenizer"):
        BytePairs(tokens, ["q q"])
    with pytest.raises(CheckpointError, match="damaged"):
        vocabulary_from_list(["<byte-pairs>", *tokens])
    (tmp_path / "vocab.json").write_text('{"a": 5}')
    (tmp_path / "merges.txt").write_text("")
    with pytest.raises(CheckpointError, match="each once"):
        BytePairs.load(str(tmp_path))
