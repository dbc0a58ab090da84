"""BERT's tokenizer: read as transformers reads it, from a file, a folder or a checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest

from risctl.data.transforms.preprocess import SquarePreprocess
from risctl.errors import CheckpointError
from risctl.language.byte_pairs import vocabulary_from_list
from risctl.language.wordpiece import read_wordpiece, wordpiece

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "man", "##s", "red", "!", ",", "cafe", "left", "-"]


def write(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "vocab.txt"
    path.write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    ["The mans, Red!", "café left-man", "[SEP] man", "xyzzy man\u3000red", "the the the the the the the", "左 man"],
)
def test_texts_are_read_as_transformers_reads_them(tmp_path: Path, text: str) -> None:
    from transformers import BertTokenizerFast

    table = {token: number for number, token in enumerate(TOKENS)}
    theirs = BertTokenizerFast(vocab=table, do_lower_case=True)
    ours = read_wordpiece(str(write(tmp_path)))
    assert ours.encode(text, max_words=99)[0].tolist() == theirs(text)["input_ids"]


def test_a_file_a_folder_and_a_checkpoint_give_the_same_tokenizer(tmp_path: Path) -> None:
    path = write(tmp_path)
    whole = read_wordpiece(str(path))
    assert read_wordpiece(str(tmp_path)) == whole == wordpiece(TOKENS, source="here")
    assert vocabulary_from_list(whole.to_list()) == whole
    path.unlink()
    (tmp_path / "tokenizer.json").write_text(whole.definition, encoding="utf-8")
    assert read_wordpiece(str(tmp_path)) == whole


def test_an_expression_of_a_square_has_one_length_and_loses_its_end_token(tmp_path: Path) -> None:
    prepare = SquarePreprocess(size=32, max_words=5, vocabulary=read_wordpiece(str(write(tmp_path))))
    ids, mask = prepare.text("the man")
    assert (ids.tolist(), mask.tolist()) == ([2, 5, 6, 3, 0], [True, True, True, True, False])
    assert prepare.text("the man the man the man")[0].tolist() == [2, 5, 6, 5, 6]


def test_what_is_no_vocabulary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("the\nman\n")
    with pytest.raises(CheckpointError, match=r"lacking \[PAD\], \[UNK\], \[CLS\], \[SEP\]"):
        read_wordpiece(str(tmp_path))
    (tmp_path / "vocab.txt").write_text("\n".join([*TOKENS, "man"]))
    with pytest.raises(CheckpointError, match="1 repeat"):
        read_wordpiece(str(tmp_path / "vocab.txt"))
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe" * 9)
    with pytest.raises(CheckpointError, match="expected a tokenizer of BERT"):
        read_wordpiece(str(tmp_path))
    (tmp_path / "vocab.txt").unlink()
    with pytest.raises(CheckpointError, match="found neither"):
        read_wordpiece(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match="expected a tokenizer as JSON"):
        read_wordpiece(str(tmp_path))
