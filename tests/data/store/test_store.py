"""The store gives back exactly what was put in, to any number of processes, and refuses a file that is not whole."""

from __future__ import annotations

import contextlib
import copy
import json
import multiprocessing
import pickle
import random
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from helpers import store_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from risctl.data.datasets.registry import DATASETS
from risctl.data.records import Annotation, Dataset, Expression, ImageRecord, Record
from risctl.data.store import schema
from risctl.data.store.reader import Store
from risctl.data.store.verify import verify_masks, verify_store
from risctl.data.store.writer import write_store
from risctl.errors import DataError, UsageError
from risctl.vision import rle
from risctl.vision.images import decode_stored


def read_back(store: Store, dataset: Dataset) -> None:
    """Assert that `store` holds `dataset`, every field of it."""
    assert (store.name, store.split_by, store.notes) == (dataset.name, dataset.split_by, dataset.notes)
    assert store.categories == dict(dataset.categories)
    assert store.counts() == dataset.counts()
    assert store.splits == list(dataset.counts())
    for row, record in enumerate(dataset.images.values()):
        image = store.image(row)
        assert (image.image_id, image.file_name) == (record.image_id, record.file_name)
        assert (image.height, image.width) == (record.height, record.width)
        data = record.data if record.data is not None else record.path and record.path.read_bytes()
        assert store.image_bytes(row) == data
        own = [annotation for annotation in dataset.annotations.values() if annotation.image_id == record.image_id]
        found = [store.annotation(int(annotation)) for annotation in store.annotations_of(row)]
        assert [one.annotation_id for one in found] == [one.annotation_id for one in own]
        for mine, theirs in zip(found, own, strict=True):
            assert (mine.mask, mine.box, mine.crowd) == (theirs.mask, theirs.box, theirs.crowd)
            assert (mine.category_id, mine.image) == (theirs.category_id, row)
    sentences = 0
    for row, record in enumerate(dataset.records):
        ref = store.ref(row)
        assert (ref.ref_id, ref.image_id, ref.split) == (record.ref_id, record.image_id, record.split)
        assert (
            tuple(store.annotation(annotation).annotation_id for annotation in ref.annotations) == record.annotation_ids
        )
        assert ref.category_ids == tuple(
            dataset.annotations[annotation_id].category_id for annotation_id in record.annotation_ids
        )
        masks = [rle.decode(dataset.annotations[annotation_id].mask) for annotation_id in record.annotation_ids]
        image = dataset.images[record.image_id]
        union = np.any(masks, axis=0) if masks else np.zeros((image.height, image.width), dtype=bool)
        assert np.array_equal(rle.decode(store.mask(row)), union)
        assert len(ref.sentences) == len(record.expressions)
        for sentence_row, expression in zip(ref.sentences, record.expressions, strict=True):
            sentence = store.sentence(int(sentence_row))
            assert (sentence.row, sentence.ref, sentence.image) == (sentences, row, ref.image)
            assert (sentence.sentence_id, sentence.raw, sentence.sent) == (
                expression.sentence_id,
                expression.raw,
                expression.sent,
            )
            assert (sentence.tokens, sentence.abilities) == (expression.tokens, expression.abilities)
            sentences += 1
    assert len(store.sentences("all")) == sentences


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A small store, and the dataset `store_files.dataset()` in it."""
    write_store(store_files.dataset(), tmp_path / "store.h5")
    return tmp_path / "store.h5"


ids = st.integers(-(2**62), 2**62)
texts = st.text(max_size=20)


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    images, annotations, records = {}, {}, []
    for image_id in draw(st.lists(ids, min_size=1, max_size=4, unique=True)):
        height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
        data = draw(st.binary(max_size=50))
        images[image_id] = ImageRecord(image_id=image_id, file_name=draw(texts), height=height, width=width, data=data)
    for annotation_id in draw(st.lists(ids, max_size=6, unique=True)):
        image = images[draw(st.sampled_from(list(images)))]
        bits = draw(st.lists(st.booleans(), min_size=image.height * image.width, max_size=image.height * image.width))
        mask = rle.encode(np.array(bits).reshape(image.height, image.width))
        box = draw(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 4))
        annotations[annotation_id] = Annotation(
            annotation_id=annotation_id,
            image_id=image.image_id,
            category_id=draw(ids),
            box=box,
            mask=mask,
            crowd=draw(st.booleans()),
        )
    for ref_id in draw(st.lists(ids, min_size=1, max_size=5, unique=True)):
        image_id = draw(st.sampled_from(list(images)))
        own = [annotation.annotation_id for annotation in annotations.values() if annotation.image_id == image_id]
        expression = st.builds(
            Expression,
            sentence_id=ids,
            raw=texts,
            sent=texts,
            tokens=st.lists(texts, max_size=4).map(tuple),
            abilities=st.lists(st.sampled_from(["colour", "size", "place"]), max_size=3).map(tuple),
        )
        records.append(
            Record(
                ref_id=ref_id,
                image_id=image_id,
                split=draw(st.sampled_from(["train", "val", "testA", "a b"])),
                annotation_ids=tuple(draw(st.lists(st.sampled_from(own), max_size=3))) if own else (),
                expressions=tuple(draw(st.lists(expression, max_size=3))),
            )
        )
    return Dataset(
        name=draw(texts.filter(lambda text: "\0" not in text)),
        split_by="unc",
        categories=draw(st.dictionaries(ids, texts, max_size=3)),
        images=images,
        annotations=annotations,
        records=records,
        notes=draw(st.dictionaries(texts, st.integers(0, 9), max_size=2)),
    )


@given(dataset=datasets())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_any_dataset_comes_back_as_it_was(dataset: Dataset) -> None:
    with tempfile.TemporaryDirectory() as folder:
        info = write_store(dataset, Path(folder) / "store.h5")
        with Store(info.path) as store:
            read_back(store, dataset)
            assert store.fingerprint == info.fingerprint


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("name", ["refcoco", "refcoco+", "refcocog"])
def test_the_published_extract_comes_back_and_verifies(refer_mini: Path, tmp_path: Path, name: str, link: bool) -> None:
    dataset = DATASETS[name].read(refer_mini)
    info = write_store(dataset, tmp_path / "store.h5", link=link)
    with Store(info.path) as store:
        read_back(store, dataset)
        for row in store.sentences("all"):
            sample = store.sample(int(row))
            assert sample.mask.shape == sample.image.shape[:2] and sample.mask.any()
            assert sample.text == store.sentence(int(row)).sent
        assert verify_store(store).failures == []
        compared = verify_masks(store, refer_mini / name / "instances.json")
        assert compared.failures == [] and compared.checked == {
            "masks compared with their polygons": len(dataset.annotations)
        }


def test_a_sample_is_image_mask_text_and_ids(stored: Path) -> None:
    dataset = store_files.dataset()
    with Store(stored) as store:
        row = int(store.sentences("val")[0])
        sample = store.sample(row, text_field="raw_lower")
        record = dataset.records[1]
        image = dataset.images[record.image_id]
        assert image.data is not None
        assert np.array_equal(sample.image, decode_stored(image.data))
        assert np.array_equal(sample.mask, rle.decode(dataset.annotations[record.annotation_ids[0]].mask))
        assert sample.text == "the café 0"
        assert (sample.ids.image_id, sample.ids.ref_id) == (record.image_id, record.ref_id)
        assert not store.sample(0).mask.any(), "the first ref has no target"
        assert store.texts("val", "raw") == ["The Café 0", "The Café 1"]
        with pytest.raises(UsageError, match="did you mean 'raw'"):
            store.texts("val", "row")  # type: ignore[arg-type]
        with pytest.raises(IndexError, match="rows 0 to 5"):
            store.sentence(6)
        with pytest.raises(IndexError):
            store.image(-1)


def test_splits_match_as_the_published_code_does(tmp_path: Path) -> None:
    dataset = store_files.dataset(images=6)
    splits = ["train", "val", "testA", "testB", "testAB", "testC"]
    dataset.records = [replace(record, split=split) for record, split in zip(dataset.records, splits, strict=True)]
    write_store(dataset, tmp_path / "store.h5")
    with Store(tmp_path / "store.h5") as store:
        found = {asked: [splits[row] for row in store.refs(asked)] for asked in (*splits, "test", "all")}
        assert found["testA"] == ["testA", "testAB"]
        assert found["testB"] == ["testB", "testAB"]
        assert found["testAB"] == ["testAB"]
        assert found["test"] == ["testA", "testB", "testAB", "testC"]
        assert found["train"] == ["train"] and found["val"] == ["val"]
        assert found["all"] == splits
        assert len(store.images("test")) == 4
        with pytest.raises(UsageError, match="did you mean 'train'"):
            store.sentences("trian")


def test_the_fingerprint_is_of_the_content_alone(tmp_path: Path) -> None:
    here, there = tmp_path / "a", tmp_path / "b"
    marks = {
        "bytes": write_store(store_files.dataset(), tmp_path / "1.h5").fingerprint,
        "files": write_store(store_files.dataset(folder=here), tmp_path / "2.h5").fingerprint,
        "linked": write_store(store_files.dataset(folder=there), tmp_path / "3.h5", link=True).fingerprint,
        "noted": write_store(replace(store_files.dataset(), notes={}), tmp_path / "4.h5").fingerprint,
    }
    assert len(set(marks.values())) == 1, marks
    for other in (
        store_files.dataset(seed=1),
        replace(store_files.dataset(), name="other"),
        replace(store_files.dataset(), split_by="other"),
        replace(store_files.dataset(), records=store_files.dataset().records[:-1]),
        replace(store_files.dataset(), categories={1: "cup", 2: "cat"}),
    ):
        assert write_store(other, tmp_path / "5.h5").fingerprint not in marks.values()


def test_two_writings_of_one_dataset_are_the_same_file(tmp_path: Path) -> None:
    for name in ("1.h5", "2.h5"):
        write_store(store_files.dataset(), tmp_path / name)
    assert (tmp_path / "1.h5").read_bytes() == (tmp_path / "2.h5").read_bytes()


class _MadeOnTheWay(Mapping[int, ImageRecord]):
    """Images that exist only while they are looked at, and are counted."""

    def __init__(self, images: Mapping[int, ImageRecord]) -> None:
        self.images = images
        self.made: list[int] = []

    def __getitem__(self, image_id: int) -> ImageRecord:
        self.made.append(image_id)
        return copy.copy(self.images[image_id])

    def __iter__(self) -> Iterator[int]:
        return iter(self.images)

    def __len__(self) -> int:
        return len(self.images)


def test_each_image_is_taken_once_and_parts_fill_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "PART_BYTES", 2000)
    dataset = store_files.dataset(images=9)
    made = _MadeOnTheWay(dataset.images)
    steps: list[tuple[int, int]] = []
    write_store(replace(dataset, images=made), tmp_path / "store.h5", progress=lambda *step: steps.append(step))
    assert made.made == list(dataset.images)
    assert steps == [(done, 9) for done in range(1, 10)]
    with h5py.File(tmp_path / "store.h5") as file:
        assert len(file["parts"]) > 2
        assert all(part.size <= 2000 for part in file["parts"].values())
    with Store(tmp_path / "store.h5") as store:
        read_back(store, dataset)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda one: one.records.append(replace(one.records[0], image_id=5)), "points to image 5"),
        (lambda one: one.records.append(replace(one.records[0], annotation_ids=(9999,))), "annotation 9999"),
        (lambda one: one.annotations.update({7: replace(one.annotations[1], image_id=5)}), "of image 5"),
        (
            lambda one: one.annotations.update({1: replace(one.annotations[1], mask=rle.empty(2, 2))}),
            r"a mask of \[2, 2\]",
        ),
        (lambda one: one.images.update({1000: replace(one.images[1000], data=None)}), "neither a file nor bytes"),
        (lambda one: one.images.clear() or one.annotations.clear() or one.records.clear(), "no image"),
    ],
)
def test_a_dataset_that_contradicts_itself_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    write_store(store_files.dataset(seed=3), tmp_path / "store.h5")
    before = (tmp_path / "store.h5").read_bytes()
    dataset = store_files.dataset()
    change(dataset)
    with pytest.raises(DataError, match=message):
        write_store(dataset, tmp_path / "store.h5")
    assert (tmp_path / "store.h5").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["store.h5"]


def test_linking_needs_files_and_notices_when_they_change(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="without --link"):
        write_store(store_files.dataset(), tmp_path / "store.h5", link=True)
    dataset = store_files.dataset(folder=tmp_path / "pictures")
    linked = write_store(dataset, tmp_path / "linked.h5", link=True)
    full = write_store(dataset, tmp_path / "full.h5")
    assert linked.bytes < full.bytes - sum(one.stat().st_size for one in (tmp_path / "pictures").iterdir()) + 4096
    path = dataset.images[1000].path
    assert path is not None
    with Store(linked.path) as store:
        before = store.pixels(0)
        data = path.read_bytes()
        path.write_bytes(data[:-1] + b"x")
        with pytest.raises(DataError, match="has changed"):
            store.pixels(0)
        path.unlink()
        with pytest.raises(DataError, match=r"links to .*1000\.jpg"):
            store.pixels(0)
        assert any("1000.jpg" in failure for failure in verify_store(store).failures)
    with Store(full.path) as store:
        assert np.array_equal(store.pixels(0), before)


# A file that is not a whole store.


def test_a_store_cut_at_any_byte_is_refused(stored: Path) -> None:
    data = stored.read_bytes()
    cut = stored.with_name("cut.h5")

    @given(length=st.integers(0, len(data) - 1))
    @settings(max_examples=150, deadline=None)
    def refused(length: int) -> None:
        cut.write_bytes(data[:length])
        with pytest.raises(DataError, match=r"cut\.h5"):
            Store(cut)

    refused()
    for length in (*range(600), len(data) - 1):
        cut.write_bytes(data[:length])
        with pytest.raises(DataError):
            Store(cut)
    cut.write_bytes(data + b"\0")
    with pytest.raises(DataError, match="truncated or altered"):
        Store(cut)


def test_a_store_cut_while_it_is_open_gives_an_error_and_no_data(stored: Path) -> None:
    with Store(stored) as store:
        store.image_bytes(0)
        with stored.open("rb+") as handle:
            handle.truncate(600)
        with pytest.raises(DataError, match="cut short while in use"):
            store.image_bytes(0)


def test_a_changed_image_byte_is_noticed_on_reading(stored: Path) -> None:
    with Store(stored) as store:
        image = store.image_bytes(1)
    data = bytearray(stored.read_bytes())
    data[bytes(data).index(image) + len(image) // 2] ^= 1
    stored.write_bytes(data)
    with Store(stored) as store:
        store.image_bytes(0)
        with pytest.raises(DataError, match="image row 1"):
            store.image_bytes(1)


def _rewritten(path: Path, change: Callable[[dict[str, Any]], object], **columns: np.ndarray) -> None:
    """Change the layout of a store, and values of columns, as a faulty program might: with valid checksums."""
    data = bytearray(path.read_bytes())
    offset, length, _ = schema.check_header(bytes(data[: schema.HEADER_BYTES]), length=len(data), path=path)
    layout = json.loads(data[offset : offset + length])
    for name, values in columns.items():
        column = layout["columns"][name.replace("__", "/")]
        written = values.astype(column["kind"]).tobytes()
        data[column["offset"] : column["offset"] + len(written)] = written
        column["crc32"] = zlib.crc32(written)
    change(layout)
    packed = json.dumps(layout).encode()
    whole = len(data) + len(packed)
    data[: schema.HEADER_BYTES] = schema.header(whole, layout_at=len(data), layout=packed)
    path.write_bytes(bytes(data) + packed)


def test_a_changed_table_byte_is_noticed_on_reading(stored: Path) -> None:
    with Store(stored) as store, h5py.File(stored) as file:
        place = file["refs/image"].id.get_offset()
        assert store.numbers("refs/image").tolist() == file["refs/image"][:].tolist(), "any HDF5 tool reads the same"
    data = bytearray(stored.read_bytes())
    data[place] ^= 1
    stored.write_bytes(data)
    with Store(stored) as store, pytest.raises(DataError, match=r"is damaged.*refs/image"):
        store.ref(0)
    with Store(stored) as store:
        assert any("refs/image" in failure for failure in verify_store(store).failures)


@given(seed=st.integers(0, 10**9))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_changed_bytes_anywhere_never_crash_a_reader(stored: Path, seed: int) -> None:
    noise = random.Random(seed)
    data = bytearray(stored.read_bytes())
    for _ in range(noise.choice((1, 3, 50))):
        data[noise.randrange(len(data))] = noise.randrange(256)
    damaged = stored.with_name("damaged.h5")
    damaged.write_bytes(data)
    with contextlib.suppress(DataError), Store(damaged) as store:
        verify_store(store)


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"refs__image": np.array([2, 0, 0, 0])}, "fingerprint"),
        ({"refs__image": np.array([99, 0, 0, 0])}, "refs/image points beyond its table"),
        ({"images__id": np.array([1, 1, 2, 3])}, "images have repeated ids"),
        ({"refs__sentences": np.array([0, 3, 1, 2, 6])}, "refs/sentences are not offsets"),
    ],
)
def test_tables_that_contradict_themselves_are_found_by_verify(
    stored: Path, columns: dict[str, np.ndarray], named: str
) -> None:
    _rewritten(stored, lambda layout: None, **columns)
    with Store(stored) as store:
        assert any(named in failure for failure in verify_store(store).failures)


@pytest.mark.parametrize(
    "change",
    [
        lambda layout: layout["columns"].pop("refs/image"),
        lambda layout: layout["columns"]["refs/image"].update(kind="<f8"),
        lambda layout: layout["columns"]["refs/image"].update(shape=[10**9]),
        lambda layout: layout["columns"]["refs/image"].update(shape=[-1]),
        lambda layout: layout["columns"]["refs/image"].update(offset=-8),
        lambda layout: layout["columns"].update({"refs/image": 3}),
        lambda layout: layout.pop("name"),
        lambda layout: layout.update(surprise=1),
    ],
)
def test_a_layout_that_cannot_be_is_refused(stored: Path, change: Callable[[dict[str, Any]], object]) -> None:
    _rewritten(stored, change)
    with pytest.raises(DataError, match="is damaged"):
        Store(stored)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no risctl store"),
        (b"\x89HDF\r\n\x1a\n" + bytes(1000), "an HDF5 file, but no risctl store"),
        (b"PK\x03\x04" + bytes(1000), "is no risctl store"),
        (b'{"format": "other"}\n' + bytes(1000), "is no risctl store"),
        (b'{"format": "risctl store", "schema": "one", "bytes": 1}\n' + bytes(1000), "is no risctl store"),
        (b'{"format": "risctl store", "schema": 1, "bytes": 1051}\n' + bytes(996), "names no layout"),
        (
            b'{"format": "risctl store", "schema": 1, "bytes": 1076, "layout": [9999, 1, ""]}\n' + bytes(996),
            "no layout",
        ),
        (b'{"format": "risctl store", "schema": 1, "bytes": 1076, "layout": [512, 10, ""]}\n' + bytes(996), "damaged"),
    ],
)
def test_a_foreign_file_is_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "foreign.h5"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        Store(file)
    assert "foreign.h5" in str(caught.value)


def test_an_absent_store_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="risctl prepare"):
        Store(tmp_path / "absent.h5")
    with pytest.raises(DataError, match="cannot open"):
        Store(tmp_path)


@pytest.mark.parametrize(("version", "message"), [(99, "update risctl"), (0, "prepare the store again")])
def test_another_schema_is_refused_by_its_number(stored: Path, version: int, message: str) -> None:
    data = stored.read_bytes()
    stored.write_bytes(data.replace(b'"schema": 1', b'"schema": %d' % version, 1)[: len(data)])
    with pytest.raises(DataError, match=f"schema {version}.*{message}"):
        Store(stored)


# Many readers.


def _digest(store: Store) -> list[int]:
    return [hash(store.sample(int(row)).image.tobytes()) for row in store.sentences("all")] + [
        hash(store.mask(int(row))["counts"]) for row in store.refs("all")
    ]


def _work(store: Store, queue: Any) -> None:
    queue.put([store.sample(int(row)).image.sum() for row in list(store.sentences("all")) * 20])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_readers_in_other_processes_see_the_same(stored: Path, method: str) -> None:
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system cannot {method}")
    context = multiprocessing.get_context(method)
    with Store(stored) as store:
        expected = [store.sample(int(row)).image.sum() for row in list(store.sentences("all")) * 20]
        queue = context.Queue()
        workers = [context.Process(target=_work, args=(store, queue)) for _ in range(3)]
        for worker in workers:
            worker.start()
        # The parent reads on: a shared file position would mix them up.
        mine = [store.sample(int(row)).image.sum() for row in list(store.sentences("all")) * 20]
        found = [queue.get(timeout=60) for _ in workers]
        for worker in workers:
            worker.join(timeout=60)
        assert mine == expected
        assert found == [expected] * 3


def test_threads_share_one_reader(stored: Path) -> None:
    with Store(stored) as store, ThreadPoolExecutor(8) as pool:
        expected = _digest(store)
        assert all(found == expected for found in pool.map(lambda _: _digest(store), range(40)))


def test_a_pickled_reader_opens_for_itself_and_notices_another_store(stored: Path) -> None:
    with Store(stored) as store:
        data = pickle.dumps(store)
        assert len(data) < 1000 + sum(len(root) + 9 for root in store.image_roots)  # no content of the store
        with pickle.loads(data) as second:
            assert _digest(second) == _digest(store)
    write_store(store_files.dataset(seed=8), stored)
    with pytest.raises(DataError, match="replaced by another store"):
        pickle.loads(data)


def test_a_reader_keeps_its_store_when_another_is_renamed_over_it(stored: Path) -> None:
    with Store(stored) as store:
        before = _digest(store)
        write_store(store_files.dataset(seed=8, images=9), stored)
        assert _digest(store) == before
        with Store(stored) as other:
            assert other.fingerprint != store.fingerprint


def test_a_closed_reader_says_so(stored: Path) -> None:
    store = Store(stored)
    store.close()
    with pytest.raises(DataError, match="is closed"):
        store.image_bytes(0)


def test_a_store_can_be_moved(stored: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    shutil.move(stored, tmp_path / "elsewhere" / "s.h5")
    with Store(tmp_path / "elsewhere" / "s.h5") as store:
        read_back(store, store_files.dataset())
