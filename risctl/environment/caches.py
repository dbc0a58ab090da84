"""Finds, verifies and removes what is cached here: downloads, word vectors, features and calibrated thresholds."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from risctl.data.datasets.descriptor import DatasetDescriptor
from risctl.data.datasets.registry import DATASETS
from risctl.data.download.mirrors import record_of, sha256_of
from risctl.data.download.transfer import load_json
from risctl.data.features import schema
from risctl.data.features.reader import FeatureCache, FeatureFile
from risctl.data.store.reader import Store
from risctl.errors import DataError
from risctl.files import cache_folder, is_leftover
from risctl.language.vector_cache import check_sum, source_of
from risctl.models.calibrated import read_calibration
from risctl.recipe.load import load_recipe, shipped_recipes
from risctl.training.features.keys import code_version

DOWNLOAD, VECTORS, FEATURES, CALIBRATION, LEFTOVER = "download", "vectors", "features", "calibration", "leftover"
KINDS = (DOWNLOAD, VECTORS, FEATURES, CALIBRATION, LEFTOVER)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """A cached file with those that belong to it.

    Attributes:
        kind: One of `KINDS`.
        files: Its files, the main one first.
        bytes: Their total size.
        used_by: What reads it, in words.
        unusable: Why nothing can use it any more, None if something can.
    """

    kind: str
    files: tuple[Path, ...]
    bytes: int
    used_by: str
    unusable: str | None = None

    @property
    def path(self) -> Path:
        """The main file."""
        return self.files[0]

    def verify(self) -> str:
        """Returns what was compared. Raises `DataError` if the content is not what was downloaded or written."""
        return _VERIFIERS[self.kind](self.path)

    def remove(self) -> None:
        """Removes its files."""
        for file in self.files:
            file.unlink(missing_ok=True)


def find_caches(data_root: Path) -> list[CacheEntry]:
    """Returns what is cached below the data root and in the user's cache folder, ordered by kind and path."""
    files = sorted(path for path in data_root.rglob("*") if path.is_file()) if data_root.is_dir() else []
    stores = _stores(files)
    found = [*_downloads(files, stores), *_features(files, stores), *_leftovers(files)]
    vectors = cache_folder() / "vectors"
    if vectors.is_dir():
        kept = sorted(path for path in vectors.iterdir() if path.is_file())
        found += [*_vectors(kept), *_leftovers(kept)]
    calibrations = cache_folder() / "calibration"
    if calibrations.is_dir():
        kept = sorted(path for path in calibrations.iterdir() if path.is_file())
        found += [*_calibrations(kept), *_leftovers(kept)]
    return sorted(found, key=lambda one: (KINDS.index(one.kind), str(one.path)))


def _stores(files: Sequence[Path]) -> dict[Path, tuple[str, str]]:
    """Returns the name and fingerprint of each store."""
    found = {}
    for file in files:
        if file.suffix == ".h5" and not file.name.endswith(schema.SUFFIX):
            try:
                with Store(file) as store:
                    found[file] = (store.name, store.fingerprint)
            except DataError:
                continue
    return found


def _downloads(files: Sequence[Path], stores: dict[Path, tuple[str, str]]) -> Iterator[CacheEntry]:
    there = set(files)
    for file in files:
        record = record_of(file)
        if record in there and "sha256" in load_json(record):
            made_of_it = {name for name, dataset in DATASETS.items() if file.name in _downloads_of(dataset)}
            using = [path.name for path, (name, _) in stores.items() if name in made_of_it]
            used = f"made into {', '.join(using)}" if using else "no store here was made from it"
            yield _entry(DOWNLOAD, (file, record), used_by=used)
        elif file.suffix == ".part" and file.with_name(file.name + ".json") in there:
            both = (file, file.with_name(file.name + ".json"))
            yield _entry(DOWNLOAD, both, used_by="unfinished; the next download continues it")


def _downloads_of(dataset: DatasetDescriptor) -> set[str]:
    images = dataset.images.sources if dataset.images is not None else ()
    return {source.file_name for source in (*dataset.sources, *images)}


