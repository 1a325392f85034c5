"""Pages as a real browser shows them: headless Chromium, where there is one."""

import base64
import hashlib
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from tljax.report import blocks as b
from tljax.report import figures
from tljax.report.page import Section, page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr"),
]
NAME = "</title><script>document.title = 'owned'</script><img src=x onerror=\"document.title = 'owned'\">"
PROBE = """window.addEventListener("load", function () {
  var slider = document.querySelector(".slider"), input = slider.querySelector("input");
  var before = getComputedStyle(slider.querySelector(".over")).clipPath;
  input.value = 80;
  input.dispatchEvent(new Event("input"));
  document.body.dataset.found = JSON.stringify({
    before: before,
    after: getComputedStyle(slider.querySelector(".over")).clipPath,
    wide: document.documentElement.scrollWidth,
    broken: Array.from(document.images).filter(function (i) { return !i.naturalWidth; }).length,
    pictures: document.images.length,
    plot: document.querySelector(".plot svg").getBoundingClientRect().width,
    paper: getComputedStyle(document.body).backgroundColor,
    ink: getComputedStyle(document.querySelector(".plot text")).fill,
  });
});"""


@pytest.fixture(scope="module")
def html():
    """A page with a picture, a wide figure, a table and a slider, all with a hostile name, and a probe that reports."""
    photo = np.random.default_rng(0).integers(0, 256, (90, 90, 3), dtype=np.uint8)
    picture = b.Picture(photo, NAME, NAME, NAME, exact=True)
    curve = [{"eps": 0, "accuracy": 1.0}, {"eps": 1 / 255, "accuracy": 0.2}]
    content = [
        b.Numbers([("Accuracy", "97.5 %", "")] * 6),
        b.Row([b.Figure(figures.robustness_curve(curve), NAME), b.Card([b.Slider(picture, picture)])]),
        b.Figure(figures.confusion(np.eye(37, dtype=int), [NAME] * 37), NAME),
        b.Table([NAME] * 6, [(NAME,) * 6]),
        b.Pictures([picture] * 3),
    ]
    text = page(NAME, [Section(NAME, content)])
    allowed = base64.b64encode(hashlib.sha256(PROBE.encode()).digest()).decode()
    return text.replace("script-src ", f"script-src 'sha256-{allowed}' ").replace(
        "</body>", f"<script>{PROBE}</script></body>"
    )


def open_page(folder, html, width, *flags):
    (folder / "page.html").write_text(html, encoding="utf-8")
    command = [
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={width},900",
        *flags,
        "--dump-dom",
        (folder / "page.html").as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    layout = json.loads(re.search(r'data-found="([^"]*)"', done.stdout)[1].replace("&quot;", '"'))
    return layout, done


@pytest.mark.parametrize(("width", "light"), [(1200, True), (500, False)])
def test_the_page_in_a_browser(tmp_path, html, width, light):
    layout, done = open_page(tmp_path, html, width, f"--blink-settings=preferredColorScheme={int(light)}")
    assert layout["before"] == "inset(0px 0px 0px 50%)"
    assert layout["after"] == "inset(0px 0px 0px 80%)"
    assert layout["wide"] <= width
    assert (layout["broken"], layout["pictures"]) == (0, 5)
    assert layout["plot"] > 250
    assert (layout["paper"] == "rgb(247, 248, 250)") == light
    assert layout["ink"] != layout["paper"]
    assert "CONSOLE" not in done.stderr, "the browser refused or missed something"
    assert "<title>owned</title>" not in done.stdout
