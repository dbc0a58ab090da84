"""Reads the body of a request, JSON or multipart, within bounds: the image or its digest, phrases, model."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from risctl.demo.limits import Deadline, Limits
from risctl.demo.problems import ProblemError
from risctl.json_text import parse_object


class _InMemory(MultiPartParser):
    """Keeps files in memory: Starlette's own writes what is over 1 MB to the disk, where no picture is to be."""

    spool_max_size = 2**40
    max_file_size = spool_max_size  # its name before Starlette 0.45


_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAMES = ("image", "digest", "phrases", "model")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request's content.

    Attributes:
        data: The bytes of the image or video, None where a digest names an image that was sent before.
        digest: That digest.
        phrases: The phrases, each with a word's room at least.
        model: The key of the model, None for the first.
    """

    data: bytes | None
    digest: str | None
    phrases: tuple[str, ...]
    model: str | None


def declared_length(request: Request, limits: Limits) -> int:
    """Returns how long a body says it is.

    Raises:
        ProblemError: It does not say so, or is too long.
    """
    stated = request.headers.get("content-length")
    if stated is None:
        raise ProblemError(411, "no-length", "expected the header Content-Length")
    length = int(stated) if stated.isascii() and stated.isdigit() and len(stated) < 20 else -1
    if length < 0:
        raise ProblemError(400, "unusable", "the header Content-Length is no number")
    if length > limits.body_bytes:
        raise ProblemError(413, "too-many-bytes", f"{length:,} bytes are more than the limit of {limits.body_bytes:,}")
    return length


async def read_asked(request: Request, limits: Limits, deadline: Deadline, *, file: str = "image") -> Asked:
    """Reads a request's body, whose length was checked.

    Args:
        request: The request.
        limits: The server's bounds.
        deadline: Until when the body must be here.
        file: What the field of the bytes is called.

    Raises:
        ProblemError: It came too slowly, is of another kind, or its content is not as expected.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in ("application/json", "multipart/form-data"):
        raise ProblemError(415, "wrong-type", "expected application/json or multipart/form-data")
    try:
        async with asyncio.timeout(deadline.left):
            body = await request.body()
        if deadline.passed:
            raise TimeoutError
    except TimeoutError:
        raise ProblemError(408, "too-slow", "the request's body came too slowly") from None
    fields = _of_json(body, limits, file) if kind == "application/json" else await _of_form(request, limits, file)
    return _checked(fields, limits, file)


def _of_json(body: bytes, limits: Limits, file: str) -> dict[str, Any]:
    try:
        fields = parse_object(body, max_bytes=limits.body_bytes)
    except ValueError as error:
        raise ProblemError(400, "no-json", f"the body is no JSON that is expected here: {error}") from error
    if fields.get(file) is not None:
        if not isinstance(fields[file], str):
            raise ProblemError(422, "unusable", f"expected {file} as a string in base64")
        try:
            fields[file] = base64.b64decode(fields[file], validate=True)
        except (binascii.Error, ValueError) as error:
            raise ProblemError(422, "unusable", f"{file} is not in base64") from error
    return fields


async def _of_form(request: Request, limits: Limits, file: str) -> dict[str, Any]:
    parser = _InMemory(
        request.headers,
        request.stream(),
        max_files=1,
        max_fields=limits.phrases + 4,
        max_part_size=4 * limits.phrase_length,
    )
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise ProblemError(400, "no-form", f"the body is no form that is expected here: {error.message}") from error
    try:
        return await _fields(form, file)
    finally:
        await form.close()


async def _fields(form: FormData, file: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name, value in form.multi_items():
        if isinstance(value, UploadFile):
            if name != file or file in fields:
                raise ProblemError(422, "unusable", f"expected one file, called {file}")
            fields[file] = await value.read()
        elif name == "phrases":
            fields.setdefault("phrases", []).append(value)
        elif name == file:
            raise ProblemError(422, "unusable", f"expected {file} as a file; with curl: -F {file}=@FILE")
        elif name in fields:
            raise ProblemError(422, "unusable", f"{name} is given twice")
        else:
            fields[name] = value
    return fields


def _checked(fields: dict[str, Any], limits: Limits, file: str) -> Asked:
    names = tuple(file if name == "image" else name for name in _NAMES)
    unknown = [name for name in fields if name not in names]
    if unknown:
        raise ProblemError(422, "unusable", f"unknown field {unknown[0]!r:.60}; known: {', '.join(names)}")
    data, digest, model = fields.get(file), fields.get("digest"), fields.get("model")
    if (data is None) == (digest is None):
        raise ProblemError(422, "unusable", f"expected either {file} or digest")
    if digest is not None and not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
        raise ProblemError(422, "unusable", "expected digest as 64 hexadecimal digits")
    if model is not None and not isinstance(model, str):
        raise ProblemError(422, "unusable", "expected model as a string")
    return Asked(data=data, digest=digest, phrases=_phrases(fields.get("phrases"), limits), model=model)


def _phrases(phrases: Any, limits: Limits) -> tuple[str, ...]:
    if isinstance(phrases, str):
        phrases = [phrases]
    if not isinstance(phrases, list) or not phrases or not all(isinstance(one, str) for one in phrases):
        raise ProblemError(422, "unusable", "expected phrases as a list of one string or more")
    if len(phrases) > limits.phrases:
        raise ProblemError(
            422, "too-many-phrases", f"{len(phrases)} phrases are more than the limit of {limits.phrases}"
        )
    for phrase in phrases:
        if len(phrase) > limits.phrase_length:
            raise ProblemError(
                422,
                "phrase-too-long",
                f"a phrase has {len(phrase)} characters, more than the limit of {limits.phrase_length}",
            )
        if not any(character.isalnum() for character in phrase):
            raise ProblemError(422, "unusable", f"expected a phrase with at least one word, got {phrase!r:.60}")
        if any("\ud800" <= character <= "\udfff" for character in phrase):
            raise ProblemError(422, "unusable", "a phrase holds half a character (a lone surrogate)")
    return tuple(phrases)
