"""Pages with igv.js: letters, scores and genes of a model, in one file that loads nothing.

The script of igv.js comes with the package (MIT licence, see `igv/LICENSE`). The content policy of
a page allows the scripts in it by their hashes, and no others.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from markupsafe import Markup

_FOLDER = Path(__file__).parent
_IGV = _FOLDER / "igv" / "igv-3.8.10.min.js.gz"
_STARTER = _FOLDER / "igv" / "show_tracks.js"


def browser_content(record: Mapping[str, Any]) -> dict[str, Any]:
    """What the template of a browser takes."""
    scripts = [_igv(), _STARTER.read_text(encoding="ascii")]
    view = record["view"]
    return {
        # within a script no text may close it.
        "data": Markup(json.dumps(_shown(record)).replace("<", "\\u003c")),
        "scripts": [Markup(script) for script in scripts],
        "policy": " ".join(f"'sha256-{_hash(script)}'" for script in scripts),
        "where": f"{view['chrom']}:{view['start']:,}-{view['end']:,}",
        "num_bases": sum(len(item["sequence"]) for item in record["stretches"]),
        "has_genes": bool(record["genes"]),
    }


def _shown(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record, in whose names of records no colon is left, which igv.js would split at."""
    named = [*record["stretches"], *record["genes"]]
    names = {item["chrom"]: item["chrom"].replace(":", "_") for item in named}
    return dict(record) | {
        "view": dict(record["view"]) | {"chrom": names[record["view"]["chrom"]]},
        **{
            key: [dict(item) | {"chrom": names[item["chrom"]]} for item in record[key]]
            for key in ("stretches", "genes")
        },
    }


@cache
def _igv() -> str:
    return gzip.decompress(_IGV.read_bytes()).decode("utf-8")


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
