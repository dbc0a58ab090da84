"""Makes the package's long description: the README with links that lead somewhere from a page of the package index."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)(\[[^\]]*\]\()(?![a-z]+:|#)([^)\s]+)(\))")


class Description(MetadataHookInterface):
    """Sets `readme`, which pyproject.toml calls dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Puts the repository's address before relative links, `raw` before those of pictures."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        home = metadata["urls"]["Homepage"]

        def absolute(link: re.Match[str]) -> str:
            return f"{link[1]}{link[2]}{home}/{'raw' if link[1] else 'blob'}/HEAD/{link[3]}{link[4]}"

        text = _LINK.sub(absolute, text)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
