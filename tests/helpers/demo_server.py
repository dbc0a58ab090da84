"""The demo's server with the shipped model: as an application in the tests' own process, and on a port of its own."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

COFFEE = Path(__file__).resolve().parents[2] / "docs" / "pictures" / "coffee.jpg"
PORTED = "http://127.0.0.1"


@cache
def mini() -> Any:
    """The shipped model."""
    from risctl.inference.predictor import Predictor

    return Predictor.load("mini", device="cpu")


def tiny_referformer(folder: Path) -> Any:
    """A small, untrained ReferFormer, whose masks lie on both sides of the threshold."""
    import torch
    from helpers.small_models import REFERFORMER, recipe_of

    from risctl.checkpoints.checkpoint import save_checkpoint
    from risctl.inference.predictor import Predictor
    from risctl.language.vocabulary import Vocabulary
    from risctl.systems.registry import build_system

    recipe, vocabulary = recipe_of(REFERFORMER), Vocabulary(["red", "cup", "left", "a", "dog"])
    with torch.random.fork_rng():
        torch.manual_seed(3)
        system: Any = build_system(recipe.model, vocabulary=vocabulary)
        with torch.no_grad():
            system.mask_head.controller.last.bias.normal_(std=0.5)
    save_checkpoint(folder / "small.safetensors", system=system, recipe=recipe, vocabulary=vocabulary)
    return Predictor.load(folder / "small.safetensors", device="cpu")


def application(
    *,
    first: Any = None,
    name: str = "mini",
    second: Any = None,
    limits: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    """The server's application; without `first`, that of mini."""
    from risctl.demo.answering import ServedModel
    from risctl.demo.app import make_app
    from risctl.demo.limits import Limits

    models = [ServedModel.of(first or mini(), key="first", name=name)]
    if second is not None:
        models.append(ServedModel.of(second, key="second", name="another"))
    return make_app(models, limits=Limits(**(limits or {})), **options)


@contextmanager
def asked(app: Any) -> Iterator[Any]:
    """A client that asks the application without a network."""
    from starlette.testclient import TestClient

    with TestClient(app, base_url=PORTED, raise_server_exceptions=False) as client:
        yield client


@contextmanager
def answering(app: Any) -> Iterator[str]:
    """Let the application answer on a port of its own, and yield the address."""
    import uvicorn

    from risctl.demo.serve import address_of, open_socket

    with open_socket("127.0.0.1", 0) as opened:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
        thread.start()
        try:
            yield address_of(opened)
        finally:
            server.should_exit = True
            thread.join()


def png(pixels: np.ndarray) -> bytes:
    """An image's bytes."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
