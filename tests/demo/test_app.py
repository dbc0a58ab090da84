"""The server's requests: answers as `predict` gives them, bounds, and errors as problem details."""

from __future__ import annotations

import base64
import hashlib
import io
import struct
import tempfile
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="the demo's server needs risctl[demo]")
pytest.importorskip("python_multipart", reason="the demo's server needs risctl[demo]")
from helpers.demo_server import COFFEE, application, asked, mini, png

from risctl.errors import UsageError

LIMITS = {"body_bytes": 400_000, "pixels": 400_000, "phrases": 3, "phrase_length": 40}


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with asked(application(limits=LIMITS)) as client:
        yield client


def sent(client: Any, *phrases: str, image: bytes | None = None, path: str = "/v1/segment", **fields: str) -> Any:
    data: dict[str, Any] = {"phrases": list(phrases), **fields}
    return client.post(path, data=data, files={"image": ("image", image or COFFEE.read_bytes())})


def problem(answer: Any, status: int, kind: str) -> str:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert set(told) == {"type", "title", "status", "detail"}
    assert (told["type"], told["status"]) == (f"urn:risctl:problem:{kind}", status)
    return str(told["detail"])


def test_answers_are_those_of_predict(client: Any) -> None:
    phrases = ["the cup", "a giraffe"]
    answer = sent(client, *phrases)
    found = answer.json()
    assert answer.status_code == 200
    assert found["digest"] == hashlib.sha256(COFFEE.read_bytes()).hexdigest()
    expected = [one.to_dict() for one in mini().predict(COFFEE, phrases)]
    assert [{key: value for key, value in one.items() if key != "warnings"} for one in found["results"]] == expected
    assert [one["matched"] for one in found["results"]] == [True, False]
    image = base64.b64encode(COFFEE.read_bytes()).decode()
    assert client.post("/v1/segment", json={"image": image, "phrases": phrases}).json() == found
    again = client.post("/v1/segment", json={"digest": found["digest"], "phrases": phrases})
    assert again.json() == found


def counter(client: Any, name: str) -> int:
    [line] = [line for line in client.get("/metrics").text.splitlines() if line.startswith(f"{name} ")]
    return int(line.split()[1])


def test_no_picture_is_written_to_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    rolled = tempfile.SpooledTemporaryFile.rollover

    def rollover(file: Any) -> None:
        written.append(file.tell())
        rolled(file)

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", rollover)
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), dtype=np.uint8)
    image = png(noise)
    assert len(image) > 1_200_000  # Starlette's own parser keeps 1 MB in memory
    with asked(application()) as client:
        assert sent(client, "the cup", image=image).status_code == 200
    assert not written


def test_an_image_is_encoded_once(client: Any) -> None:
    image = png(np.full((40, 50, 3), 90, dtype=np.uint8))
    before = counter(client, "risctl_encoded_images_total")
    for phrase in ("the cup", "a dog", "a cat"):
        assert sent(client, phrase, image=image).status_code == 200
    sent(client, "the cup", image=image, path="/v1/explain")
    assert counter(client, "risctl_encoded_images_total") == before + 1


def test_an_image_that_is_kept_comes_back_as_it_was_seen(client: Any) -> None:
    turned = Image.new("RGB", (30, 20), (200, 10, 10))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    turned.save(file, "PNG", exif=exif)
    found = sent(client, "a cup", image=file.getvalue()).json()
    assert (found["height"], found["width"]) == (30, 20)
    picture = client.get(f"/v1/images/{found['digest']}")
    assert picture.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(picture.content)).size == (20, 30)
    problem(client.get(f"/v1/images/{'0' * 64}"), 404, "image-not-kept")
    problem(client.post("/v1/segment", json={"digest": "0" * 64, "phrases": ["a"]}), 404, "image-not-kept")


def test_the_models_candidates_are_told(client: Any) -> None:
    shown = sent(client, "the cup", path="/v1/explain").json()
    assert shown["kind"] == "choices"
    probabilities = [thing["probability"] for thing in shown["details"]["things"]]
    assert probabilities == sorted(probabilities, reverse=True) and probabilities[0] > 0.3
    assert Image.open(io.BytesIO(base64.b64decode(shown["sheet"]))).width > 200
    problem(sent(client, "the cup", "a dog", path="/v1/explain"), 422, "too-many-phrases")


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 3.6 billion pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_what_is_too_much_is_refused(client: Any) -> None:
    assert "400,000" in problem(sent(client, "a", image=b"x" * 400_000), 413, "too-many-bytes")
    assert "60000x60000" in problem(sent(client, "a", image=bomb()), 413, "too-many-pixels")
    assert "limit of 3" in problem(sent(client, *"abcd"), 422, "too-many-phrases")
    assert "limit of 40" in problem(sent(client, "a" * 41), 422, "phrase-too-long")
    pieces = (piece for piece in [b"{", b"}"])  # of a length that is not told
    answer = client.post("/v1/segment", content=pieces, headers={"content-type": "application/json"})
    problem(answer, 411, "no-length")


