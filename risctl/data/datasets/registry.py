"""Every dataset that risctl knows, by name: those listed here, and those of installed plugins."""

from __future__ import annotations

from risctl.data.datasets.a2d.descriptor import A2D, JHMDB
from risctl.data.datasets.coco_phrases.descriptor import COCO_PHRASES
from risctl.data.datasets.coco_zsi.descriptor import COCO_ZSI_48_17, COCO_ZSI_65_15
from risctl.data.datasets.descriptor import DatasetDescriptor
from risctl.data.datasets.long_rvos.descriptor import LONG_RVOS
from risctl.data.datasets.mevis.descriptor import MEVIS, MEVIS_V2
from risctl.data.datasets.pbench.descriptor import PBENCH
from risctl.data.datasets.phrasecut.descriptor import PHRASECUT
from risctl.data.datasets.reasonseg.descriptor import REASONSEG
from risctl.data.datasets.ref_sav.descriptor import REF_SAV
from risctl.data.datasets.ref_video.descriptor import REF_DAVIS17, REF_YOUTUBE_VOS
from risctl.data.datasets.refcoco_tables.descriptor import REFCOCO_M, REFCOCO_TABLE
from risctl.data.datasets.refer.descriptor import GREFCOCO, REFCLEF, REFCOCO, REFCOCO_PLUS, REFCOCOG, RRSIS_D
from risctl.data.datasets.saco.descriptor import SACO
from risctl.data.datasets.saco_veval.descriptor import SACO_VEVAL
from risctl.data.datasets.scenes.descriptor import SCENES
from risctl.errors import MachineError, UsageError, unknown_name

PLUGINS = "risctl.datasets"
"""The entry-point group in which an installed package offers a `DatasetDescriptor`."""

DATASETS: dict[str, DatasetDescriptor] = {
    "refcoco": REFCOCO,
    "refcoco+": REFCOCO_PLUS,
    "refcocog": REFCOCOG,
    "refclef": REFCLEF,
    "grefcoco": GREFCOCO,
    "refcoco-table": REFCOCO_TABLE,
    "refcoco-m": REFCOCO_M,
    "rrsis-d": RRSIS_D,
    "phrasecut": PHRASECUT,
    "reasonseg": REASONSEG,
    "saco": SACO,
    "pbench": PBENCH,
    "scenes": SCENES,
    "coco-phrases": COCO_PHRASES,
    "coco-zsi-48-17": COCO_ZSI_48_17,
    "coco-zsi-65-15": COCO_ZSI_65_15,
    "ref-youtube-vos": REF_YOUTUBE_VOS,
    "a2d": A2D,
    "jhmdb": JHMDB,
    "ref-davis17": REF_DAVIS17,
    "mevis": MEVIS,
    "mevis-v2": MEVIS_V2,
    "long-rvos": LONG_RVOS,
    "ref-sav": REF_SAV,
    "saco-veval": SACO_VEVAL,
}
"""The datasets by name; a dataset is added by one line here, or by a plugin."""


def load_plugins() -> None:
    """Adds the datasets of installed plugins to `DATASETS`.

    Raises:
        MachineError: A plugin cannot be imported, offers something else, or the name of another dataset.
    """
    from importlib.metadata import entry_points

    for entry in entry_points(group=PLUGINS):
        try:
            descriptor = entry.load()
        except Exception as error:  # a plugin is other people's code
            raise MachineError(f"the plugin {entry.value} cannot be loaded: {error}; repair or remove it") from error
        if not isinstance(descriptor, DatasetDescriptor):
            got = type(descriptor).__name__
            raise MachineError(f"expected a DatasetDescriptor of the plugin {entry.value}, got {got}")
        if DATASETS.setdefault(descriptor.name, descriptor) is not descriptor:
            raise MachineError(f"the plugin {entry.value} offers {descriptor.name}, which is another dataset's name")


def find_dataset(name: str) -> DatasetDescriptor:
    """Returns the dataset called `name`, of a plugin too. Raises `UsageError` with the nearest name otherwise."""
    if name not in DATASETS:
        load_plugins()
    if name not in DATASETS:
        raise UsageError(unknown_name("dataset", name, DATASETS))
    return DATASETS[name]
