import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from tljax.errors import InputError
from tljax.report import blocks as b
from tljax.report.page import Section, page, write_page
from tljax.report.render import data_uri, render
from tljax.report.style import new_figure, style

HOSTILE = [
    "<script>document.title = 'owned'</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style></title></svg><script src=//evil.example/x.js></script>",
    "two\nlines",
    "caf\udce9.jpg",
    "$x^2$ and $\\alpha",
    "&lt;already&gt; ]]> <!-- -->",
]


class Outline(HTMLParser):
    """Tags, attributes and visible text of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.attributes, self.words, self.ids = [], [], [], []
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self._inside = tag if tag in ("script", "style") else self._inside
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if not self._inside:
            self.words.append(data)


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(0, 256, (80, 100, 3), dtype=np.uint8)


def labelled_figure(words):
    with style():
        figure = new_figure()
        axes = figure.add_subplot()
        axes.set_title(words)
        axes.plot([1, 2])
    return figure


def every_block(name, picture):
    from tljax.report.text import clean

    one = b.Picture(picture, name, name, name)
    return [
        b.Text(name),
        b.Heading(name),
        b.Figure(labelled_figure(clean(name)), name, name),
        b.Pictures([one], "small"),
        b.Table([name, "n"], [(name, 3)]),
        b.Row([b.Card([b.Bars([b.Bar(name, 0.3, name, strong=True)])]), one]),
        b.Slider(one, one),
        b.Numbers([(name, name, name)]),
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_only_ever_text(name, picture):
    harmless = Outline(page("name", [Section("name", every_block("name", picture))], subtitle="name"))
    hostile = Outline(page(name, [Section(name, every_block(name, picture))], subtitle=name))
    assert hostile.tags == harmless.tags
    assert [(tag, attribute) for tag, attribute, _ in hostile.attributes] == [
        (tag, attribute) for tag, attribute, _ in harmless.attributes
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_shown_as_it_is(name, tmp_path, picture):
    from tljax.report.text import clean

    path = write_page(tmp_path / "p.html", name, [Section(name, every_block(name, picture))])
    text = path.read_bytes().decode("utf-8")
    assert Outline(text).words.count(clean(name)) >= 9


def test_a_page_needs_no_other_file(picture):
    text = page("t", [Section("s", every_block("n", picture))])
    outline = Outline(text)
    assert "http:" not in text
    assert "https:" not in text
    loads = [value for _, name, value in outline.attributes if name in ("src", "href", "srcset", "data", "action")]
    assert len(loads) > 3
    assert all(value.startswith(("data:image/", "#")) for value in loads)
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))
    assert not {"link", "iframe", "object", "embed", "base", "form"} & set(outline.tags)


def test_the_policy_allows_exactly_the_pages_own_script(picture):
    import hashlib

    text = page("t", [Section("s", [b.Text("x")])])
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    allowed = re.search(r"script-src 'sha256-([^']+)'", text)[1]
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() == allowed
    assert "default-src 'none'" in text


def test_ids_are_unique_and_references_resolve(picture):
    figures = [b.Figure(labelled_figure("same"), "alt"), b.Figure(labelled_figure("same"), "alt")]
    text = page("t", [Section("s", [b.Row(figures), *figures]), Section("s", figures)])
    ids = Outline(text).ids
    assert len(ids) == len(set(ids)) > 20
    used = set(re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text))
    assert {name for pair in used for name in pair if name} <= set(ids)


def test_every_picture_has_words_and_headings_are_in_order(picture):
    outline = Outline(page("t", [Section("s", every_block("n", picture))]))
    pictures = outline.tags.count("img")
    assert (
        len([value for tag, name, value in outline.attributes if (tag, name) == ("img", "alt") and value]) == pictures
    )
    assert ("html", "lang", "en") in outline.attributes
    assert [tag for tag in outline.tags if tag in ("h1", "h2", "h3")] == ["h1", "h2", "h3"]


def test_figures_take_the_colours_of_the_page():
    text = render(b.Figure(labelled_figure("words"), "alt"), "f")
    assert "var(--blue)" in text
    assert "var(--ink)" in text
    assert "#0072b2" not in text
    assert "xmlns" not in text
    assert "<style" not in text
    assert 'aria-label="alt"' in text


@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 1), (7, 9, 3), (7, 9, 4), (7, 4)])
def test_an_exact_picture_keeps_every_pixel(shape):
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    kind, data = data_uri(image).split(",")
    assert kind == "data:image/png;base64"
    read = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    np.testing.assert_array_equal(read, image.reshape(read.shape))


def test_a_photo_is_a_small_jpeg_unless_exact(picture):
    assert data_uri(picture, exact=False).startswith("data:image/jpeg;base64,")
    assert 'src="data:image/jpeg' in render(b.Picture(picture, "x"), "p")
    assert 'src="data:image/png' in render(b.Picture(picture, "x", exact=True), "p")
    assert 'class="pixels" src="data:image/png' in render(b.Picture(picture[:8, :8], "x"), "p")


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 2), np.uint8), np.zeros(4, np.uint8)]
)
def test_what_is_not_a_picture_is_refused(image):
    with pytest.raises(ValueError, match="a picture is uint8"):
        data_uri(image)


def test_bars_are_as_long_as_their_values_and_stay_inside():
    text = render(b.Bars([b.Bar("a", 0.25), b.Bar("b", 1.7), b.Bar("c", float("nan"))]), "p")
    assert re.findall(r"width:([\d.]+)%", text) == ["25.00", "100.00", "0.00"]
    assert "25.0 %" in text


def test_a_table_sets_numbers_right_and_counts_what_it_leaves_out():
    text = render(b.Table(["name", "photos"], [("a", 1234), ("b", 2), ("c", 3)], limit=2), "p")
    assert "<td>a</td><td class=number>1,234</td>" in text
    assert "<th class=number scope=col>photos</th>" in text
    assert "… and 1 more" in text
    assert "<td>c</td>" not in text


def test_something_else_than_a_block_is_refused():
    with pytest.raises(TypeError, match="not a block of a page: str"):
        page("t", [Section("s", ["text"])])


def test_a_page_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "p.html"
    write_page(path, "first", [])

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(InputError, match=r'cannot write ".*p\.html": No space left on device'):
        write_page(path, "second", [])
    assert "<title>first</title>" in path.read_text(encoding="utf-8")
    assert [entry.name for entry in tmp_path.iterdir()] == ["p.html"]


def test_a_page_where_a_folder_stands_is_refused(tmp_path):
    (tmp_path / "p.html").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        write_page(tmp_path / "p.html", "t", [])


def test_equal_content_gives_equal_bytes(picture):
    pages = [page("t", [Section("s", every_block("n", picture))]) for _ in range(2)]
    assert pages[0] == pages[1]