def test_what_cannot_be_used_is_refused(client: Any) -> None:
    def posted(**fields: Any) -> Any:
        return client.post("/v1/segment", json=fields)

    assert "no match" not in problem(sent(client, "a", image=b"text"), 422, "unreadable")
    assert "one word" in problem(sent(client, "?!"), 422, "unusable")
    assert "either image or digest" in problem(posted(phrases=["a"]), 422, "unusable")
    assert "phrases" in problem(posted(digest="0" * 64), 422, "unusable")
    assert "phrases" in problem(posted(digest="0" * 64, phrases=[1]), 422, "unusable")
    assert "64 hexadecimal" in problem(posted(digest="../../etc/passwd", phrases=["a"]), 422, "unusable")
    assert "base64" in problem(posted(image="/etc/passwd", phrases=["a"]), 422, "unusable")
    assert "base64" in problem(posted(image="http://127.0.0.1/", phrases=["a"]), 422, "unusable")
    assert "base64" in problem(posted(image=[1], phrases=["a"]), 422, "unusable")
    assert "'path'" in problem(posted(path="/etc/passwd", phrases=["a"]), 422, "unusable")
    assert "first" in problem(posted(digest="0" * 64, phrases=["a"], model="third"), 422, "unknown-model")
    assert "surrogate" in problem(
        client.post(
            "/v1/segment",
            content=b'{"digest": "%s", "phrases": ["a\\ud800"]}' % (b"0" * 64),
            headers={"content-type": "application/json"},
        ),
        422,
        "unusable",
    )
    kind = {"content-type": "application/json"}
    for content in (b"[1]", b"{", b"[" * 5000, b"\xff\xfe"):
        problem(client.post("/v1/segment", content=content, headers=kind), 400, "no-json")
    problem(client.post("/v1/segment", content=b"x", headers={"content-type": "text/plain"}), 415, "wrong-type")
    multipart = {"content-type": "multipart/form-data; boundary=x"}
    problem(client.post("/v1/segment", content=b"nothing", headers=multipart), 400, "no-form")
    no_file = {"image": (None, "/etc/passwd"), "phrases": (None, "a")}
    assert "as a file" in problem(client.post("/v1/segment", files=no_file), 422, "unusable")
    assert "called image" in problem(client.post("/v1/segment", files={"other": b""}), 422, "unusable")
    problem(client.get("/v1/segment"), 405, "method-not-allowed")
    problem(client.get("/v1/images/short"), 422, "unusable")


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/..%2f..%2fetc/passwd", "/page.css/../app.py", "/app.py", "/server.py"]
)
def test_no_path_of_the_disk_is_answered(client: Any, path: str) -> None:
    problem(client.get(path), 404, "not-found")


def test_a_mistake_of_the_server_tells_nothing_of_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise ValueError("/home/somebody/secret")

    monkeypatch.setattr("risctl.demo.answering.read_image_with_notes", fails)
    with asked(application()) as client:
        answer = sent(client, "the cup")
    assert "secret" not in answer.text
    problem(answer, 500, "unexpected")


def test_two_models_answer_each_for_itself() -> None:
    class Other:
        path, threshold, no_target_threshold = "/secret/place", 0.5, 0.0

        def describe(self) -> str:
            return "another, at /secret/place"

        def warnings(self, text: str) -> list[str]:
            if "never" in text:
                raise UsageError("never that")
            return ["read twice"]

        def prepare_image(self, pixels: np.ndarray) -> np.ndarray:
            return pixels

        def encode_images(self, images: list[np.ndarray]) -> list[np.ndarray]:
            return images

        def set_encoded(self, encoded: np.ndarray, pixels: np.ndarray) -> None:
            self.pixels = pixels

        def iter_predictions(self, texts: list[str]) -> Any:
            from risctl.results import Prediction

            probability = np.ones(self.pixels.shape[:2], dtype=np.float32)
            for text in texts:
                yield Prediction(text=text, probability=probability, threshold=0.5, score=1.0, box=None)

    with asked(application(second=Other())) as client:
        known = client.get("/v1/models").json()["models"]
        assert [one["key"] for one in known] == ["first", "second"] and "/secret" not in str(known)
        assert [one["explains"] for one in known] == ["choices", None]
        [result] = sent(client, "a cup", model="second").json()["results"]
        assert result["area"] == 341 * 512 and result["warnings"] == ["read twice"]
        problem(sent(client, "never", model="second"), 422, "unusable")
        problem(sent(client, "a cup", model="second", path="/v1/explain"), 422, "no-explanation")


def test_a_body_that_comes_too_slowly_is_told_so() -> None:
    with asked(application(limits={"seconds": 1e-9})) as client:
        problem(sent(client, "the cup"), 408, "too-slow")


def test_phrases_that_take_too_long_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_first = iter([False])  # once the body is here; after the first phrase it is over
    monkeypatch.setattr("risctl.demo.limits.Deadline.passed", property(lambda self: next(asked_first, True)))
    with asked(application()) as client:
        answer = sent(client, "the cup", "a dog")
        assert "1 of 2" in problem(answer, 503, "timeout") and int(answer.headers["retry-after"]) > 0
        assert counter(client, "risctl_timeouts_total") == 1


def test_the_description_names_every_request_and_its_errors(client: Any) -> None:
    told = client.get("/openapi.json").json()
    assert {"/health", "/metrics", "/v1/models", "/v1/segment", "/v1/explain", "/v1/video"} <= set(told["paths"])
    posted = told["paths"]["/v1/segment"]["post"]
    assert set(posted["requestBody"]["content"]) == {"multipart/form-data", "application/json"}
    assert {"413", "422", "429", "503"} <= set(posted["responses"])
    assert client.get("/health").json()["status"] == "ok"