def _features(files: Sequence[Path], stores: dict[Path, tuple[str, str]]) -> Iterator[CacheEntry]:
    for file in files:
        unfinished = file.name.endswith(f"{schema.SUFFIX}.part")
        if not (file.name.endswith(schema.SUFFIX) or unfinished):
            continue
        try:
            layout = FeatureFile(file, unfinished=unfinished)
        except DataError as error:
            yield _entry(FEATURES, (file,), used_by="nothing", unusable=str(error))
            continue
        layout.close()
        about = layout.layout
        used = f"recipe {about.recipe} on {about.store}" + ("; unfinished" if unfinished else "")
        if about.shard[1] > 1:
            used += f"; shard {about.shard[0]} of {about.shard[1]}"
        store = stores.get(file.with_name(about.store))
        unusable = None
        if store is None:
            unusable = f"its store {about.store} is not beside it"
        elif store[1] != about.key.store:
            unusable = f"its store {about.store} has changed"
        elif about.key.code != code_version():
            unusable = f"it was computed by {about.key.code}, this is {code_version()}"
        yield _entry(FEATURES, (file,), used_by=used, unusable=unusable)


def _vectors(files: Sequence[Path]) -> Iterator[CacheEntry]:
    recipes = _recipes_by_vectors()
    for file in files:
        if file.suffix != ".safetensors":
            continue
        try:
            source = source_of(file)
        except DataError as error:
            yield _entry(VECTORS, (file,), used_by="nothing", unusable=str(error))
            continue
        name = Path(source).name
        using = recipes.get(name, [])
        # Without its source, a conversion is never used.
        gone = f"its source {source} is gone" if Path(source).is_absolute() and not Path(source).exists() else None
        shown = f", as in {', '.join(using[:3])}{', …' if len(using) > 3 else ''}" if using else ""
        yield _entry(VECTORS, (file,), used_by=f"recipes with {name or 'unnamed vectors'}{shown}", unusable=gone)


def _calibrations(files: Sequence[Path]) -> Iterator[CacheEntry]:
    for file in files:
        if file.suffix != ".json":
            continue
        try:
            model = read_calibration(file).model
        except DataError as error:
            yield _entry(CALIBRATION, (file,), used_by="nothing", unusable=str(error))
            continue
        yield _entry(CALIBRATION, (file,), used_by=f"--model {model}")


@functools.cache
def _recipes_by_vectors() -> dict[str, list[str]]:
    """Returns the names of the shipped recipes that read each file of vectors."""
    found: dict[str, list[str]] = {}
    for name in shipped_recipes():
        source = getattr(getattr(load_recipe(name).model, "text", None), "vectors", None)
        if source is not None:
            found.setdefault(Path(source).name, []).append(name)
    return found


def _leftovers(files: Sequence[Path]) -> Iterator[CacheEntry]:
    for file in files:
        if is_leftover(file):
            yield _entry(LEFTOVER, (file,), used_by="nothing", unusable="its writer was killed")


def _entry(kind: str, files: tuple[Path, ...], *, used_by: str, unusable: str | None = None) -> CacheEntry:
    size = sum(file.stat().st_size for file in files)
    return CacheEntry(kind=kind, files=files, bytes=size, used_by=used_by, unusable=unusable)


def _verify_download(path: Path) -> str:
    if path.suffix == ".part":
        return "unfinished"
    record = load_json(record_of(path))
    if path.stat().st_size != record.get("size") or sha256_of(path) != record.get("sha256"):
        raise DataError(f"{path} is not the file that was downloaded; remove it to download it again")
    return "sha256"


def _verify_vectors(path: Path) -> str:
    return "sha256" if check_sum(path) else "readable; no checksum was recorded"


def _verify_features(path: Path) -> str:
    if path.suffix == ".part":
        return "unfinished"
    with FeatureCache(path) as cache:
        samples = sum(1 for _ in cache.verify())
    return f"CRC-32 of {samples:,} samples"


_VERIFIERS: dict[str, Callable[[Path], str]] = {
    DOWNLOAD: _verify_download,
    VECTORS: _verify_vectors,
    FEATURES: _verify_features,
    CALIBRATION: lambda path: f"readable; {read_calibration(path).describe()}",
    LEFTOVER: lambda path: "left over",
}
