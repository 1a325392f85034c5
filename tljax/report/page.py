"""The one builder of pages: sections of blocks become a single HTML file that needs nothing else.

Every name is escaped, pictures are part of the file, and the page's own security policy forbids any request and any
script but page.js, so that even a name which slipped through could do nothing.
"""

import base64
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tljax.errors import InputError
from tljax.files import write_text
from tljax.report.blocks import Block
from tljax.report.render import render
from tljax.report.text import clean, escape

_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{}'; base-uri 'none'; "
    "form-action 'none'"
)


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    title: str
    blocks: Sequence[Block]


def page(title: str, sections: Sequence[Section], *, subtitle: str = "") -> str:
    """The whole page as HTML; see `write_page`."""
    links = "".join(f'<a href="#section-{i}">{escape(s.title)}</a>' for i, s in enumerate(sections))
    body = "".join(_section(i, section) for i, section in enumerate(sections))
    style, script = (Path(__file__).with_name(f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    policy = _POLICY.format(base64.b64encode(hashlib.sha256(script.encode()).digest()).decode())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="generator" content="tljax">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<header><h1>{escape(title)}</h1>{f"<p>{escape(subtitle)}</p>" if subtitle else ""}</header>
{f'<nav aria-label="Contents">{links}</nav>' if len(sections) > 2 else ""}
<main>
{body}</main>
<script>{script}</script>
</body>
</html>
"""


def write_page(path: str | os.PathLike, title: str, sections: Sequence[Section], *, subtitle: str = "") -> Path:
    """Writes the page to `path` whole or not at all: under another name first, then renamed.

    Args:
        path: the .html file; a folder that is missing is made, a file there is replaced.
        title, subtitle: plain text, as all text in `sections`; anything that looks like markup is shown as it is.
    Returns:
        `path`.
    Raises:
        InputError: the file cannot be written.
    """
    text = page(title, sections, subtitle=subtitle)
    try:
        write_text(path, text)
    except OSError as error:
        raise InputError(f'cannot write "{clean(path)}": {error.strerror or error}') from error
    return Path(path)


def _section(index: int, section: Section) -> str:
    blocks = "\n".join(render(block, f"s{index}b{i}") for i, block in enumerate(section.blocks))
    return f'<section id="section-{index}"><h2>{escape(section.title)}</h2>\n{blocks}\n</section>\n'
