"""Protocols: what they state, and which names are known."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from risctl.errors import UsageError
from risctl.metrics.protocols import PROTOCOLS, get_protocol, get_protocols


def test_every_convention_of_the_specification_is_there(shared: Path) -> None:
    text = (shared / "spec" / "metrics.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)`", text, flags=re.MULTILINE))
    assert named
    assert named <= PROTOCOLS.keys()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_description_is_one_line_that_states_the_facts(name: str) -> None:
    protocol = PROTOCOLS[name]
    line = protocol.describe()
    assert line.startswith(f"{name} (")
    assert "\n" not in line
    assert f"> {protocol.threshold:g}" in line
    assert "both masks empty" in line
    assert ("Pr@X counts IoU" in line) == bool(protocol.precisions)
    assert ("480x480" in line) == (protocol.resolution == (480, 480))
    assert "sentence" in line


def test_two_protocols_are_never_described_alike() -> None:
    assert len({one.describe().partition(": ")[2] for one in PROTOCOLS.values()}) == len(PROTOCOLS)


def test_a_given_threshold_is_stated_as_such() -> None:
    changed = get_protocol("lavt").with_threshold(0.4)
    assert changed.threshold == 0.4
    assert "0.4 as given" in changed.describe()
    assert get_protocol("lavt").with_threshold(None) is get_protocol("lavt")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_threshold_is_the_one_given_else_the_protocols_else_the_recipes(name: str) -> None:
    protocol = PROTOCOLS[name]
    fixed = {"lavt": 0.5, "rela": 0.5, "lisa": 0.5, "reasonseg": 0.5, "cris": 0.35, "mcn": 0.35}.get(name)
    assert (protocol.threshold_rule == "open") == (fixed is None)
    given = protocol.at_threshold(given=0.0, recipe=0.4)
    assert given.threshold == 0 and "probability > 0 as given" in given.describe()
    recipe = protocol.at_threshold(given=None, recipe=0.4)
    assert recipe.threshold == (0.4 if fixed is None else fixed)
    said = "0.4, from the model's recipe" if fixed is None else f"fixed by the protocol {name}, not 0.4 of the model's"
    assert said in recipe.describe()
    alone = protocol.at_threshold(given=None, recipe=None)
    assert alone is protocol and alone.threshold == (fixed or 0.5)
    assert ("0.5, the default" if fixed is None else f"fixed by the protocol {name};") in alone.describe()


@pytest.mark.parametrize("threshold", [-0.1, 1.0, float("nan")])
def test_a_threshold_is_a_probability(threshold: float) -> None:
    with pytest.raises(UsageError, match="in \\[0, 1\\)"):
        get_protocol("original").with_threshold(threshold)


def test_lists_of_names() -> None:
    assert [one.name for one in get_protocols("lavt, original,lavt")] == ["lavt", "original"]
    with pytest.raises(UsageError, match="did you mean 'lavt'"):
        get_protocols("original,lvat")
    with pytest.raises(UsageError, match="no protocol named"):
        get_protocols(" , ")
