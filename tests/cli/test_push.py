"""`risctl push` and `--model hf:USER/REPO`: a round trip through a local server that speaks the hub's API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from helpers.command_line import Run
from helpers.hub_cache import use_cache
from helpers.hub_server import TOKEN, Hub, running_hub
from helpers.small_models import SMALL_VLT
from helpers.tiny import tiny_store
from safetensors import safe_open

import risctl as package
from risctl.checkpoints.loaded_model import load_checkpoint
from risctl.recipe.load import load_recipe
from risctl.training.run import train

FILES = {"README.md", "model.safetensors", "config.json", "recipe.yaml", "words.json"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose recipe and logs have paths of a person's machine in them."""
    folder = tmp_path_factory.mktemp("jane-doe")
    store = tiny_store(folder)
    data = f"data: {{store: {store}, batch_size: 5, workers: 0}}"
    (folder / "small.yaml").write_text(
        f"{SMALL_VLT}\n{data}\ntrain: {{epochs: 1, max_steps: 2, eval_limit: 2, ema: 0.9}}\n"
    )
    train(load_recipe(folder / "small.yaml"), out=folder / "run", device="cpu", command=f"risctl train {folder}")
    return folder / "run"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    use_cache(tmp_path / "cache", monkeypatch)
    with running_hub() as hub:
        template = f"{hub.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.address)
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
        yield hub


def test_a_model_goes_to_the_hub_and_comes_back(hub: Hub, run: Path, risctl: Run, tmp_path: Path) -> None:
    ran = risctl("push", run, "me/small", "--licence", "mit", "--yes")
    assert ran.code == 0, ran.err
    assert ran.out == f"{hub.address}/me/small\n--model hf:me/small\n"
    files = hub.repositories["me/small"]
    assert set(files) == FILES
    (tmp_path / "weights.safetensors").write_bytes(files["model.safetensors"])
    with safe_open(tmp_path / "weights.safetensors", framework="pt") as opened:
        assert all(name.startswith("model.") for name in opened.keys())  # noqa: SIM118  no mapping
    told = b"".join(files.values())
    assert b"jane-doe" not in told and str(run.parent).encode() not in told
    card = files["README.md"].decode()
    fingerprint = load_checkpoint(run).header["dataset"]["fingerprint"]
    for part in ("license: mit", "library_name: risctl", fingerprint, "without intervals", "`original`", "hf:me/small"):
        assert part in card, part
    assert "risctl train recipe.yaml data.store=tiny.h5" in card
    # Back, from Python and from the command line; the second time from the cache.
    model = package.load("hf:me/small", device="cpu")
    own = package.load(run, device="cpu")
    for name, tensor in own.system.state_dict().items():
        assert torch.equal(tensor, model.system.state_dict()[name])
    asked = hub.count("GET", "/resolve/")
    ran = risctl("models", "show", "hf:me/small", "--json")
    assert ran.code == 0 and "small (vlt)" in ran.out, ran.err
    ran = risctl("eval", "--model", "hf:me/small", "--data", run.parent / "tiny.h5", "--limit", 2, "--json")
    assert ran.code == 0 and hub.count("GET", "/resolve/") == asked, ran.err
    ran = risctl("models", "pull", "hf:me/small")
    assert ran.code == 0 and "me/small" in ran.out


def test_the_card_has_protocols_and_intervals_of_reports(hub: Hub, run: Path, risctl: Run) -> None:
    ran = risctl("eval", "--model", run, "--data", run.parent / "tiny.h5", "--report", "val.json", "--protocol", "lavt")
    assert ran.code == 0, ran.err
    report = json.loads(Path("val.json").read_text())
    ran = risctl("push", run, "me/small", "--report", "val.json", "--dry-run", "--json")
    card = json.loads(ran.out)["card"]
    low, high = report["intervals"]["mIoU"]
    assert f"| mIoU | {report['figures']['mIoU']:.2f} | {low:.2f} to {high:.2f} |" in card
    assert report["protocols"]["lavt"]["protocol"] in card and "small sample" in card
    Path("other.json").write_text(json.dumps(report | {"checkpoint": "0" * 64}))
    ran = risctl("push", run, "me/small", "--report", "other.json", "--dry-run")
    assert ran.code == 2 and "measured with other weights" in ran.err
    ran = risctl("push", run, "me/small", "--report", run / "recipe.yaml", "--dry-run")
    assert ran.code == 4 and "cannot be read as a report" in ran.err
    assert not hub.requests


