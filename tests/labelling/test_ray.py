"""Ray Data as the engine: a cluster of two nodes in processes, of which one is killed while it works."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import small_models
from helpers.tiny import tiny_store
from PIL import Image
from typer.testing import CliRunner

from risctl.cli.app import app
from risctl.data.features.reader import FeatureCache
from risctl.errors import UsageError
from risctl.labelling.output import LabelFolder, Request
from risctl.labelling.ray_engine import RayEngine
from risctl.labelling.run import LocalEngine, label_folder, prepare
from risctl.labelling.sources import images_of
from risctl.labelling.tasks import numbered
from risctl.labelling.worker import Labeller, ModelChoice, digest_of

PHRASES = ("the red cup", "both dogs")
RECIPE = {
    "name": "tried",
    "model": small_models.VLT | {"head_channels": 8, "dropout": 0.0, "visual": {"name": "small_cnn", "frozen": True}},
    "optim": {"name": "adam", "lr": 1e-4},
    "train": {"epochs": 1},
}


@pytest.mark.slow
def test_a_node_that_is_killed_leaves_the_result_whole(tmp_path: Path, tiny_mini: Path) -> None:
    pytest.importorskip("ray", reason="needs Ray Data: pip install 'risctl[ray]'")
    import ray
    from ray.cluster_utils import Cluster

    source = tmp_path / "pictures"
    source.mkdir()
    generator = np.random.default_rng(0)
    for number in range(48):
        Image.fromarray(generator.integers(0, 255, (40, 48, 3), dtype=np.uint8)).save(source / f"{number:03d}.png")
    (source / "020.png").write_bytes(b"damaged")
    choice = ModelChoice(name=str(tiny_mini), device="cpu")
    predictor = choice.open()
    digest = digest_of(predictor)
    request = Request(
        source=str(source),
        split="all",
        phrases=PHRASES,
        model=str(predictor.path),
        digest=digest,
        threshold=predictor.threshold,
        no_target_threshold=predictor.no_target_threshold,
        min_score=0.0,
        kind="jsonl",
        size=2,
        shard=(1, 1),
    )
    whole, out = LabelFolder(tmp_path / "whole"), LabelFolder(tmp_path / "out")
    for folder in (whole, out):
        folder.path.mkdir()
        prepare(folder, request, lambda: numbered(images_of(str(source)), PHRASES), resume=False, overwrite=False)
    label_folder(whole, LocalEngine(Labeller(predictor, digest=digest), forks=True, workers=1))
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        second = cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, log_to_driver=False)
        killed = []

        def kill(done: int, total: int | None) -> None:
            if done >= 6 and not killed:
                killed.append(done)
                cluster.remove_node(second, allow_graceful=False)

        engine = RayEngine(model=choice, digest=digest, min_score=0.0, size=2, actors=(1, 2), cpus=0.5)
        summary = label_folder(out, engine, progress=kill)
        assert killed and (summary.images, summary.rows, summary.failed) == (48, 96, 1)
        assert list(out.rows(check=True)) == list(whole.rows())
    finally:
        ray.shutdown()
        cluster.shutdown()


@pytest.mark.slow
def test_features_of_a_cluster_are_those_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="needs Ray Data: pip install 'risctl[ray]'")
    import ray

    store = tiny_store(tmp_path)
    recipe = tmp_path / "tried.yaml"
    recipe.write_text(json.dumps(RECIPE | {"data": {"store": "none.h5", "batch_size": 4, "workers": 0}}))
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    # Relative paths: an actor reads from the folder where the command was given.
    asked = ["prepare", "features", store.name, "--recipe", recipe.name, "--device", "cpu", "--batch-size", "1", "-q"]
    alone = runner.invoke(app, [*asked, "--out", "whole.features.h5"])
    assert alone.exit_code == 0, alone.output
    try:
        ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
        done = runner.invoke(
            app, [*asked, "--out", "parts.features.h5", "--engine", "ray", "--shards", "3", "--actors", "1:2"]
        )
        assert done.exit_code == 0, done.output
    finally:
        ray.shutdown()
    with FeatureCache(tmp_path / "whole.features.h5") as one, FeatureCache(tmp_path / "parts.features.h5") as other:
        assert one.keys("images") == other.keys("images") and len(one.keys("images")) == 10
        for key in one.keys("images"):
            for mine, theirs in zip(one.sample("images", key), other.sample("images", key), strict=True):
                assert np.array_equal(mine, theirs)


def test_options_of_ray_and_of_job_arrays_exclude_each_other(tmp_path: Path) -> None:
    recipe = tmp_path / "tried.yaml"
    recipe.write_text(json.dumps(RECIPE | {"data": {"store": "none.h5"}}))
    asked = ["prepare", "features", "none.h5", "--recipe", str(recipe)]
    for more, named in (
        (["--engine", "ray", "--shard", "1/2"], "leave --shard and --join out"),
        (["--shards", "4"], "take --shard K/N"),
        (["--engine", "ray", "--actors", "3:2"], "--actors as a number or MIN:MAX"),
    ):
        result = CliRunner().invoke(app, [*asked, *more])
        assert isinstance(result.exception, UsageError) and named in str(result.exception), result.output
