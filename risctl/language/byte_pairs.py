"""Implements RoBERTa's byte-pair tokenizer, stored in the checkpoint.

Source: Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units" (ACL 2016), with bytes as symbols
as in GPT-2.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from risctl.errors import CheckpointError
from risctl.json_text import parse_json
from risctl.language.clip_vocabulary import MARK as CLIP_MARK
from risctl.language.clip_vocabulary import ClipVocabulary
from risctl.language.pretrained_tokens import MARK as TOKENIZER_MARK
from risctl.language.pretrained_tokens import PretrainedTokens
from risctl.language.subword_vocabulary import SubwordVocabulary, tokenizer_file
from risctl.language.vocabulary import Vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MARK = "<byte-pairs>"
"""First entry of the list of a byte-pair vocabulary: what follows is tokens, the mark again, then merges."""

START, PAD, END, UNKNOWN = "<s>", "<pad>", "</s>", "<unk>"


class BytePairs(SubwordVocabulary):
    """A byte-pair vocabulary. No text is unknown: in the worst case it is read byte by byte.

    Args:
        tokens: The tokens, numbered from 0 in their order.
        merges: Merges "left right", most important first.

    Raises:
        CheckpointError: They make no tokenizer.
    """

    def __init__(self, tokens: Sequence[str], merges: Sequence[str]) -> None:
        """Builds the tokenizer."""
        super().__init__()
        self.words = tuple(tokens)
        self.merges = tuple(merges)
        self._ids = {token: number for number, token in enumerate(self.words)}
        absent = [token for token in (START, PAD, END, UNKNOWN) if token not in self._ids]
        if absent:
            raise CheckpointError(
                f"expected byte pairs with the tokens {START} {PAD} {END} {UNKNOWN}; lacking {absent}"
            )
        try:
            self._tokenizer = self._build()
        except Exception as error:  # the library raises plain Exception
            raise CheckpointError(f"these tokens and merges make no tokenizer: {error}") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BytePairs) and (self.words, self.merges) == (other.words, other.merges)

    def __hash__(self) -> int:
        return hash((self.words, self.merges))

    def __repr__(self) -> str:
        return f"BytePairs({len(self)} tokens)"

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.words, self.merges))

    @classmethod
    def load(cls, source: str) -> BytePairs:
        """Loads a tokenizer.

        Args:
            source: A folder with vocab.json and merges.txt, or a hub id such as `roberta-base`.

        Raises:
            MachineError: The hub's files are neither cached nor reachable.
            CheckpointError: The files are damaged.
        """
        folder = Path(source).expanduser()
        paths = [
            folder / name if folder.is_dir() else tokenizer_file(source, name) for name in ("vocab.json", "merges.txt")
        ]
        try:
            table = parse_json(paths[0].read_text(encoding="utf-8"))
            lines = paths[1].read_text(encoding="utf-8").splitlines()
            if not isinstance(table, dict) or not all(type(number) is int for number in table.values()):
                raise ValueError("vocab.json maps no tokens to their numbers")
            tokens = sorted(table, key=table.__getitem__)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"expected vocab.json and merges.txt of RoBERTa in {source}; {error}") from error
        if [table[token] for token in tokens] != list(range(len(tokens))):
            raise CheckpointError(f"{paths[0]}: expected the ids 0 to {len(tokens) - 1}, each once")
        return cls(tokens, [line for line in lines if line and not line.startswith("#version")])

    def to_list(self) -> list[str]:
        """Returns the mark, the tokens, the mark, the merges."""
        return [MARK, *self.words, MARK, *self.merges]

    def _build(self) -> Tokenizer:
        # Not above: words need no library.
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors

        pairs = [(left, right) for left, _, right in (merge.partition(" ") for merge in self.merges)]
        tokenizer = Tokenizer(models.BPE(vocab=dict(self._ids), merges=pairs))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        tokenizer.post_processor = processors.RobertaProcessing(
            (END, self._ids[END]), (START, self._ids[START]), trim_offsets=True, add_prefix_space=False
        )
        return tokenizer


def vocabulary_from_list(words: Sequence[str]) -> Vocabulary:
    """Returns the vocabulary, of words or of byte pairs, whose `to_list` gave `words`.

    Raises:
        CheckpointError: The list is of neither kind.
    """
    if words and words[0] == TOKENIZER_MARK:
        return PretrainedTokens.from_list(words)
    if words and words[0] == CLIP_MARK:
        return ClipVocabulary.from_list(words)
    if not words or words[0] != MARK:
        return Vocabulary.from_list(words)
    if words.count(MARK) != 2:
        raise CheckpointError("expected a byte-pair vocabulary of tokens and merges; it is damaged")
    middle = list(words).index(MARK, 1)
    return BytePairs(words[1:middle], words[middle + 1 :])
