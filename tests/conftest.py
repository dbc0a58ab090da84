"""What all tests share: where the third-party data lies, and quiet, single-threaded torch."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import is_hypothesis_test, settings

if TYPE_CHECKING:
    from helpers.browser import Browser

# One thread a process, the commands under test too: the tests run a process a core already. Set before torch is
# imported, which reads it once.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Linked stores remember folders in the user's configuration, and models their calibration in the cache: those of the
# tests are empty and end with them.
_own = tempfile.TemporaryDirectory(prefix="risctl-tests-")
os.environ["XDG_CONFIG_HOME"] = _own.name
os.environ["RISCTL_CACHE"] = f"{_own.name}/cache"

# No deadline: a machine that is busy with something else makes no test wrong. Property tests draw the same examples in
# every run, so that the suite passes every time; `pytest -m random` draws new ones.
settings.register_profile("derandomized", deadline=None, derandomize=True)
settings.register_profile("random", deadline=None, derandomize=False)


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("random" if config.option.markexpr == "random" else "derandomized")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker("random")
    # Slow tests run only where they are asked for: by a mark expression, or by their own names.
    if not config.option.markexpr and not any("::" in argument for argument in config.args):
        slow = [item for item in items if item.get_closest_marker("slow")]
        if slow:
            config.hook.pytest_deselected(items=slow)
            items[:] = [item for item in items if not item.get_closest_marker("slow")]


REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of third-party data and parity cases; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("RISCTL_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"third-party data not found at {folder} (set RISCTL_SHARED to where it lies)")
    return folder


@pytest.fixture(scope="session")
def browsers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Browser]]:
    """What gives a headless Chromium, started once; tests that need it are skipped where there is none."""
    from helpers.browser import Browser, find_chromium

    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium found (set RISCTL_CHROMIUM to one)")
    opened: list[Browser] = []

    def running() -> Browser:
        if not opened or opened[-1].ended:
            opened.append(Browser(program, tmp_path_factory.mktemp("chromium") / "profile"))
        return opened[-1]

    yield running
    for one in opened:
        one.close()


@pytest.fixture
def browser(browsers: Callable[[], Browser]) -> Browser:
    """A tab of a headless Chromium, which knows nothing of those before it."""
    given = browsers()
    given.fresh()
    return given


@pytest.fixture(scope="session")
def refer_mini(shared: Path) -> Path:
    """A small extract in the published REFER layout."""
    return shared / "data" / "refer_mini"


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with the checkpoint of a very small, untrained VLT, which knows a few words."""
    import torch
    from helpers.small_models import VLT

    from risctl.checkpoints.checkpoint import save_checkpoint
    from risctl.language.vocabulary import Vocabulary
    from risctl.recipe.load import parse_recipe
    from risctl.systems.registry import build_system

    recipe = parse_recipe(
        {
            "name": "tiny",
            "model": VLT,
            "data": {"store": "none.h5", "batch_size": 2},
            "optim": {"name": "adam", "lr": 1e-3},
            "train": {"epochs": 1},
            "eval": {"text_batch": 3},
        },
        source="tests",
    )
    vocabulary = Vocabulary.from_texts(["the red cup on the left", "second blue book from the right"])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        system = build_system(recipe.model, vocabulary=vocabulary)
    run = tmp_path_factory.mktemp("runs") / "tiny"
    run.mkdir()
    save_checkpoint(run / "best.safetensors", system=system, recipe=recipe, vocabulary=vocabulary, extra={"step": 7})
    return run


@pytest.fixture(scope="session")
def tiny_mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with the checkpoint of a small, untrained mini that finds things in any image.

    Its recipe names data and weights that do not exist.
    """
    import torch

    from risctl.checkpoints.checkpoint import save_checkpoint
    from risctl.language.vocabulary import Vocabulary
    from risctl.recipe.load import parse_recipe
    from risctl.systems.mini.model import Mini
    from risctl.systems.registry import build_system

    model = {"system": "mini", "input_size": 64, "max_words": 6, "max_count": 6, "mask_channels": 16, "channels": 32}
    model |= {"layers": 1, "heads": 2, "visual": {"weights": "gone/start.safetensors"}, "text": {"buckets": 64}}
    recipe = parse_recipe(
        {
            "name": "tiny-mini",
            "model": model,
            "data": {
                "store": "gone/none.h5",
                "items": "box_grounding",
                "box_grounding": {"files": ["gone/none.jsonl"]},
            },
            "train": {"epochs": 1},
        },
        source="tests",
    )
    vocabulary = Vocabulary.from_texts(["the red cup on the left", "both dogs"])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        system = build_system(recipe.model, vocabulary=vocabulary, pretrained=False)
        assert isinstance(system, Mini)
        with torch.no_grad():
            for tower in system.detector.head.towers:
                tower.leave.bias.normal_()
            system.detector.masks.leave.bias.fill_(1)
    run = tmp_path_factory.mktemp("runs") / "tiny-mini"
    run.mkdir()
    moments = {"optimizer.moments": torch.ones(3)}
    save_checkpoint(
        run / "last.safetensors",
        system=system,
        recipe=recipe,
        vocabulary=vocabulary,
        extra={"step": 7, "dataset": {"name": "made"}},
        mean={name: tensor + 0.001 for name, tensor in system.state_dict().items()},
        training=moments,
    )
    return run
