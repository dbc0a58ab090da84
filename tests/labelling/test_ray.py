"""Ray Data as the engine: a cluster of two nodes in processes, of which one is killed while it works."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from risctl.labelling.output import LabelFolder, Request
from risctl.labelling.ray_engine import RayEngine
from risctl.labelling.run import LocalEngine, label_folder, prepare
from risctl.labelling.sources import images_of
from risctl.labelling.tasks import numbered
from risctl.labelling.worker import Labeller, ModelChoice, digest_of

PHRASES = ("the red cup", "both dogs")


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
