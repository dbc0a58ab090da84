"""The shapes of requests and answers, from which the server's OpenAPI description is made."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from risctl.demo.limits import Limits
from risctl.demo.problems import MEDIA_TYPE


class Segmentation(BaseModel):
    """A mask as COCO RLE."""

    size: list[int] = Field(description="Height and width in pixels.", min_length=2, max_length=2)
    counts: str = Field(description="COCO's compressed runs.")


class Result(BaseModel):
    """The answer to one phrase."""

    text: str
    matched: bool = Field(description="False: nothing in the image is meant; the mask is empty.")
    score: float
    box: list[float] | None = Field(description="x, y, width, height in pixels; null of an empty mask.")
    area: int = Field(description="Pixels of the mask.")
    segmentation: Segmentation
    threshold: float = Field(description="A pixel is in the mask if its probability is above it.")
    warnings: list[str] = Field(description="What to know about how the phrase was read.")


class Segmented(BaseModel):
    """The answers about one image."""

    digest: str = Field(description="SHA-256 of the image; names it in further requests while the server keeps it.")
    height: int
    width: int
    notes: list[str] = Field(description="What to know about how the image was read.")
    model: str
    results: list[Result]


class Explained(BaseModel):
    """What a model shows of one answer."""

    text: str
    kind: str
    details: dict[str, Any]
    sheet: str | None = Field(description="A drawing, PNG in base64.")


class VideoFrame(BaseModel):
    """A frame with one answer per phrase."""

    index: int
    time: float | None
    image: str = Field(description="The frame, JPEG in base64.")
    results: list[Result]


class SegmentedVideo(BaseModel):
    """The answers about a video."""

    model: str
    rate: float = Field(description="Frames per second.")
    whole: bool = Field(description="False: the video is longer than the frames that this server answers.")
    frames: list[VideoFrame]


class Model(BaseModel):
    """A model of this server."""

    key: str
    name: str
    description: str
    explains: str | None = Field(description="What it shows of its answers; null: nothing.")
    video: bool = Field(description="Whether it answers videos.")


class Models(BaseModel):
    """The models and bounds of this server."""

    version: str
    models: list[Model]
    limits: dict[str, float]


class Health(BaseModel):
    """That the server answers."""

    status: str
    version: str


class ProblemDetails(BaseModel):
    """An error (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns the description of the errors that an operation may answer with."""
    schema = {"$ref": "#/components/schemas/ProblemDetails"}
    return {status: {"description": "A problem.", "content": {MEDIA_TYPE: {"schema": schema}}} for status in statuses}


def body(limits: Limits, *, file: str = "image", digest: bool = True, several: bool = True) -> dict[str, Any]:
    """Returns the OpenAPI description of a body.

    Args:
        limits: The server's bounds.
        file: What the field of the bytes is called.
        digest: Whether a digest may stand in its place.
        several: Whether several phrases are taken.
    """
    phrase = {"type": "string", "minLength": 1, "maxLength": limits.phrase_length, "pattern": "[A-Za-z0-9]"}
    phrases = {"type": "array", "items": phrase, "minItems": 1, "maxItems": limits.phrases if several else 1}
    digests = {"digest": {"type": "string", "pattern": "^[0-9a-f]{64}$"}} if digest else {}
    common = {**digests, "phrases": phrases, "model": {"type": "string"}}

    def schema(data: dict[str, Any]) -> dict[str, Any]:
        described: dict[str, Any] = {
            "type": "object",
            "properties": {file: data, **common},
            "required": ["phrases"],
            "additionalProperties": False,
        }
        if digest:
            described["oneOf"] = [{"required": [file]}, {"required": ["digest"]}]
        else:
            described["required"] = [file, "phrases"]
        return {"schema": described}

    base64 = {"type": "string", "contentEncoding": "base64", "description": f"The {file}'s bytes in base64."}
    binary = {"type": "string", "format": "binary"}
    content = {"multipart/form-data": schema(binary)}
    if digest:
        content["application/json"] = schema(base64)
    return {"requestBody": {"required": True, "content": content}}
