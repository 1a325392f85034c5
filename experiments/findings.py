"""What an experiment found, sentences and tables, as a terminal and as Markdown show them."""

from collections.abc import Sequence

from tljax.report.blocks import Table
from tljax.report.text import number

Finding = str | Table


def plain(findings: Sequence[Finding]) -> str:
    """The findings for a terminal: tables in aligned columns, an empty line around each."""
    return "\n".join(one if isinstance(one, str) else f"\n{_aligned(_cells(one))}\n" for one in findings).strip("\n")


def markdown(findings: Sequence[Finding]) -> str:
    """The findings as Markdown: a paragraph or a table each."""
    return "\n\n".join(one if isinstance(one, str) else _piped(one) for one in findings)


def _piped(table: Table) -> str:
    head, *rows = _cells(table)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, ["---"] * len(head), *rows])


def _aligned(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, cells, widths)).rstrip() for cells in rows)


def _cells(table: Table) -> list[list[str]]:
    rows = [[cell if isinstance(cell, str) else number(cell) for cell in row] for row in table.rows]
    return [list(table.columns), *rows]
