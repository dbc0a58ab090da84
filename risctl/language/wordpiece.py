"""Reads BERT's uncased WordPiece tokenizer, which the checkpoint then holds.

Source: Wu et al., "Google's Neural Machine Translation System" (2016), section 4.1; BERT (Devlin et al., NAACL 2019).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from risctl.errors import CheckpointError
from risctl.language.pretrained_tokens import PretrainedTokens
from risctl.language.subword_vocabulary import tokenizer_file

PAD, UNKNOWN, START, END, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
_SPECIAL = (PAD, UNKNOWN, START, END, MASK)
_BYTES = 16 * 2**20
"""The largest vocabulary or tokenizer file that is read; BERT's have 230 kB and 700 kB."""


def read_wordpiece(source: str) -> PretrainedTokens:
    """Reads a WordPiece tokenizer.

    Args:
        source: A `vocab.txt` with one token a line, a folder with `vocab.txt` or `tokenizer.json`, or a hub id such as
            `bert-base-uncased`.

    Raises:
        CheckpointError: The file is missing, too long or no tokenizer.
        MachineError: The hub's file is neither cached nor reachable.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        named = [path / name for name in ("vocab.txt", "tokenizer.json") if (path / name).is_file()]
        if not named:
            raise CheckpointError(f"expected vocab.txt or tokenizer.json of BERT in {path}, found neither")
        path = named[0]
    elif not path.is_file():
        path = tokenizer_file(source, "vocab.txt")
    text = _text(path)
    return PretrainedTokens(text) if path.suffix == ".json" else wordpiece(_lines(text), source=str(path))


def wordpiece(tokens: Sequence[str], *, source: str) -> PretrainedTokens:
    """Returns the uncased WordPiece tokenizer of a vocabulary.

    Args:
        tokens: The tokens, numbered from 0 in their order; those that continue a word begin with "##".
        source: Where they are from, for messages.

    Raises:
        CheckpointError: A token is repeated, or a special one is missing.
    """
    table = {token: number for number, token in enumerate(tokens)}
    absent = [token for token in _SPECIAL[:4] if token not in table]
    if absent or len(table) != len(tokens):
        got = f"lacking {', '.join(absent)}" if absent else f"{len(tokens) - len(table)} repeat"
        raise CheckpointError(
            f"expected different tokens, one a line, with {' '.join(_SPECIAL[:4])} in {source}; {got}"
        )
    # Not above: words need no library.
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece(vocab=table, unk_token=UNKNOWN, max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing((END, table[END]), (START, table[START]))
    tokenizer.decoder = decoders.WordPiece()
    # As in transformers, a special token that a text spells out stays whole.
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in _SPECIAL if token in table])
    return PretrainedTokens(tokenizer.to_str())


def _lines(text: str) -> list[str]:
    # Not splitlines: a token may be one of Unicode's other line ends.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines and not lines[-1] else lines


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(_BYTES + 1)
        if len(data) > _BYTES:
            raise ValueError(f"it has more than {_BYTES:,} bytes")
        return data.decode("utf-8")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"expected a tokenizer of BERT at {path}; {error}") from error
