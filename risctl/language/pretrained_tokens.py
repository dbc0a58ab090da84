"""Holds the tokenizer of a transformers model as a vocabulary that is stored in the checkpoint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from risctl.errors import CheckpointError
from risctl.language.subword_vocabulary import SubwordVocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MARK = "<tokenizer>"
"""First entry of the list of such a vocabulary; the second is the tokenizer as JSON of the `tokenizers` library."""


class PretrainedTokens(SubwordVocabulary):
    """The tokens of any fast tokenizer, start and end tokens included as the model wants them.

    Attributes:
        mark: First entry of the list that a checkpoint keeps of it.
    """

    mark: ClassVar[str] = MARK

    def __init__(self, definition: str) -> None:
        """Builds the tokenizer from its JSON. Raises `CheckpointError` if it is none."""
        super().__init__()
        self.definition = definition
        try:
            self._tokenizer = _tokenizer(definition)
        except Exception as error:  # the library raises plain Exception
            raise CheckpointError(f"expected a tokenizer as JSON; {error}") from error
        table = self._tokenizer.get_vocab(with_added_tokens=True)
        self.words = tuple(sorted(table, key=table.__getitem__))
        self._ids = table

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.definition == other.definition

    def __hash__(self) -> int:
        return hash(self.definition)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} tokens)"

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.definition,))

    def to_list(self) -> list[str]:
        """Returns the mark and the tokenizer's JSON."""
        return [self.mark, self.definition]

    @classmethod
    def from_list(cls, words: Sequence[str]) -> Self:
        """Returns the tokenizer that `to_list` gave. Raises `CheckpointError` if it cannot be one."""
        if len(words) != 2 or words[0] != cls.mark or not isinstance(words[1], str):
            raise CheckpointError("expected a tokenizer as JSON in the checkpoint; it is damaged")
        return cls(words[1])


def _tokenizer(definition: str) -> Tokenizer:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(definition)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
