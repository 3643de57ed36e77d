"""Reads the dated results that lie beside the scripts: `SUBJECT/results/NAME.json`."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
LATEST = {"network": "2026-11-25-epyc", "loading": "2026-11-25-epyc", "preparing": "2026-11-27-epyc"}
"""The results of each subject that the documentation shows: date and machine."""


def load_results() -> dict[str, dict[str, Any]]:
    """The sections of all subjects, by their names; see `comparison.Section` for what each holds."""
    sections: dict[str, dict[str, Any]] = {}
    for subject, name in LATEST.items():
        sections |= json.loads((FOLDER / subject / "results" / f"{name}.json").read_text(encoding="utf-8"))
    return sections
