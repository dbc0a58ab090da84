"""Writes the pages of the site's reference from the package itself, so that none of them is written by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from site_formats import file_formats
from site_markdown import prose, table
from typer.core import TyperGroup

import risctl
from risctl import errors
from risctl.cli.app import SUBCOMMANDS, app
from risctl.data.datasets.custom import FORMAT
from risctl.data.datasets.registry import DATASETS
from risctl.metrics.protocols import PROTOCOLS, VIDEO_PROTOCOLS
from risctl.models.registry import MODELS, TRACKERS, WEIGHTS
from risctl.recipe.file_schema import file_json_schema
from risctl.recipe.load import load_recipe
from risctl.recipe.shipped import shipped_recipes
from risctl.systems.registry import SYSTEMS

REPOSITORY = Path(__file__).resolve().parents[1]

RETURNED = (
    "risctl.models.predictor.PromptedPredictor",
    "risctl.results.Detection",
    "risctl.inference.video_predictor.FramePredictions",
    "risctl.vision.video_frames.Video",
    "risctl.vision.video_frames.Frame",
    "risctl.training.run.TrainingResult",
    "risctl.evaluation.report.Report",
    "risctl.data.store.rows.ImageRow",
    "risctl.data.store.rows.AnnotationRow",
    "risctl.data.store.rows.RefRow",
    "risctl.data.store.rows.SentenceRow",
    "risctl.data.records.Sample",
    "risctl.data.records.SampleIds",
)
"""What the names of the package return and take, beside numbers, texts and arrays."""

HEADING = "<!-- Written by tools/build_site.py: changes here are lost. -->\n\n# {title}\n\n{text}\n"


def pages() -> dict[str, str]:
    """Returns the reference: file name -> Markdown."""
    written = {
        "commands": ("Commands", _commands()),
        "recipe": ("Recipe keys", _recipe_keys()),
        "recipes": ("Recipes", _recipes()),
        "python": ("Python", _python()),
        "protocols": ("Protocols", _protocols()),
        "datasets": ("Datasets", _datasets()),
        "own-data": ("Your own data", _own_data()),
        "models": ("Models", _models()),
        "file-formats": ("File formats", file_formats()),
        "exit-codes": ("Exit codes", _exit_codes()),
    }
    found = {f"{name}.md": HEADING.format(title=title, text=text) for name, (title, text) in written.items()}
    found["mini.md"] = (REPOSITORY / "risctl" / "models" / "mini.md").read_text(encoding="utf-8")
    return found


def _commands() -> str:
    group: Any = typer.main.get_command(app)
    context = typer.Context(group, info_name="risctl")
    about = "Every command has `--help`. Results go to stdout, progress and logs to stderr; `--json` is for programs.\n"
    parts = [about]
    for name in SUBCOMMANDS:
        parts += _command(group.load(name), context, name, level=2)
    return "\n".join(parts)


def _command(command: Any, parent: typer.Context, name: str, *, level: int) -> Iterator[str]:
    context = typer.Context(command, info_name=name, parent=parent)
    yield f"{'#' * level} `{context.command_path}`\n"
    yield prose(command.help or "") + "\n"
    if isinstance(command, TyperGroup):
        for below in command.list_commands(context):
            child = command.get_command(context, below)
            if child is not None and not child.hidden:
                yield from _command(child, context, below, level=level + 1)
        return
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{context.command_path} {usage}\n```\n"
    if command.epilog:
        example, _, rest = command.epilog.partition("\n\n")
        shown = re.sub(r"^Examples?: *", "", example).strip()
        yield f"Example: `{shown}`\n" if "`" not in shown else f"Example: {shown}\n"
        if rest.strip():
            yield prose(rest) + "\n"
    rows = [_parameter(parameter, context) for parameter in command.get_params(context)]
    rows = [row for row in rows if row and "--help" not in row[0]]
    if rows:
        yield table(("argument or option", "meaning"), rows)


def _parameter(parameter: Any, context: typer.Context) -> tuple[str, str] | None:
    record = None if getattr(parameter, "hidden", False) else parameter.get_help_record(context)
    return record and (f"`{record[0].replace(' <list[str]>', '').replace(' range>', '>')}`", record[1])


def _recipe_keys() -> str:
    schema = file_json_schema()
    known = schema["$defs"]
    about = (
        "A recipe is a YAML file with these sections. `risctl recipes schema` prints the same as a JSON Schema, which "
        "editors read; `risctl recipes validate FILE` lists every problem of a file at once. Any key can be changed on "
        "the command line: `risctl train RECIPE optim.lr=3e-4 ~data.augment`.\n"
    )
    parts = [about, "## The file\n", _keys(known["Recipe"], known, "")]
    for section in ("data", "optim", "train", "eval"):
        parts += [f"## `{section}`\n", *_section(known["Recipe"]["properties"][section], known, section)]
    for name, place in known["Recipe"]["properties"]["model"]["discriminator"]["mapping"].items():
        parts += [f"## `model` of {name}\n", *_section({"$ref": place}, known, "model")]
    return "\n".join(parts)


def _section(place: dict[str, Any], known: dict[str, Any], prefix: str) -> Iterator[str]:
    """Yields the table of a section, and those of the sections within it."""
    definition = known[place["$ref"].rsplit("/", 1)[1]]
    yield f"{definition.get('description', '').partition(chr(10))[0]}\n"
    yield _keys(definition, known, f"{prefix}.")
    for key, value in definition["properties"].items():
        inner = _reference(value)
        if inner is not None and "properties" in known[inner]:
            yield f"### `{prefix}.{key}`\n" if prefix != "model" else f"**`{prefix}.{key}`**\n"
            yield from _section({"$ref": f"#/$defs/{inner}"}, known, f"{prefix}.{key}")


def _keys(definition: dict[str, Any], known: dict[str, Any], prefix: str) -> str:
    rows = []
    for key, value in definition["properties"].items():
        default = "required" if key in definition.get("required", ()) else ""
        if "default" in value:
            default = f"`{json.dumps(value['default'], ensure_ascii=False)}`"
        meaning = value.get("description") or known.get(_reference(value), {}).get("description", "")
        rows.append((f"`{prefix}{key}`", _form(value, known), meaning, default))
    return table(("key", "values", "meaning", "default"), rows)


def _reference(value: dict[str, Any]) -> str | None:
    places = [value, *value.get("anyOf", ())]
    names = [place["$ref"].rsplit("/", 1)[1] for place in places if "$ref" in place]
    return names[0] if len(names) == 1 else None


def _form(value: dict[str, Any], known: dict[str, Any]) -> str:
    """Returns which values a key takes, in a few words."""
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return ", ".join(f"`{json.dumps(one)}`" if not isinstance(one, str) else f"`{one}`" for one in value["enum"])
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_form(one, known) for one in value["anyOf"]))
    if "$ref" in value:
        inner = known[value["$ref"].rsplit("/", 1)[1]]
        return "a section" if "properties" in inner else _form(inner, known)
    kind = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true, false"}.get(
        value.get("type", ""), value.get("type", "a section")
    )
    if value.get("type") == "array" and "items" in value:
        return f"list of {_form(value['items'], known)}"
    bounds = []
    for key, words in (("minimum", "from {}"), ("exclusiveMinimum", "above {}")):
        bounds += [words.format(f"{value[key]:g}")] if key in value else []
    for key, words in (("maximum", "to {}"), ("exclusiveMaximum", "below {}")):
        bounds += [words.format(f"{value[key]:g}")] if key in value else []
    return f"{kind} {' '.join(bounds)}".strip()


def _recipes() -> str:
    rows = []
    for name, path in sorted(shipped_recipes().items()):
        recipe = load_recipe(path)
        rows.append((f"`{name}`", recipe.model.system, recipe.description))
    return (
        "`risctl train NAME` trains one; `risctl recipes show NAME` prints it with its header, which has the published "
        "figures and what differs from them. `risctl recipes ls --paper` lists the rows of the papers' own ablation "
        "tables.\n\n" + table(("recipe", "system", "what it is"), rows)
    )


def _python() -> str:
    text = "Nothing heavy is imported by `import risctl`: each name loads what it needs when it is used.\n"
    lazy = risctl._LAZY
    for name in risctl.__all__:
        if not name.startswith("_"):
            text += f"\n::: {lazy.get(name, 'risctl')}.{name}\n    options:\n"
            text += f"      heading_level: 2\n      heading: risctl.{name}\n"
    text += "\n## What they return\n"
    for path in RETURNED:
        text += f"\n::: {path}\n    options:\n      heading_level: 3\n      heading: {path.rpartition('.')[2]}\n"
    text += "\n## Errors\n\nWhat a caller may have to catch; [exit codes](exit-codes.md) are those of the commands.\n"
    for name, one in vars(errors).items():
        if isinstance(one, type) and issubclass(one, Exception) and one.__module__ == errors.__name__:
            text += f"\n::: risctl.errors.{name}\n    options:\n      heading_level: 3\n      heading: {name}\n"
    return text


def _protocols() -> str:
    rows = [(f"`{name}`", one.source, one.describe().partition(": ")[2]) for name, one in PROTOCOLS.items()]
    videos = [(f"`{name}`", one.source, one.describe().partition(": ")[2]) for name, one in VIDEO_PROTOCOLS.items()]
    return (
        "The same masks get different figures by different conventions; [why](../explanations/protocols.md). Each line "
        "is printed with every figure. `risctl eval --protocol A,B` computes several at once.\n\n## Images\n\n"
        + table(("protocol", "as in", "what it does"), rows)
        + "\n## Videos\n\n"
        + table(("protocol", "as in", "what it does"), videos)
    )


def _datasets() -> str:
    about = (
        "`risctl prepare NAME` turns a dataset into a store, one file that training and evaluation read; "
        "`risctl data ls` says which of them lie on this disk.\n"
    )
    parts = [about]
    for name, one in DATASETS.items():
        parts.append(f"## {name}\n\n{prose(one.help)}\n\nMeasured by `{one.protocol}`.")
        where = "downloaded" if one.sources else "brought by the user" if one.find or one.read else "made here"
        parts[-1] += f" Annotations: {where}." + (f" Example: `risctl prepare {name} {one.example}`\n")
        rows = [
            (split_by, split, *(_number(found.get(kind)) for kind in one.counted))
            for split_by, splits in one.published.items()
            for split, found in splits.items()
        ]
        if rows:
            parts.append(table(("split by", "split", *one.counted.values()), rows, right=2))
    return "\n".join(parts)


def _models() -> str:
    about = (
        "What `--model` takes by name; `risctl models ls` says in addition what lies on this machine. A run folder, a "
        "checkpoint, `hf:OWNER/NAME` and a folder of transformers are names as well: [how](../models.md).\n"
    )
    models = [(f"`{name}`", one.help, " + ".join(one.parts), ", ".join(one.can)) for name, one in MODELS.items()]
    weights = [
        (
            *(f"`{name}`", one.title, one.task, f"`{one.repository}`", f"{one.millions:g} M"),
            (one.licence or "not looked up") + (", gated" if one.gated else ""),
        )
        for name, one in WEIGHTS.items()
    ]
    systems = [(f"`{name}`", entry.config.partition(":")[0]) for name, entry in SYSTEMS.items()]
    return "\n".join(
        (
            about,
            "## By name\n",
            table(("name", "what it is", "its weights", "can"), models),
            "## Published weights\n",
            "Names joined by `+` make a pipeline.\n",
            table(("name", "weights", "does", "on the hub", "parameters", "licence"), weights),
            "## Trackers\n",
            "`--tracker` takes " + ", ".join(f"`{name}`" for name in TRACKERS) + ".\n",
            "## Systems that are trained here\n",
            "`model.system` of a recipe; [every key](recipe.md), [every recipe](recipes.md).\n",
            table(("system", "its keys are defined in"), systems),
        )
    )


def _own_data() -> str:
    return (
        "`risctl data check FILE` reports every problem with its line; `risctl prepare custom FILE` makes the store. "
        f"What follows is what `risctl data format` prints.\n\n```text\n{FORMAT.rstrip()}\n```"
    )


def _exit_codes() -> str:
    table, _, rest = (errors.__doc__ or "").partition("\n\n")[2].partition("\n\n")
    return f"{table}\n\n{prose(rest)}"


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
