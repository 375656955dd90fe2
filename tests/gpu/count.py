"""Write `counts.json` anew: `python -m tests.gpu.count`, where a count has fallen."""

import json
import tempfile

from tests.gpu.test_pretended_gpu import COUNTS, rows_of


def main():
    """Run the counted groups."""
    stored = {}
    for group in ("training", "sampling"):
        with tempfile.TemporaryDirectory() as folder:
            rows = rows_of(group, folder)
        stored[group] = {
            name: {key: row[key] for key in ("waits", "launches")} for name, row in rows.items()
        }
    COUNTS.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
