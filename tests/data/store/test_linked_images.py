"""A linked store opens regular files below folders that the user named, and nothing else."""

from __future__ import annotations

import os
import pickle
import shutil
from pathlib import Path

import pytest
from helpers import store_files

from risctl.data.records import Dataset
from risctl.data.store import linked_images
from risctl.data.store.reader import Store
from risctl.data.store.writer import write_store
from risctl.errors import DataError


@pytest.fixture(autouse=True)
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty configuration folder of the user."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    monkeypatch.delenv(linked_images.VARIABLE, raising=False)
    return tmp_path / "configuration"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return tmp_path / "far" / "pictures"


@pytest.fixture
def linked(tmp_path: Path, images: Path) -> Path:
    """A linked store whose images lie elsewhere."""
    (tmp_path / "near").mkdir()
    write_store(store_files.dataset(folder=images), tmp_path / "near" / "linked.h5", link=True)
    return tmp_path / "near" / "linked.h5"


def forget(configuration: Path) -> None:
    shutil.rmtree(configuration)


def test_what_this_user_linked_is_read_without_a_word(linked: Path, images: Path, configuration: Path) -> None:
    assert (configuration / "risctl" / "image_roots").read_text() == f"{images}\n"
    with Store(linked) as store:
        assert store.pixels(0).shape[2] == 3
    before = (configuration / "risctl" / "image_roots").read_bytes()
    write_store(store_files.dataset(folder=images / "below"), linked.with_name("again.h5"), link=True)
    assert (configuration / "risctl" / "image_roots").read_bytes() == before, "a folder below is known already"


def test_a_store_from_elsewhere_reads_only_below_folders_that_are_named(
    linked: Path, images: Path, configuration: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(configuration)
    with Store(linked) as store, pytest.raises(DataError, match=r"RISCTL_IMAGE_ROOTS=") as caught:
        store.pixels(0)
    assert str(images) in str(caught.value) and str(linked) in str(caught.value)
    with Store(linked, image_roots=[images]) as store, pickle.loads(pickle.dumps(store)) as copy:
        assert copy.pixels(0).shape == store.pixels(0).shape
    monkeypatch.setenv(linked_images.VARIABLE, os.pathsep.join(["/nowhere", str(images.parent)]))
    with Store(linked) as store:
        store.pixels(0)
    monkeypatch.setenv(linked_images.VARIABLE, str(images)[:-1])
    with Store(linked) as store, pytest.raises(DataError, match="none of the folders"):
        store.pixels(0)


def test_the_folder_of_the_store_needs_no_name(images: Path, configuration: Path) -> None:
    write_store(store_files.dataset(folder=images), images.parent / "linked.h5", link=True)
    forget(configuration)
    with Store(images.parent / "linked.h5") as store:
        store.pixels(0)


@pytest.mark.parametrize("what", ["pipe", "device", "folder", "escape", "loop", "longer", "absent", "relative"])
def test_only_the_regular_file_is_opened(linked: Path, images: Path, tmp_path: Path, what: str) -> None:
    image = images / "1000.jpg"
    data = image.read_bytes()
    image.unlink()
    if what == "pipe":
        os.mkfifo(image)
    elif what == "device":
        image.symlink_to("/dev/zero")
    elif what == "folder":
        image.mkdir()
    elif what == "escape":
        (tmp_path / "secret.jpg").write_bytes(data)
        image.symlink_to(tmp_path / "secret.jpg")
    elif what == "loop":
        image.symlink_to(image)
    elif what == "longer":
        image.touch()
        os.truncate(image, 1 << 40)
    with Store(linked) as store, pytest.raises(DataError, match=r"1000\.jpg|/dev/zero|secret\.jpg"):
        store.image_bytes(0)


@pytest.mark.parametrize("link", ["", "pictures/1000.jpg", "a\0b", "/\ud800", "/dev/zero", "/", "x" * 5000])
def test_paths_that_are_none_are_refused(tmp_path: Path, link: str) -> None:
    with pytest.raises(DataError, match=r"s\.h5 links to"):
        linked_images.read(link, length=5, roots=(str(tmp_path),), store=tmp_path / "s.h5")


def test_an_image_that_links_out_of_its_folder_is_refused_when_the_store_is_written(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = store_files.dataset(folder=images)
    shutil.move(images / "1000.jpg", tmp_path / "aside.jpg")
    (images / "1000.jpg").symlink_to(tmp_path / "aside.jpg")
    (tmp_path / "near").mkdir()
    with pytest.raises(DataError, match=r"symbolic link out of its folder.*aside\.jpg"):
        write_store(dataset, tmp_path / "near" / "linked.h5", link=True)
    monkeypatch.setenv(linked_images.VARIABLE, str(tmp_path))
    write_store(dataset, tmp_path / "near" / "linked.h5", link=True)
    with Store(tmp_path / "near" / "linked.h5") as store:
        store.pixels(0)


def test_a_folder_that_is_a_symbolic_link_is_followed(tmp_path: Path, images: Path, configuration: Path) -> None:
    store_files.dataset(folder=images)
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "images").symlink_to(images, target_is_directory=True)
    dataset: Dataset = store_files.dataset(folder=tmp_path / "near" / "images")
    write_store(dataset, tmp_path / "near" / "linked.h5", link=True)
    assert (configuration / "risctl" / "image_roots").read_text() == f"{images}\n"
    with Store(tmp_path / "near" / "linked.h5") as store:
        store.pixels(0)


def test_many_folders_are_remembered_by_the_one_that_holds_them(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / "videos" / str(number)).mkdir(parents=True)
    linked_images.remember(tmp_path / "videos" / str(number) / "0.jpg" for number in range(20))
    assert linked_images.remembered_file().read_text() == f"{tmp_path / 'videos'}\n"


def test_where_nothing_can_be_remembered_the_writer_says_so(tmp_path: Path, images: Path, configuration: Path) -> None:
    configuration.write_text("no folder")
    info = write_store(store_files.dataset(folder=images), tmp_path / "linked.h5", link=True)
    assert "RISCTL_IMAGE_ROOTS" in info.warnings[0]
