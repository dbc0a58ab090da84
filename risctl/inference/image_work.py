"""Defines what is done with each of many images, and does it for one batch of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from risctl.errors import RisctlError, UsageError
from risctl.inference.batch_size import BatchSize, is_out_of_memory

Item = TypeVar("Item")
Result = TypeVar("Result")
Taken = TypeVar("Taken", contravariant=True)
Given = TypeVar("Given", covariant=True)


class ImageWork(Protocol[Taken, Given]):
    """What is done with each image, in three parts; only the second needs images in batches."""

    def read(self, item: Taken) -> Any:
        """Reads an image and prepares it. Called in any thread. Raises `DataError` if it cannot be read."""

    def encode(self, read: Sequence[Any]) -> Sequence[Any]:
        """Encodes images that were read, in their order."""

    def finish(self, item: Taken, read: Any, encoded: Any) -> Given:
        """Answers what is asked of an encoded image, and returns what is wanted of that. Called in any thread."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Generic[Item, Result]):
    """What came of an image.

    Attributes:
        item: The image that was given.
        result: What `ImageWork.finish` returned; None after an error.
        error: The error of the image, which others do not share; None if there was none.
        unread: Whether the error came before the image was encoded.
    """

    item: Item
    result: Result | None = None
    error: Exception | None = None
    unread: bool = False

    def value(self) -> Result:
        """Returns the result, or raises the error."""
        if self.error is not None:
            raise self.error
        return self.result  # type: ignore[return-value]


def outcomes_of(work: ImageWork[Item, Result], items: Sequence[Item]) -> list[Outcome[Item, Result]]:
    """Does `work` on one batch of images, without threads."""
    read = [attempt(work.read, item) for item in items]
    return [
        finished(work, item, one, encoded)
        for item, one, encoded in zip(items, read, encoded_batch(work, read, BatchSize(len(items))), strict=True)
    ]


@dataclass(frozen=True, slots=True)
class Failed:
    """Stands for an image that could not be read or encoded.

    Attributes:
        error: Why.
    """

    error: Exception


def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """Returns what a function returns, or its error if that concerns one image alone."""
    try:
        return function(*arguments)
    except (RisctlError, MemoryError, RuntimeError) as error:
        if not isinstance(error, RisctlError) and not is_out_of_memory(error):
            raise
        return Failed(error)


def encoded_batch(work: ImageWork[Any, Any], read: Sequence[Any], size: BatchSize) -> list[Any]:
    """Returns what was read encoded, in its order; failures stay."""
    found = list(read)
    places = [place for place, one in enumerate(read) if not isinstance(one, Failed)]
    while places:
        some = places[: size.current]
        encoded = attempt(work.encode, [read[place] for place in some])
        if isinstance(encoded, Failed):
            if isinstance(encoded.error, UsageError):
                raise encoded.error
            if len(some) > 1:  # one of them, or all together
                size.lower()
                continue
            encoded = [encoded]
        else:
            size.observe(len(some))
        for place, one in zip(some, encoded, strict=True):
            found[place] = one
        places = places[len(some) :]
    return found


def finished(work: ImageWork[Item, Result], item: Item, read: Any, encoded: Any) -> Outcome[Item, Result]:
    """Finishes an image that was read and encoded, and returns its outcome."""
    for one in (read, encoded):
        if isinstance(one, Failed):
            return Outcome(item=item, error=one.error, unread=True)
    result = attempt(work.finish, item, read, encoded)
    if isinstance(result, Failed):
        return Outcome(item=item, error=result.error)
    return Outcome(item=item, result=result)
