"""Models that the hub does not give: one message with the repository, what to accept, the login, and what would do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.hub_cache import use_cache
from helpers.refusing_hub import COMMIT, Hub, hub_running

from risctl.data.download.hub import MODEL, model_folder
from risctl.errors import CheckpointError, MachineError
from risctl.models.open import role_of

FILES = {"config.json": json.dumps({"model_type": "clipseg"}).encode(), "model.safetensors": b"\0" * 8}
LOGIN = "hf auth login"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    return use_cache(tmp_path / "cache", monkeypatch)


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with hub_running(monkeypatch) as running:
        yield running


def _told(source: str, error: type[Exception] = MachineError) -> str:
    """Return the message, one line, about a model that is not to be had."""
    with pytest.raises(error) as raised:
        model_folder(source, MODEL, option="--model")
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_what_the_hub_gives_is_fetched_once(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.files["one/free"] = FILES
    folder = model_folder("one/free", MODEL, option="--model")
    assert folder.name == COMMIT and cache in folder.parents
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == FILES
    hub.files.clear()
    assert model_folder("one/free", MODEL, option="--model") == folder


def test_a_gated_model_without_a_login(hub: Hub) -> None:
    hub.files["one/gated"], hub.gated["one/gated"] = FILES, {"ours"}
    message = _told("one/gated")
    for said in ("one/gated is given to those who accepted its terms", f"{hub.address}/one/gated", LOGIN, "HF_TOKEN"):
        assert said in message
    assert "A folder with config.json, model.safetensors or" in message and message.endswith("--model FOLDER")


def test_a_gated_model_with_an_account_that_has_no_access(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.files["one/gated"], hub.gated["one/gated"] = FILES, {"ours"}
    hub.refused["one/gated"] = "Your request to access model one/gated has been rejected by the repo's authors."
    monkeypatch.setenv("HF_TOKEN", "another")
    message = _told("one/gated")
    assert "not given to the account that is logged in: accept its terms on" in message
    assert "the hub says: Your request to access model one/gated has been rejected" in message
    assert LOGIN in message and "--model FOLDER" in message
    monkeypatch.setenv("HF_TOKEN", "ours")
    assert (model_folder("one/gated", MODEL, option="--model") / "config.json").is_file()


def test_the_terms_of_a_named_model_are_named(hub: Hub) -> None:
    hub.files["facebook/sam3"], hub.gated["facebook/sam3"] = FILES, set()
    with pytest.raises(MachineError) as raised:
        role_of("facebook/sam3")
    assert str(raised.value).endswith("Its terms: SAM License") and LOGIN in str(raised.value)


def test_a_model_that_is_not_there(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    for token in ("", "ours"):
        monkeypatch.setenv("HF_TOKEN", token)
        message = _told("one/absent", CheckpointError)
        assert f"{hub.address} has no model one/absent, or keeps it private: check --model" in message
        assert LOGIN in message


def test_a_model_without_its_files(hub: Hub) -> None:
    hub.files["one/empty"] = {"config.json": b"{}"}
    assert "lacks model.safetensors or" in _told("one/empty", CheckpointError)


def test_a_model_that_was_taken_down(hub: Hub) -> None:
    hub.files["one/gone"] = FILES
    hub.disabled.add("one/gone")
    message = _told("one/gone")
    assert "one/gone is not on this machine and cannot be downloaded" in message and "--model FOLDER" in message


def test_no_network(cache: Path) -> None:
    message = _told("one/free")
    assert "cannot be downloaded" in message and "hf download one/free" in message and str(cache) in message
