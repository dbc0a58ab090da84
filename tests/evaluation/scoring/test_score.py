"""Masks that other tools wrote: the same figure from every form, and every irregularity counted and named."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import prediction_files, store_files
from helpers.colour_finder import ColourFinder, made_store
from helpers.prediction_files import FORMS, Expressions
from PIL import Image

import risctl
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.errors import DataError, UsageError
from risctl.evaluation.image_evaluator import evaluate
from risctl.inference.store_predictor import predicted_masks
from risctl.metrics.accumulator import Accumulator
from risctl.metrics.protocols import PROTOCOLS, get_protocols
from risctl.vision import rle

EVERY = ",".join(PROTOCOLS)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("store") / "noise.h5"
    write_store(store_files.dataset(images=12), path)
    return path


@pytest.fixture(scope="module")
def expressions(store: Path) -> Expressions:
    return prediction_files.expressions(store, "all")


@pytest.fixture(scope="module")
def masks(store: Path) -> list[np.ndarray]:
    return prediction_files.shifted_targets(store, "all")


@pytest.fixture
def lines(tmp_path: Path, expressions: Expressions, masks: list[np.ndarray]) -> Callable[..., Path]:
    """Writes JSON Lines of the split, changed by a function of (place, record) that returns records or texts."""

    def write(change: Callable[[int, dict[str, Any]], Any] = lambda place, record: record) -> Path:
        written = []
        for place, (one, mask) in enumerate(zip(expressions, masks, strict=True)):
            changed = change(place, {"sent_id": one["sent_id"], "segmentation": rle.encode(mask)})
            for record in changed if isinstance(changed, list) else [changed]:
                written.append(record if isinstance(record, str) else json.dumps(record))
        path = tmp_path / "masks.jsonl"
        path.write_text("\n".join(written) + "\n", encoding="utf-8")
        return path

    return write


def score(path: Path, store: Path, **options: Any) -> Any:
    return risctl.score(path, store, **{"split": "all", **options})


def figures(report: Any) -> dict[str, dict[str, float]]:
    return {name: result.figures for name, result in report.results.items()}


@pytest.fixture(scope="module")
def expected(store: Path, expressions: Expressions, masks: list[np.ndarray]) -> dict[str, dict[str, float]]:
    """The figures by every protocol, from the masks themselves."""
    accumulator = Accumulator(get_protocols(EVERY))
    with Store(store) as opened:
        for row, mask in zip(opened.sentences("all").tolist(), masks, strict=True):
            sentence = opened.sentence(row)
            ref = opened.ref(sentence.ref)
            accumulator.add(
                mask,
                opened.mask(ref.row),
                key=row,
                image_id=ref.image_id,
                ref_id=ref.ref_id,
                targeted=bool(ref.annotations),
                first=row == ref.sentences[0],
            )
    return {name: accumulator.figures(name) for name in PROTOCOLS}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_figures_to_the_digit(
    form: str, tmp_path: Path, store: Path, expressions: Expressions, masks: list[np.ndarray], expected: dict[str, Any]
) -> None:
    path = FORMS[form](tmp_path, expressions, masks)
    if form == "results":  # A score beside each mask is its confidence, which average precision ranks by.
        expected = {name: one for name, one in expected.items() if name != "a2d"}
    report = score(path, store, protocol=",".join(expected))
    for name, wanted in expected.items():
        np.testing.assert_equal(report.results[name].figures, wanted)
    assert report.sentences == len(expressions) and not [note for note in report.notes if "missing" in note]


def test_a_models_own_masks_score_as_the_model_does(tmp_path: Path) -> None:
    path, system = made_store(tmp_path), ColourFinder()
    with Store(path) as opened:
        evaluated = evaluate(system, opened, split="val")
        rows = opened.sentences("val").tolist()
        with (tmp_path / "own.jsonl").open("w") as file:
            for row, mask in predicted_masks(system, opened, rows, text_field="sent", threshold=0.5):
                record = {"sent_id": opened.sentence(row).sentence_id, "segmentation": rle.encode(mask)}
                file.write(json.dumps(record) + "\n")
    assert score(tmp_path / "own.jsonl", path, split="val").figures == evaluated.figures


def test_rows_compare_with_those_of_other_runs(lines: Callable[..., Path], store: Path, tmp_path: Path) -> None:
    from risctl.evaluation.comparison import compare_runs
    from risctl.evaluation.saved_rows import read_run

    for name in ("a", "b"):
        score(lines(), store, protocol="original,lavt").write_rows(tmp_path / f"{name}.rows")
    compared = compare_runs([read_run(tmp_path / "a.rows"), read_run(tmp_path / "b.rows")])
    assert {one.value for one in compared.against[0].differences.values()} == {0.0}


def test_polygons_and_null_are_masks(lines: Callable[..., Path], store: Path, expressions: Expressions) -> None:
    def square(place: int, record: dict[str, Any]) -> dict[str, Any]:
        return record | {"segmentation": [[2, 1, 7, 1, 7, 5, 2, 5]] if place else None}

    report = score(lines(square), store, protocol="original")
    rows = report.results["original"].rows
    assert rows.predicted.tolist() == [0] + [20] * (len(expressions) - 1)


def test_missing_predictions_are_refused_counted_or_skipped(lines: Callable[..., Path], store: Path) -> None:
    path = lines(lambda place, record: [] if place in (1, 3) else record)
    with pytest.raises(DataError, match=r"no prediction of 2 of the 18 sentences .*'the café \d'.*--missing empty"):
        score(path, store)
    empty = score(path, store, missing="empty")
    skipped = score(path, store, missing="skip")
    assert (empty.sentences, skipped.sentences) == (18, 16)
    assert any("2 sentences without a prediction count as empty masks" in note for note in empty.notes)
    assert any("are left out of the figures" in note for note in skipped.notes)


def test_protocols_of_first_sentences_ask_for_no_others(
    lines: Callable[..., Path], store: Path, expressions: Expressions
) -> None:
    whole = score(lines(), store, protocol="mmdet")
    path = lines(lambda place, record: record if expressions[place]["sent_index"] == 0 else [])
    report = score(path, store, protocol="mmdet,reasonseg")
    assert report.sentences == sum(one["sent_index"] == 0 for one in expressions) == 12
    assert "12 of 12 sentences" in report.predictions
    assert figures(report)["mmdet"] == whole.figures
    with pytest.raises(DataError, match="no prediction of 6 of the 18 sentences"):
        score(path, store, protocol="mmdet,original")


def test_a_mask_of_gigabytes_is_refused_before_it_is_decoded(
    lines: Callable[..., Path], store: Path, tmp_path: Path, expressions: Expressions
) -> None:
    side = 60_000
    huge = {"size": [side, side], "counts": [side * side]}
    path = lines(lambda place, record: record | {"segmentation": huge} if place == 2 else record)
    with pytest.raises(DataError, match="line 3: it has 60000x60000 pixels"):
        score(path, store, resize="nearest")
    header = b"{'descr': '|b1', 'fortran_order': False, 'shape': (60000, 60000), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as file:
        data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(10**6)
        file.writestr(f"{expressions[0]['sent_id']}.npy", data)
    with pytest.raises(DataError, match="60000x60000 pixels"):
        score(tmp_path / "x.npz", store, missing="skip")


def test_a_broken_line_is_named_and_counts_as_missing_only_if_told_so(lines: Callable[..., Path], store: Path) -> None:
    for broken, says in [
        ("{", r"line 3: it is not JSON"),
        ("[]", r"line 3: expected an object"),
        ('{"sent_id": 1}', r"line 3: it has no segmentation"),
        ('{"sent_id": true, "segmentation": null}', r"line 3: sent_id is a whole number"),
        ('{"segmentation": null}', r"line 3: it has no sent_id"),
        ('{"sent_id": 100, "segmentation": null, "score": "high"}', r"line 3: score is a number"),
        ('{"sent_id": 101, "segmentation": {"size": [24, 24], "counts": "zz"}}', r"line 3: the counts"),
    ]:
        path = lines(lambda place, record, broken=broken: broken if place == 2 else record)
        with pytest.raises(DataError, match=says):
            score(path, store)
        report = score(path, store, lenient=True)
        assert report.sentences == 18
        assert any("1 (line 3) predictions could not be read" in note for note in report.notes), report.notes


def test_labels_of_a_store_are_scored_on_it(
    lines: Callable[..., Path], store: Path, expressions: Expressions, expected: dict[str, dict[str, float]]
) -> None:
    with Store(store) as opened:
        rows = {name: row for row, name in enumerate(opened.file_names())}

    def as_labelled(place: int, record: dict[str, Any]) -> dict[str, Any]:
        one = expressions[place]
        address = f"/elsewhere/{store.name}#{rows[one['file_name']]}"
        return {"image": address, "phrase": one["text"], "segmentation": record["segmentation"]}

    assert figures(score(lines(as_labelled), store))["original"] == expected["original"]


def test_a_prediction_of_no_sentence_is_counted(lines: Callable[..., Path], store: Path) -> None:
    path = lines(lambda place, record: [record, {"sent_id": 10_000 + place, "segmentation": None}])
    report = score(path, store)
    assert any("18 (10000, 10001, 10002, …) predictions are of no sentence" in note for note in report.notes)
    with pytest.raises(DataError, match="of no sentence of the split"):
        score(path, store, strict=True)
    nothing = lines(lambda place, record: record | {"sent_id": 10_000 + place})
    with pytest.raises(DataError, match=r"none of the 18 predictions is of the split .*risctl score --template"):
        score(nothing, store)


def test_two_predictions_of_a_sentence_need_scores(lines: Callable[..., Path], store: Path) -> None:
    with pytest.raises(DataError, match=r"several predictions of one sentence without a score each: 18 \("):
        score(lines(lambda place, record: [record, record]), store)

    def instances(place: int, record: dict[str, Any]) -> list[dict[str, Any]]:
        mask = rle.decode(record["segmentation"])
        left, right = mask.copy(), mask.copy()
        left[:, 8:], right[:, :8] = False, False
        parts = [(left, 0.9), (right, 0.5), (np.ones_like(mask), 0.49)]
        return [record | {"segmentation": rle.encode(part), "score": value} for part, value in parts]

    report = score(lines(instances), store)
    assert report.figures == score(lines(), store).figures
    assert any("18 sentences have several" in note for note in report.notes)
    with pytest.raises(DataError, match="have several predictions"):
        score(lines(instances), store, strict=True)


def test_sizes_are_refused_or_resized(lines: Callable[..., Path], store: Path) -> None:
    def double(place: int, record: dict[str, Any]) -> dict[str, Any]:
        mask = rle.decode(record["segmentation"])
        return record | {"segmentation": rle.encode(mask.repeat(2, 0).repeat(2, 1))}

    with pytest.raises(DataError, match=r"18 masks have another size .*line 1: \d+x\d+.*--resize nearest takes it"):
        score(lines(double), store)
    report = score(lines(double), store, resize="nearest")
    assert report.figures == score(lines(), store).figures
    assert any("resized by nearest neighbour" in note for note in report.notes)

    def turned(place: int, record: dict[str, Any]) -> dict[str, Any]:
        mask = rle.decode(record["segmentation"])
        height, width = mask.shape
        return record | {"segmentation": {"size": [width, height], "counts": record["segmentation"]["counts"]}}

    with pytest.raises(DataError, match=r"sizes are \[height, width\]"):
        score(lines(turned), store, resize="nearest")
    wide = lines(lambda place, record: record | {"segmentation": rle.encode(np.ones((30, 90), dtype=bool))})
    with pytest.raises(DataError, match="the shape differs by more than a pixel"):
        score(wide, store, resize="nearest")


def test_masks_of_the_protocols_own_size_are_taken_as_they_are(lines: Callable[..., Path], store: Path) -> None:
    def at_480(place: int, record: dict[str, Any]) -> dict[str, Any]:
        image = Image.fromarray(rle.decode(record["segmentation"])).resize((480, 480), Image.Resampling.NEAREST)
        return record | {"segmentation": rle.encode(np.asarray(image))}

    assert figures(score(lines(at_480), store, protocol="lavt,rela")) == figures(
        score(lines(), store, protocol="lavt,rela")
    )
    with pytest.raises(DataError, match="another size"):
        score(lines(at_480), store, protocol="lavt,original")


def test_saying_none_is_apart_from_the_mask(lines: Callable[..., Path], store: Path) -> None:
    report = score(lines(lambda place, record: record | {"no_target": True}), store, protocol="rela")
    assert report.figures["T-acc"] == 0 and report.figures["N-acc"] == 100


def test_empty_masks_of_targets_are_told(lines: Callable[..., Path], store: Path) -> None:
    path = lines(lambda place, record: record | {"segmentation": None})
    report = score(path, store)
    assert any("sentences with a target have an empty mask" in note for note in report.notes)
    with pytest.raises(DataError, match="have an empty mask"):
        score(path, store, strict=True)


def test_ids_that_repeat_in_the_store_are_not_taken(tmp_path: Path) -> None:
    from dataclasses import replace

    content = store_files.dataset(images=6)
    content.records = [
        replace(one, expressions=tuple(replace(part, sentence_id=5) for part in one.expressions))
        for one in content.records
    ]
    store = tmp_path / "same.h5"
    write_store(content, store)
    expressions, masks = prediction_files.expressions(store, "all"), prediction_files.shifted_targets(store, "all")
    records = [
        {key: one[key] for key in ("sent_id", "ref_id", "sent_index", "image_id", "text")}
        | {"segmentation": rle.encode(mask)}
        for one, mask in zip(expressions, masks, strict=True)
    ]
    (tmp_path / "masks.jsonl").write_text("\n".join(map(json.dumps, records)))
    assert "ref_id + sent_index" in score(tmp_path / "masks.jsonl", store).predictions
    with pytest.raises(DataError, match=r"ambiguous by sent_id: 5 stands for 9 sentences .*--key ref_id or text"):
        score(tmp_path / "masks.jsonl", store, key="sent_id")
    only = [{"sent_id": one["sent_id"], "segmentation": one["segmentation"]} for one in records]
    (tmp_path / "ids.jsonl").write_text("\n".join(map(json.dumps, only)))
    with pytest.raises(UsageError, match="give each prediction its ref_id and sent_index"):
        score(tmp_path / "ids.jsonl", store)


def test_equal_texts_of_different_targets_are_ambiguous(tmp_path: Path) -> None:
    from dataclasses import replace

    content = store_files.dataset(images=3)
    image = content.records[1].image_id
    twin = replace(content.records[1], ref_id=900, annotation_ids=(12,))
    twin = replace(twin, expressions=(replace(twin.expressions[0], sentence_id=900),))
    content.records.append(twin)
    store = tmp_path / "twins.h5"
    write_store(content, store)
    text = twin.expressions[0].sent
    (tmp_path / "t.jsonl").write_text(json.dumps({"image_id": image, "text": text, "segmentation": None}))
    with pytest.raises(DataError, match=r"1 predictions are ambiguous by image_id \+ text: \d+, the café 0"):
        score(tmp_path / "t.jsonl", store, split="val")


def test_probabilities_need_a_threshold(
    tmp_path: Path, store: Path, expressions: Expressions, masks: list[np.ndarray]
) -> None:
    named = {str(one["sent_id"]): np.where(mask, 0.6, 0.3) for one, mask in zip(expressions, masks, strict=True)}
    np.savez(tmp_path / "p.npz", **named)
    with pytest.raises(DataError, match="probabilities, not a mask; name the threshold with --threshold"):
        score(tmp_path / "p.npz", store)
    exact = score(FORMS["npz"](tmp_path, expressions, masks), store).figures
    assert score(tmp_path / "p.npz", store, threshold=0.5).figures == exact
    assert score(tmp_path / "p.npz", store, threshold=0.7).figures != exact


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("x.pkl", b"\x80\x04K\x01.", "a pickle, which is not read"),
        ("x.jpg", b"\xff\xd8\xff\xe0", "a JPEG, which is not read"),
        ("x.png", b"\x89PNG\r\n", "one PNG file"),
        ("x.txt", b"hello", "no predictions that can be read"),
        ("x.json", b"", "no predictions that can be read"),
        ("x.json", b"[]", "holds no prediction"),
        ("x.json", b'[{"sent_id": 1, "segmentation": null}', "entry 1: the list is cut off"),
        ("x.json", b'[{"sent_id": 1, "segmentation": null} {}]', "entry 1: the list is cut off or is not JSON"),
        ("x.json", b'[{"sent_id": 100, "segmentation": null}] 5', "something follows the list"),
        ("x.zip", b"PK\x03\x04", "cannot be read as a zip"),
        ("x.npz", b"PK\x05\x06" + bytes(18), "holds no PNG file"),
    ],
)
def test_what_is_no_file_of_predictions_is_refused(
    name: str, data: bytes, says: str, tmp_path: Path, store: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=says):
        score(tmp_path / name, store)


def test_damaged_masks_are_named(
    tmp_path: Path, store: Path, expressions: Expressions, masks: list[np.ndarray]
) -> None:
    folder = FORMS["folder"](tmp_path, expressions, masks)
    first = sorted(folder.iterdir(), key=lambda file: int(file.stem))[0]
    Image.new("RGB", (24, 24)).save(first)
    with pytest.raises(DataError, match=rf"{first.name}: expected one channel .*mode RGB"):
        score(folder, store)
    first.write_bytes(first.read_bytes()[:30])
    with pytest.raises(DataError, match=rf"{first.name}: it cannot be read as a PNG"):
        score(folder, store)
    Image.new("1", (4000, 4000)).save(first)
    with pytest.raises(DataError, match="4000x4000 pixels"):
        score(folder, store)
    (folder / "left.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"left.png: expected the name SENTID.png or REFID_INDEX.png"):
        score(folder, store)


def test_an_array_that_claims_more_than_its_file_holds_is_refused(
    tmp_path: Path, store: Path, expressions: Expressions
) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000, 1000), }".ljust(117) + b"\n"
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as file:
        file.writestr(
            f"{expressions[0]['sent_id']}.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        )
    with pytest.raises(DataError, match="it ends before its shape"):
        score(tmp_path / "x.npz", store, missing="skip")


def test_options_that_exclude_each_other(lines: Callable[..., Path], store: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--strict takes nothing"):
        score(lines(), store, strict=True, lenient=True)
    with pytest.raises(UsageError, match="unknown key 'sentid'; did you mean 'sent_id'"):
        score(lines(), store, key="sentid")
    with pytest.raises(UsageError, match="the key text needs image_id and text; the first prediction has sent_id"):
        score(lines(), store, key="text")
    with pytest.raises(UsageError, match="is no file or folder of predictions"):
        score(tmp_path / "none", store)


@pytest.mark.parametrize(
    ("name", "expected"), [("rrsis-d", "lavt"), ("grefcoco", "rela"), ("reasonseg", "reasonseg"), ("mine", "original")]
)
def test_a_set_is_scored_by_the_protocol_of_its_papers(tmp_path: Path, name: str, expected: str) -> None:
    path = write_store(replace(store_files.dataset(images=6), name=name), tmp_path / "store.h5").path
    masks = prediction_files.json_lines(
        tmp_path, prediction_files.expressions(path, "val"), prediction_files.shifted_targets(path, "val")
    )
    assert [*risctl.score(masks, path).results] == [expected]
    assert [*risctl.score(masks, path, protocol="cris").results] == ["cris"]


def test_rows_of_parquet_that_are_broken_are_named(store: Path, expressions: Expressions, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    rows = [
        {
            "sent_id": one["sent_id"],
            "segmentation": json.dumps(rle.encode(np.zeros((one["height"], one["width"]), bool))),
        }
        for one in expressions
    ]
    rows[4]["segmentation"] = "{"
    path = tmp_path / "masks.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    with pytest.raises(DataError, match="row 5: its segmentation is not JSON"):
        risctl.score(path, store, split="all")
    report = risctl.score(path, store, split="all", lenient=True)
    assert any(note.startswith("broken: 1 (row 5)") for note in report.notes)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="cannot be read as parquet"):
        risctl.score(path, store, split="all")
    parquet.write_table(pyarrow.Table.from_pylist([{"sent_id": 1}]), path)
    with pytest.raises(DataError, match="no column segmentation"):
        risctl.score(path, store, split="all")
