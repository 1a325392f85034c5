"""The notebooks run from top to bottom, in a process of their own: their cells are plain Python."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.photos import make_photos

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "experiments" / "notebooks").glob("*.ipynb"))
RUN = """
import ast, json, sys
space = {"__name__": "__main__"}
for cell in json.load(open(sys.argv[1], encoding="utf-8"))["cells"]:
    if cell["cell_type"] == "code":
        body = ast.parse("".join(cell["source"])).body
        exec(compile(ast.Interactive(body), cell["id"], "single"), space)
"""


def cells(path, kind):
    document = json.loads(path.read_text("utf-8"))
    assert document["nbformat"] == 4
    return ["".join(cell["source"]) for cell in document["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_explains_itself_and_carries_no_results(path):
    code = cells(path, "code")
    assert len(cells(path, "markdown")) >= 5
    assert cells(path, "markdown")[0].startswith("# ")
    assert all(ast.parse(cell).body for cell in code)
    assert '"outputs": []' in path.read_text("utf-8")
    assert path.read_text("utf-8").count('"outputs": []') == len(code)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, tmp_path):
    photos = make_photos(tmp_path / "photos", {"red": 8, "blue": 8, "green": 8}, size=96)
    settings = {"PHOTOS": str(photos), "STEPS": "4", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(path)],
        env={**os.environ, **settings},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("PIL.Image") >= 2
