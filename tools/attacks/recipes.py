"""Attacks recipes and overrides: mutated text, hostile values, tags and numbers, deep and long structures.

A recipe that is read must be whole: written out as YAML and as JSON it is the same recipe again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from random import Random

from risctl.recipe.document import read
from risctl.recipe.load import load_recipe, parse_recipe, shipped_recipes

SUITE_COUNT = 40
FRAGMENTS = (
    *("!!int abc", "!!int 7", "!!float x", "!!float 3", "!!bool maybe", "!!timestamp 2024-01-01", "!!timestamp x"),
    *("!!binary aGk=", "!!null x", "!!set {a}", "!!omap [a: 1]", "!!python/object/apply:os.system [ls]", "!mine 1"),
    *("9" * 5000, "-" + "9" * 390, "1e999", "-.inf", ".nan", "0x1f", "0o17", "1_000", "1:30", "2024-01-02", "no"),
    *("&x [1, 2]", "*x", "<<: *x", "[" * 100, "{a: " * 50, "[" * 30 + "]" * 30, "{a: [b, {c: d}]}", "? [x]", "- - -"),
    *("'", '"', "|", ">", "#", "%YAML 9.9", "---", "...", "\t", "\0", "\x07", "\x85", "\ud7ff", "\U0001f600"),
    *(
        '"\\U00110000"',
        '"\\ud800"',
        '"a\\0b"',
        "~",
        "true",
        "[]",
        "{}",
        "''",
        "x" * 3000,
        "../../etc/passwd",
        "1" * 300,
    ),
)
KEYS = (
    *("name", "description", "model", "model.system", "model.input_size", "model.hidden", "model.visual.name"),
    *("model.text.dim", "model.text.config", "data.store", "data.batch_size", "optim.lr", "optim.multipliers.a.b"),
    *("optim.schedule.milestones", "train.epochs", "train.seed", "train.precision", "eval.protocol", "stages.a.data"),
    *("stages", "unheard", "a.b.c", "a." * 3000 + "b", "", ".", "..", "model.", "\x1b[31m", "é"),
)


def prepare(folder: Path) -> None:
    """Copies the shipped recipes."""
    for name, file in shipped_recipes().items():
        (folder / f"{name}.yaml").write_bytes(file.read_bytes())


def mutate(folder: Path, target: Path, random: Random) -> str:
    """Writes a mutated recipe and a list of overrides into `target`."""
    source = random.choice(sorted(folder.glob("*.yaml")))
    data, done = source.read_bytes(), []
    overrides: list[str] = []
    for _ in range(random.choice((1, 1, 2, 5))):
        if random.random() < 0.35:
            key, value = random.choice(KEYS), random.choice(FRAGMENTS)
            overrides.append(random.choice((f"{key}={value}", f"{key}={value}", f"~{key}", key)))
            done.append("override")
        else:
            chosen: Callable[[bytes, Random], bytes] = random.choice(_MUTATIONS)
            data = chosen(data, random)
            done.append(chosen.__name__)
    (target / "recipe.yaml").write_bytes(data)
    (target / "overrides.json").write_text(json.dumps(overrides))
    return f"{source.stem}: {', '.join(done)}"


def check(folder: Path, target: Path) -> str:
    """Returns whether what was read is a whole recipe."""
    del folder
    overrides = json.loads((target / "overrides.json").read_text())
    recipe = load_recipe(target / "recipe.yaml", overrides)
    as_yaml = parse_recipe(read(recipe.to_yaml())[0], source="its own YAML")
    as_json = parse_recipe(json.loads(json.dumps(recipe.model_dump(mode="json"))), source="its own JSON")
    return "right" if recipe == as_yaml == as_json else "wrong"


def _place(data: bytes, random: Random) -> int:
    return random.randrange(len(data) + 1)


def _value(data: bytes, random: Random) -> bytes:
    """Replaces what stands after a key."""
    lines = data.split(b"\n")
    given = [number for number, line in enumerate(lines) if b":" in line] or [0]
    number = random.choice(given)
    key = lines[number].split(b":", 1)[0]
    lines[number] = key + b": " + random.choice(FRAGMENTS).encode()
    return b"\n".join(lines)


def _fragment(data: bytes, random: Random) -> bytes:
    place = _place(data, random)
    return data[:place] + random.choice(FRAGMENTS).encode() + data[place:]


def _flip(data: bytes, random: Random) -> bytes:
    changed = bytearray(data or b"a")
    for _ in range(random.choice((1, 3, 20))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _cut(data: bytes, random: Random) -> bytes:
    start = _place(data, random)
    return data[:start] + data[start + random.choice((1, 10, 1000)) :]


def _lines(data: bytes, random: Random) -> bytes:
    """Repeats, swaps or indents lines."""
    lines = data.split(b"\n")
    number = random.randrange(len(lines))
    match random.randrange(3):
        case 0:
            lines.insert(random.randrange(len(lines)), lines[number])
        case 1:
            other = random.randrange(len(lines))
            lines[number], lines[other] = lines[other], lines[number]
        case _:
            lines[number] = b"  " + lines[number]
    return b"\n".join(lines)


def _long(data: bytes, random: Random) -> bytes:
    more = random.choice(
        (
            "".join(f"key{number}: 1\n" for number in range(8000)),
            "".join(f"key{number}: 1\n" for number in range(500_000)),
            "more: [" + "1, " * 30_000 + "]\n",
            "more: &a [1, 1]\n" + "".join(f"b{number}: &b{number} [*a, *a]\n" for number in range(50)),
            "- a\n" * 20_000,
            "? " * 40_000,
            "{" * 40_000,
        )
    )
    return data + more.encode() if random.random() < 0.7 else more.encode() + data


def _encoding(data: bytes, random: Random) -> bytes:
    text = data.decode("utf-8", errors="replace")
    return text.encode(random.choice(("utf-16", "utf-32", "utf-8-sig", "utf-7")), errors="replace")


_MUTATIONS = (_value, _value, _value, _fragment, _fragment, _flip, _cut, _lines, _long, _encoding)
