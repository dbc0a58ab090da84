"""SA-Co's pictures and PBench: pairs, annotators, subsets, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.concept_files import ConceptCase
from typer.testing import CliRunner

from risctl.cli.app import app
from risctl.data.datasets.pbench.reader import read_pbench
from risctl.data.datasets.saco.reader import NOT_EXHAUSTIVE, read_saco
from risctl.data.store.reader import Store
from risctl.data.store.verify import verify_store
from risctl.data.store.writer import write_store
from risctl.errors import DataError, UsageError


@pytest.fixture(scope="module")
def case(shared: Path) -> ConceptCase:
    return ConceptCase.read(shared)


def test_pairs_are_images_and_pictures_are_kept_once(case: ConceptCase, tmp_path: Path) -> None:
    root = case.write_saco(tmp_path / "gold", "abc")
    info = write_store(read_saco(root), tmp_path / "set.h5")
    with Store(tmp_path / "set.h5") as store:
        pairs = case.case["pairs"]
        assert sorted(store.numbers("images/id").tolist()) == sorted(pair["id"] for pair in pairs)
        assert store.categories == {1: "annotator a", 2: "annotator b", 3: "annotator c"}
        # A picture a size.
        assert len(set(store.numbers("images/start").tolist())) == len({tuple(pair["size"]) for pair in pairs})
        for row in store.sentences("crowded").tolist():
            sentence = store.sentence(row)
            pair = next(one for one in pairs if one["id"] == sentence.sentence_id)
            assert (NOT_EXHAUSTIVE in sentence.abilities) == (not all(pair["is_instance_exhaustive"].values()))
            assert len(store.ref(sentence.ref).annotations) == pair["gt_a"] - len(pair["crowd_a"])
            count = sum(pair[f"gt_{annotator}"] for annotator in "abc")
            assert len(store.annotations_of(sentence.image)) == count
        assert store.pixels(0).shape[:2] == (store.image(0).height, store.image(0).width)
        assert not verify_store(store).failures
    assert info.counts["crowded"]["sentences"] == len(pairs)


def test_the_command_counts_pairs(case: ConceptCase, tmp_path: Path) -> None:
    root = case.write_saco(tmp_path / "gold", "abc")
    done = CliRunner().invoke(app, ["prepare", "saco", "--from", str(root), "--out", str(tmp_path / "set.h5")])
    assert done.exit_code == 0, done.output
    assert "18 (20,687)" in done.stdout and "pairs (published)" in done.stdout
    assert "saco (gold) sa1b" in done.stderr or "no split sa1b" in done.stderr


def test_silver_has_one_annotator(case: ConceptCase, tmp_path: Path) -> None:
    root = case.write_saco(tmp_path / "silver", "a", part="silver")
    assert read_saco(root, split_by="silver").categories == {1: "annotator a"}
    with pytest.raises(DataError, match="no annotations of SA-Co's gold; expected files such as gold_SUBSET_merged_a"):
        read_saco(root)


def test_subsets_that_contradict_each_other_are_refused(case: ConceptCase, tmp_path: Path) -> None:
    root = case.write_saco(tmp_path / "gold", "ab")
    other = root / "gold_attributes_merged_a_release_test.json"
    other.write_bytes((root / "gold_crowded_merged_a_release_test.json").read_bytes())
    with pytest.raises(DataError, match=r"subset attributes .* lacks the file of annotator b"):
        read_saco(root)
    (root / "gold_attributes_merged_b_release_test.json").write_bytes(other.read_bytes())
    with pytest.raises(DataError, match=r"is in two subsets.*--subset"):
        read_saco(root)
    assert {record.split for record in read_saco(root, subset="crowded").records} == {"crowded"}
    with pytest.raises(UsageError, match=r"crowdd.*crowded"):
        read_saco(root, subset="crowdd")


@pytest.mark.parametrize("kind", ["text", "picture", "mask"])
def test_what_is_missing_or_broken_is_named(kind: str, case: ConceptCase, tmp_path: Path) -> None:
    root = case.write_saco(tmp_path / "gold", "a")
    file = root / "gold_crowded_merged_a_release_test.json"
    content = json.loads(file.read_text())
    if kind == "text":
        content["images"][2]["text_input"] = " "
    elif kind == "picture":
        min((root / "images").iterdir()).unlink()
    else:
        content["annotations"][0]["segmentation"]["counts"] = "0"
    file.write_text(json.dumps(content))
    named = {
        "text": "has no phrase, text_input",
        "picture": "pictures missing",
        "mask": "instances without a valid mask",
    }
    with pytest.raises(DataError, match=named[kind]):
        read_saco(root)


def test_pbench_is_read_with_its_pictures(case: ConceptCase, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    case.write_pbench(tmp_path / "PBench" / "level_2-00000-of-00001.parquet")
    case.write_pbench(tmp_path / "PBench" / "dense-00000-of-00001.parquet")
    dataset = read_pbench(tmp_path / "PBench")
    assert [record.split for record in dataset.records] == ["dense"] * 18 + ["level_2"] * 18
    pair = case.case["pairs"][3]
    assert len(dataset.records[3].annotation_ids) == pair["gt_a"] - len(pair["crowd_a"])
    assert dataset.images[4].data
    with pytest.raises(DataError, match="named after its split, level_0 to level_4 or dense"):
        read_pbench(case.write_pbench(tmp_path / "other" / "a.parquet"))
