"""The report of `risctl doctor`: findings, as text to paste and as JSON."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import risctl

GIB = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of the report.

    Attributes:
        section: The heading that it stands under.
        name: What was examined.
        value: What was found.
        state: `broken` if risctl cannot work like this, `note` if the user should know of it, `unexamined` if it did
            not answer in time.
        remedy: What to do, None if nothing.
    """

    section: str
    name: str
    value: str
    state: Literal["ok", "note", "broken", "unexamined"] = "ok"
    remedy: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """All findings, in the order of the report."""

    findings: list[Finding] = field(default_factory=list)

    @property
    def broken(self) -> list[Finding]:
        """The findings that keep risctl from working."""
        return [finding for finding in self.findings if finding.state == "broken"]

    def text(self) -> str:
        """Returns the report as Markdown, with the home folder written as `~`."""
        lines = [f"# risctl {risctl.__version__} doctor"]
        section = None
        for finding in self.findings:
            if finding.section != section:
                section = finding.section
                lines += ["", f"## {section}"]
            mark = {"ok": "", "note": "NOTE ", "broken": "BROKEN ", "unexamined": "NOT EXAMINED "}[finding.state]
            lines.append(f"- {mark}{finding.name}: {finding.value}")
            if finding.remedy:
                lines.append(f"  - {'more' if finding.state == 'unexamined' else 'to repair'}: {finding.remedy}")
        names = ", ".join(finding.name for finding in self.broken)
        unexamined = ", ".join(finding.name for finding in self.findings if finding.state == "unexamined")
        verdict = f"Broken: {names}." if names else "Nothing is broken."
        if unexamined and not names:
            verdict = f"Nothing broken was found; not examined: {unexamined}."
        lines += ["", verdict]
        return _without_home("\n".join(lines))

    def to_dict(self) -> dict[str, Any]:
        """Returns the report as JSON values."""
        return {"healthy": not self.broken, "findings": [asdict(finding) for finding in self.findings]}


def size(count: int) -> str:
    """Returns a number of bytes as text in MiB or GiB."""
    return f"{count / GIB:.1f} GiB" if count >= GIB / 10 else f"{count / 2**20:.1f} MiB"


def _without_home(text: str) -> str:
    home = str(Path.home())
    return text if home == os.sep else text.replace(home + os.sep, f"~{os.sep}")
