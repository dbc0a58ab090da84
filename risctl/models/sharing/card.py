"""Writes the card of a shared model: what it is, how it was measured, on what data, and how to make it again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from risctl.recipe.document import dump
from risctl.recipe.schema import Recipe

_CELL = 1000


def model_card(
    *,
    recipe: Recipe,
    header: Mapping[str, Any],
    repository: str,
    licence: str | None,
    parameters: int,
    words: int,
    reports: Sequence[Mapping[str, Any]],
    weights: str,
) -> str:
    """Returns the card as Markdown with the hub's fields before it.

    Args:
        recipe: The recipe, as it is shared.
        header: Entries of the checkpoint's header: `dataset`, `protocol`, `step`, `epoch`, `metrics`, `best`, `risctl`.
        repository: OWNER/NAME.
        licence: The licence of the weights, as the hub abbreviates it; None if none was stated.
        parameters: How many parameters the model has.
        words: How many words or tokens it knows.
        reports: Reports of `risctl eval` of these weights.
        weights: The SHA-256 of the weights' file.
    """
    dataset: Mapping[str, Any] = header.get("dataset") or {}
    fields: dict[str, Any] = {
        "library_name": "risctl",
        "pipeline_tag": "image-segmentation",
        "tags": ["risctl", "referring-image-segmentation", recipe.model.system],
    }
    if licence:
        fields["license"] = licence
    parts = [
        f"---\n{dump(fields)}---",
        f"# {_text(recipe.name)}",
        (
            f"{_text(recipe.description) + ' ' if recipe.description else ''}A model for referring image segmentation: "
            f"an image and a phrase in, the mask of what the phrase refers to out. System `{recipe.model.system}`, "
            f"{parameters:,} parameters, {words:,} words or tokens. Trained with "
            f"risctl {_text(str(header.get('risctl', '')))}."
        ),
        _use(repository),
        _figures(header, reports),
        _data(dataset, recipe),
        _reproduction(repository, recipe, dataset, header, weights),
        _licence(licence),
    ]
    return "\n\n".join(parts) + "\n"


def _use(repository: str) -> str:
    return f"""## Use

```sh
pip install risctl
risctl predict --model hf:{repository} photo.jpg "the red cup on the left" --out out
```

```python
import risctl

model = risctl.load("hf:{repository}")
[prediction] = model.predict("photo.jpg", ["the red cup on the left"])
prediction.mask  # bool (height, width)
```"""


def _figures(header: Mapping[str, Any], reports: Sequence[Mapping[str, Any]]) -> str:
    lines = ["## Figures", ""]
    for report in reports:
        dataset = report["dataset"]
        lines += [
            f"### {_named(dataset)}, split {_text(str(report.get('split')))}",
            "",
            (
                f"{_text(str(report.get('sentences')))} expressions about {_text(str(report.get('images')))} "
                f"{_text(str(report.get('unit', 'image')))}s; data fingerprint "
                f"`{_text(str(dataset.get('fingerprint')))}`."
            ),
            "",
        ]
        for result in report["protocols"].values():
            lines += [f"Protocol: {_text(str(result.get('protocol')))}", "", *_table(result), ""]
        lines += [f"- {_text(str(warning))}" for warning in report.get("warnings") or ()]
        lines.append("")
    metrics = header.get("metrics") or {}
    if metrics and not reports:
        lines += [
            f"Measured during training on its validation split, under the protocol `{_text(str(header['protocol']))}`, "
            f"at step {header.get('step')}; the checkpoint was chosen by such figures, and they come without intervals."
            if header.get("protocol")
            else "Measured during training, without intervals.",
            "",
            *_table({"figures": metrics, "intervals": {}}),
        ]
    if not metrics and not reports:
        lines.append("None were measured.")
    return "\n".join(lines).rstrip()


def _table(result: Mapping[str, Any]) -> Iterator[str]:
    yield "| figure | % | 95% interval |"
    yield "|---|---:|---:|"
    intervals = result.get("intervals") or {}
    for name, value in (result.get("figures") or {}).items():
        bounds = intervals.get(name)
        shown = "none"
        if isinstance(bounds, list) and len(bounds) == 2 and all(map(_is_number, bounds)):
            shown = f"{bounds[0]:.2f} to {bounds[1]:.2f}"
        yield f"| {_text(str(name))} | {f'{value:.2f}' if _is_number(value) else 'none'} | {shown} |"


def _data(dataset: Mapping[str, Any], recipe: Recipe) -> str:
    stores = [dataset, *(dataset.get("also") or ())] if dataset else []
    lines = ["## Training data", ""]
    for one in stores:
        split = _text(str(dataset.get("split") or recipe.data.train_split))
        lines.append(f"- {_named(one)}, split {split}, fingerprint of the store `{_text(str(one.get('fingerprint')))}`")
    if not stores:
        lines.append("The checkpoint does not say: it was imported from published weights.")
    lines += ["", "The images and expressions have licences of their own, which their publishers state."]
    return "\n".join(lines)


def _reproduction(
    repository: str, recipe: Recipe, dataset: Mapping[str, Any], header: Mapping[str, Any], weights: str
) -> str:
    begun = recipe.train.init_weights
    lines = [
        "## How to reproduce",
        "",
        "```sh",
        f"hf download {repository} recipe.yaml --local-dir .",
        *(
            [f"risctl prepare {_text(str(dataset['name']))}  # see risctl prepare --help for its options"]
            if dataset.get("name")
            else []
        ),
        f"risctl train recipe.yaml data.store={recipe.data.store}",
        "```",
        "",
        (
            f"`recipe.yaml` has every key, the seed {recipe.train.seed} among them; `risctl data` shows the "
            "fingerprint of a store, which must be the one above. The same recipe, data, versions and kind of device "
            "give the same weights."
        ),
        f"Steps: {header.get('step', 'unknown')}. SHA-256 of `model.safetensors`: `{weights}`.",
    ]
    if begun is not None:
        lines.append(f"The training began with the weights of `{_text(begun.checkpoint)}`, which is not part of this.")
    return "\n".join(lines)


def _licence(licence: str | None) -> str:
    stated = f"The weights: `{_text(licence)}`." if licence else "None was stated for the weights: ask their author."
    return f"## Licence\n\n{stated} risctl itself: Apache-2.0."


def _named(dataset: Mapping[str, Any]) -> str:
    split_by = dataset.get("split_by")
    return _text(str(dataset.get("name"))) + (f" ({_text(str(split_by))})" if split_by else "")


def _text(text: str) -> str:
    """Returns a text of a file for one line of Markdown, without what would be markup of a table or of HTML."""
    plain = "".join(one if one.isprintable() else " " for one in text)[:_CELL]
    for sign, instead in (("&", "&amp;"), ("<", "&lt;"), ("|", "&#124;"), ("`", "'")):
        plain = plain.replace(sign, instead)
    return plain


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
