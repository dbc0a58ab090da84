"""The server's application: the page, the requests that it answers, and their description."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from importlib import resources
from typing import Annotated, Any

from fastapi import FastAPI, Request
from fastapi import Path as PathParameter
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from risctl import __version__
from risctl.demo import problems, schemas
from risctl.demo.access import Guard
from risctl.demo.answering import Answering, ServedModel
from risctl.demo.body import declared_length, read_asked
from risctl.demo.limits import Deadline, Limits
from risctl.demo.metrics import MEDIA_TYPE, Measured, Metrics
from risctl.demo.problems import ProblemError
from risctl.demo.queue import Queue

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_BUSY = (400, 401, 408, 411, 413, 415, 421, 422, 429, 503)


def make_app(
    models: Sequence[ServedModel],
    *,
    limits: Limits | None = None,
    token: str | None = None,
    shared: bool = False,
    hosts: Collection[str] = (),
) -> ASGIApp:
    """Returns the application.

    Args:
        models: The models, the first of which answers where none is named.
        limits: Its bounds.
        token: The secret that requests must send as a bearer token; None: none.
        shared: Whether other machines may ask.
        hosts: Names of this machine by which it may be asked.
    """
    limits, metrics = limits or Limits(), Metrics()
    queue, answering = Queue(limits, metrics), Answering(models, limits=limits, metrics=metrics)
    described = [model.to_dict() for model in models]

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        queue.close()

    # The description's own page would load its scripts from elsewhere.
    app = FastAPI(title="risctl", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    problems.install(app)
    _add_page(app)

    @app.get("/health", response_model=schemas.Health)
    async def health() -> Any:
        """Says that the server answers."""
        return {"status": "ok", "version": __version__}

    @app.get("/metrics", responses={200: {"content": {MEDIA_TYPE: {}}}}, response_class=Response)
    async def figures() -> Response:
        """Returns counters as Prometheus reads them."""
        text = metrics.text(waiting=queue.waiting, images=len(answering.images))
        return Response(text, media_type=MEDIA_TYPE)

    @app.get("/v1/models", response_model=schemas.Models)
    async def known() -> Any:
        """Returns the models and bounds of this server."""
        return {"version": __version__, "models": described, "limits": limits.to_dict()}

    @app.get(
        "/v1/images/{digest}",
        response_class=Response,
        responses={200: {"content": {"image/png": {}}}, **schemas.problems(404, *_BUSY)},
    )
    async def image(request: Request, digest: Annotated[str, PathParameter(pattern="^[0-9a-f]{64}$")]) -> Response:
        """Returns an image that was sent and is still kept, by the SHA-256 of its bytes, as PNG."""
        async with queue.place(_client(request), body_bytes=0):
            data = await queue.run(lambda: answering.picture(digest), Deadline(limits.seconds))
        return Response(data, media_type="image/png")

    @app.post(
        "/v1/segment",
        response_model=schemas.Segmented,
        responses=schemas.problems(404, *_BUSY),
        openapi_extra=schemas.body(limits),
    )
    async def segment(request: Request) -> Any:
        """Answers phrases about an image: masks as COCO RLE, boxes, scores.

        The image is sent, or named by the digest of one that was sent before; it is encoded once.
        """
        deadline, length = Deadline(limits.seconds), declared_length(request, limits)
        async with queue.place(_client(request), body_bytes=length):
            asked = await read_asked(request, limits, deadline)
            found = await queue.run(
                lambda: answering.segment(
                    asked.data, asked.digest, asked.phrases, model=asked.model, deadline=deadline
                ),
                deadline,
            )
        return JSONResponse(found)

    @app.post(
        "/v1/explain",
        response_model=schemas.Explained,
        responses=schemas.problems(404, *_BUSY),
        openapi_extra=schemas.body(limits, several=False),
    )
    async def explain(request: Request) -> Any:
        """Shows how a model came to its answer to one phrase: its candidates, words, heatmaps."""
        deadline, length = Deadline(limits.seconds), declared_length(request, limits)
        async with queue.place(_client(request), body_bytes=length):
            asked = await read_asked(request, limits, deadline)
            if len(asked.phrases) != 1:
                raise ProblemError(422, "too-many-phrases", "one phrase at a time is explained")
            found = await queue.run(
                lambda: answering.explain(asked.data, asked.digest, asked.phrases[0], model=asked.model), deadline
            )
        return JSONResponse(found)

    @app.post(
        "/v1/video",
        response_model=schemas.SegmentedVideo,
        responses=schemas.problems(*_BUSY),
        openapi_extra=schemas.body(limits, file="video", digest=False),
    )
    async def video(request: Request) -> Any:
        """Answers phrases in the first frames of a video."""
        deadline, length = Deadline(limits.video_seconds), declared_length(request, limits)
        async with queue.place(_client(request), body_bytes=length):
            asked = await read_asked(request, limits, deadline, file="video")
            data = asked.data
            if data is None:
                raise ProblemError(422, "unusable", "expected a video; videos are not kept")
            found = await queue.run(
                lambda: answering.video(data, asked.phrases, model=asked.model, deadline=deadline), deadline
            )
        return JSONResponse(found)

    _describe_problems(app)
    return Guard(Measured(app, metrics=metrics), token=token, shared=shared, hosts=hosts)


def page_files() -> dict[str, bytes]:
    """Returns the files of the page by their names."""
    folder = resources.files("risctl.demo").joinpath("page")
    return {one.name: one.read_bytes() for one in folder.iterdir() if one.name.rpartition(".")[2] in _TYPES}


def _add_page(app: FastAPI) -> None:
    """Adds the page: its files are read once, so that no path of a request ever names one."""
    for name, data in page_files().items():
        if name.startswith("browser"):
            continue  # what a page without a server needs

        async def answer(data: bytes = data, name: str = name) -> Response:
            headers = {"Cache-Control": "no-cache"}
            return Response(data, media_type=_TYPES[name.rpartition(".")[2]], headers=headers)

        path = "/" if name == "index.html" else f"/{name}"
        app.router.add_route(path, _endpoint(answer), methods=["GET"], include_in_schema=False)


def _endpoint(answer: Any) -> Any:
    async def endpoint(request: Request) -> Response:
        response: Response = await answer()
        return response

    return endpoint


def _describe_problems(app: FastAPI) -> None:
    """Adds what all errors look like to the description; FastAPI's own kind of error does not occur here."""
    made = app.openapi()
    components = made.setdefault("components", {}).setdefault("schemas", {})
    components["ProblemDetails"] = schemas.ProblemDetails.model_json_schema()
    for name in ("HTTPValidationError", "ValidationError"):
        components.pop(name, None)
    for path in made["paths"].values():
        for operation in path.values():
            operation["responses"].update(
                {str(status): told for status, told in schemas.problems(401, 421, 422).items()}
            )
    made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    app.openapi_schema = made


def _client(request: Request) -> str:
    return request.client.host if request.client else ""
