"""Blocks as HTML. Whatever came from outside goes through `escape`."""

import base64
import functools
import html
import io

import numpy as np
from PIL import Image

from tljax.report.blocks import (
    Bar,
    Bars,
    Block,
    Card,
    Decision,
    Decisions,
    Figure,
    Heading,
    Numbers,
    Picture,
    Pictures,
    Row,
    Save,
    Slider,
    Table,
    Text,
)
from tljax.report.text import escape, number, percent


@functools.singledispatch
def render(block: Block, prefix: str) -> str:
    """The block as HTML; ids in it start with `prefix`, which no other block of the page has.

    Raises:
        TypeError: something else than a block.
    """
    raise TypeError(f"not a block of a page: {type(block).__name__}")


@render.register
def _(block: Text, prefix: str) -> str:
    return f"<p{' class=note' if block.note else ''}>{escape(block.text)}</p>"


@render.register
def _(block: Heading, prefix: str) -> str:
    return f"<h3>{escape(block.text)}</h3>"


@render.register
def _(block: Figure, prefix: str) -> str:
    from tljax.report.style import svg  # here, as pages without figures need no matplotlib

    drawing = svg(block.figure, prefix=prefix)
    plot = f'<div class="plot" role="img" tabindex="0" aria-label="{escape(block.alt)}">{drawing}</div>'
    return f'<figure class="card">{plot}{_unless_empty("figcaption", block.caption)}</figure>'


@render.register
def _(block: Picture, prefix: str) -> str:
    words = _unless_empty("strong", block.caption) + _unless_empty("small", block.note)
    below = f"<figcaption>{words}</figcaption>" if words else ""
    return f'<figure class="picture">{_img(block)}{below}</figure>'


@render.register
def _(block: Pictures, prefix: str) -> str:
    inside = "".join(render(picture, prefix) for picture in block.pictures)
    return f'<div class="pictures {escape(block.size)}">{inside}</div>'


@render.register
def _(block: Row, prefix: str) -> str:
    inside = "".join(f"<div>{render(inner, f'{prefix}-{i}')}</div>" for i, inner in enumerate(block.blocks))
    return f'<div class="row{" wide" if block.wide else ""}">{inside}</div>'


@render.register
def _(block: Card, prefix: str) -> str:
    inside = "".join(render(inner, f"{prefix}-{i}") for i, inner in enumerate(block.blocks))
    return f'<div class="card">{inside}</div>'


@render.register
def _(block: Table, prefix: str) -> str:
    numeric = [not isinstance(value, str) for value in (block.rows[0] if block.rows else block.columns)]
    head = "".join(
        f"<th{' class=number' if right else ''} scope=col>{escape(name)}</th>"
        for name, right in zip(block.columns, numeric, strict=True)
    )
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in block.rows[: block.limit])
    more = len(block.rows) - block.limit
    rest = f'<p class="note">… and {more:,} more</p>' if more > 0 else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="table" tabindex="0">{table}</div>{rest}'


@render.register
def _(block: Bars, prefix: str) -> str:
    return f'<ul class="bars">{"".join(map(_bar, block.bars))}</ul>'


@render.register
def _(block: Slider, prefix: str) -> str:
    before, after = (escape(p.caption or p.alt) for p in (block.before, block.after))
    label = f"Left of the line: {before}. Right of it: {after}. Move to compare."
    words = [
        f"<span><strong>{escape(p.caption)}</strong>{_unless_empty('small', p.note)}</span>"
        for p in (block.before, block.after)
    ]
    pane = f'{_img(block.before)}{_img(block.after, "over")}<i aria-hidden="true"></i>'
    control = f'<input type="range" min="0" max="100" value="50" aria-label="{label}">'
    return (
        f'<figure class="slider" style="--cut:50%"><div class="pane">{pane}{control}</div>'
        f"<figcaption>{''.join(words)}</figcaption></figure>"
    )


@render.register
def _(block: Numbers, prefix: str) -> str:
    tiles = "".join(
        f"<div><dt>{escape(label)}</dt><dd>{escape(value)}{_unless_empty('small', note)}</dd></div>"
        for label, value, note in block.numbers
    )
    return f'<dl class="numbers">{tiles}</dl>'


@render.register
def _(block: Decision, prefix: str) -> str:
    pictures = "".join(render(picture, prefix) for picture in block.pictures)
    boxes = "".join(
        f'<label><input type="checkbox" data-file="{_exact(block.file)}" data-action="{_exact(choice.action)}" '
        f'data-label="{_exact(choice.label)}"> {escape(choice.text)}</label>'
        for choice in block.choices
    )
    return f'<div class="card decision"><div class="pictures small">{pictures}</div><p>{boxes}</p></div>'


@render.register
def _(block: Decisions, prefix: str) -> str:
    inside = "".join(render(inner, f"{prefix}-{i}") for i, inner in enumerate(block.decisions))
    return f'<div class="decisions">{inside}</div>'


@render.register
def _(block: Save, prefix: str) -> str:
    items = "".join(
        f'<li data-file="{_exact(file)}" data-action="together" data-group="{number}"></li>'
        for number, files in enumerate(block.together)
        for file in files
    )
    button = f'<button type="button" data-name="{_exact(block.name)}">Save the decisions</button>'
    return f'<div class="save">{button} <output></output><ul hidden>{items}</ul></div>'


def data_uri(image: np.ndarray, *, exact: bool = True) -> str:
    """A uint8 image, (h, w), (h, w, 1), (h, w, 3) or (h, w, 4), as a `data:` address: PNG, or a JPEG if not `exact`.

    Raises:
        ValueError: another dtype or shape.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim < 2 or image.shape[2:] not in ((), (1,), (3,), (4,)):
        raise ValueError(f"a picture is uint8 (h, w), (h, w, 3) or (h, w, 4), not {image.dtype} {image.shape}")
    kind = "png" if exact or image.shape[2:] == (4,) else "jpeg"
    picture = Image.fromarray(image[..., 0] if image.shape[2:] == (1,) else image)
    buffer = io.BytesIO()
    picture.save(buffer, kind, optimize=True, quality=88)  # of a JPEG: PNG has none
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _img(picture: Picture, css: str = "") -> str:
    height, width = picture.image.shape[:2]
    small = max(height, width) <= 64
    names = " ".join(filter(None, (css, "pixels" if small else "")))
    kind = f' class="{names}"' if names else ""
    source = data_uri(picture.image, exact=picture.exact or small)
    return f'<img{kind} src="{source}" width="{width}" height="{height}" alt="{escape(picture.alt)}">'


def _exact(text: str) -> str:
    """`text` as it is, for a quoted attribute that is read back and never shown."""
    return html.escape(text, quote=True)


def _cell(value: str | float) -> str:
    return f"<td>{escape(value)}</td>" if isinstance(value, str) else f"<td class=number>{number(value)}</td>"


def _bar(bar: Bar) -> str:
    width = 100 * float(np.clip(np.nan_to_num(bar.value), 0, 1))
    label = f"<span>{escape(bar.label)}{_unless_empty('small', bar.note)}</span>"
    return (
        f"<li{' class=strong' if bar.strong else ''}>{label}<b>{percent(bar.value)}</b>"
        f'<i aria-hidden="true"><i style="width:{width:.2f}%"></i></i></li>'
    )


def _unless_empty(tag: str, text: str) -> str:
    return f"<{tag}>{escape(text)}</{tag}>" if text else ""
