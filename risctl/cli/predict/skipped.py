"""Names the pictures and phrases that cannot be used, so that the others are done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from risctl.cli import console
from risctl.errors import DataError, MachineError, UsageError

_NAMED_FRAMES = 20  # a damaged video may have thousands


@dataclass
class Attempt:
    """One attempt to read a picture.

    Attributes:
        failed: Whether it could not be read.
    """

    failed: bool = False


@dataclass(kw_only=True)
class Skipped:
    """Counts what is left out; a picture or phrase that is the only one is an error of its own instead.

    Attributes:
        pictures: How many pictures there are.
        phrases: How many phrases there are.
    """

    pictures: int = 1
    phrases: int = 1
    _counts: Counter[str] = field(default_factory=Counter)
    _frames: dict[str, None] = field(default_factory=dict)

    @contextmanager
    def reading(self, name: str) -> Iterator[Attempt]:
        """Names a picture that cannot be read and encoded, and goes on after the block.

        Args:
            name: What the message calls the picture.

        Yields:
            The attempt, whose `failed` holds after the block whether the picture could not be read.

        Raises:
            DataError: It cannot be read and is the only one.
            MachineError: It needs more memory than there is and is the only one.
        """
        attempt = Attempt()
        with self.within_memory(name, attempt):
            try:
                yield attempt
            except DataError as error:
                attempt.failed = True
                self._skip("pictures", error)

    @contextmanager
    def within_memory(self, name: str, attempt: Attempt | None = None) -> Iterator[None]:
        """Names a picture that needs more memory than there is, and goes on after the block.

        Raises:
            MachineError: It is the only one.
        """
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            from risctl.inference.batch_size import is_out_of_memory

            if not is_out_of_memory(error):
                raise
            if attempt is not None:
                attempt.failed = True
            self._skip("pictures", MachineError(f"{name} needs more memory than there is; scale it down first"))

    def usable_phrases(self, phrases: Iterable[str], *, check: Callable[[str], object] | None = None) -> list[str]:
        """Returns the phrases that have a word and that `check` takes, and names the others.

        Args:
            phrases: The phrases.
            check: Raises `UsageError` for a phrase that the model cannot read; None to check for a word alone.

        Raises:
            UsageError: The only phrase cannot be used.
            DataError: None of several can be used.
        """
        usable = []
        for phrase in phrases:
            try:
                _check_words(phrase)
                if check is not None:
                    check(phrase)
            except UsageError as error:
                self._skip("phrases", error)
            else:
                usable.append(phrase)
        if not usable:
            self.raise_if_any()
        return usable

    def frame(self, error: DataError) -> None:
        """Names a frame of a video that cannot be read; one that a second pass meets again is counted once."""
        message = str(error)
        if message not in self._frames:
            self._frames[message] = None
            if len(self._frames) <= _NAMED_FRAMES:
                console.fail(message)

    @property
    def frames(self) -> int:
        """How many frames were left out."""
        return len(self._frames)

    def raise_if_any(self) -> None:
        """Raises `DataError` if anything was left out."""
        parts = [f"{self.frames} frame{'s' if self.frames > 1 else ''}"] if self._frames else []
        parts += [
            f"{self._counts[kind]} of {getattr(self, kind)} {kind}"
            for kind in ("pictures", "phrases")
            if self._counts[kind]
        ]
        if parts:
            raise DataError(f"{' and '.join(parts)} could not be read; they are named above")

    def _skip(self, kind: str, error: DataError | MachineError | UsageError) -> None:
        if getattr(self, kind) == 1:
            raise error
        self._counts[kind] += 1
        console.fail(str(error))


def _check_words(phrase: str) -> None:
    from risctl.language.tokens import bare, words_of

    if not phrase.strip():
        raise UsageError("a phrase is empty; say what to look for")
    if not any(bare(word) for word in words_of(phrase)):
        raise UsageError(f"expected a text with at least one word, got {phrase!r}")


def remark_on_phrases(phrases: Sequence[str]) -> None:
    """Says so where several phrases look like one whose quotes were forgotten."""
    if len(phrases) > 2 and not any(" " in phrase.strip() for phrase in phrases):
        console.say(
            f'{len(phrases)} phrases of one word each; if they are one phrase, put it in quotes: "{" ".join(phrases)}"'
        )
