"""`metrics.jsonl`: what a run has measured, a line of JSON for each step and each epoch."""

import json
from pathlib import Path
from typing import Any

from tljax.files import write_text


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`; a last line that was cut off is left out."""
    lines = []
    for text in path.read_text("utf-8").splitlines() if path.exists() else ():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def append(path: Path, *lines: dict[str, Any]) -> None:
    """Adds lines of JSON to a file, which is made where it is missing."""
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def rewind(path: Path, step: int) -> list[dict[str, Any]]:
    """Drops what was written after `step` (all of it for 0), and a line that was cut off; the lines that stay."""
    lines = [line for line in read_log(path) if line.get("step", step + 1) <= step]
    write_text(path, "".join(json.dumps(line) + "\n" for line in lines))
    return lines