def test_nothing_is_uploaded_without_a_yes(hub: Hub, run: Path, risctl: Run) -> None:
    ran = risctl("push", run, "me/small")
    assert ran.code == 2 and "nothing was uploaded" in ran.err and "model.safetensors" in ran.err
    assert hub.count("POST", "") == hub.count("PUT", "") == 0
    ran = risctl("push", run, "me/small", "--dry-run")
    assert ran.code == 0 and "(public)" in ran.out and "## How to reproduce" in ran.out
    assert hub.count("POST", "") == 0


def test_a_broken_upload_goes_on(hub: Hub, run: Path, risctl: Run) -> None:
    """The library sends a large file again; what has arrived when a command ends is not sent by the next."""
    hub.breaks, hub.refuses_commits = 1, 418
    ran = risctl("push", run, "me/small", "--yes")
    assert ran.code == 5 and "The same command goes on with it" in ran.err and ran.err.count("error:") == 1, ran.err
    assert hub.count("PUT", "/large/") == 2 and hub.repositories == {"me/small": {}}
    hub.refuses_commits = 0
    ran = risctl("push", run, "me/small", "--yes")
    assert ran.code == 0 and hub.count("PUT", "/large/") == 2, ran.err
    assert set(hub.repositories["me/small"]) == FILES


def test_nothing_is_replaced_or_made_public_unasked(hub: Hub, run: Path, risctl: Run) -> None:
    assert risctl("push", run, "me/small", "--private", "--yes").code == 0
    assert hub.private == {"me/small"}
    ran = risctl("push", run, "me/small", "--yes")
    assert ran.code == 0 and "(private)" in ran.err  # the same contents
    hub.repositories["me/small"]["README.md"] = b"my own words"
    ran = risctl("push", run, "me/small", "--yes")
    assert ran.code == 2 and "has README.md with other contents; --overwrite" in ran.err
    assert hub.repositories["me/small"]["README.md"] == b"my own words"
    assert risctl("push", run, "me/small", "--yes", "--overwrite").code == 0
    assert b"risctl" in hub.repositories["me/small"]["README.md"]
    hub.private.clear()
    ran = risctl("push", run, "me/small", "--private", "--yes")
    assert ran.code == 2 and "is there and public" in ran.err


def test_a_token_that_is_missing_or_refused_is_one_line(
    hub: Hub, run: Path, risctl: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_refused")
    ran = risctl("push", run, "me/small", "--yes")
    assert ran.code == 5 and "refuses the token for me/small (401)" in ran.err and "Traceback" not in ran.err
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", "nowhere")
    ran = risctl("push", run, "me/small", "--yes")
    assert ran.code == 5 and ran.err == (
        "error: no token of the hub is here; log in with `hf auth login`, or set HF_TOKEN to one that may write\n"
    )
    for name in ("small", "me/small/more", "me/../small"):
        assert risctl("push", run, name, "--yes").code == 2


def test_what_is_no_model_of_risctl_is_told(hub: Hub, risctl: Run) -> None:
    ran = risctl("predict", "--model", "hf:me/absent", "x.png", "a box", "--out", "out")
    assert ran.code in (4, 6) and "Traceback" not in ran.err
    hub.repositories["me/text"] = {"config.json": b'{"model_type": "bert"}'}
    ran = risctl("predict", "--model", "hf:me/text", "x.png", "a box", "--out", "out")
    assert ran.code in (4, 6) and "Traceback" not in ran.err
