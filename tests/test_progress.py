import io
import itertools
import re

import pytest

from tljax import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """Each look at the clock finds one second more."""
    seconds = itertools.count()
    monkeypatch.setattr("tljax.progress.time.monotonic", lambda: float(next(seconds)))


def test_lines_are_written_now_and_then_and_at_the_end(clock):
    out = io.StringIO()
    with progress.tracking(stream=out, every=4) as track:
        assert list(track(range(10), "features")) == list(range(10))
    lines = out.getvalue().splitlines()
    assert 2 <= len(lines) - 1 <= 4
    assert all("/10 in " in line for line in lines[:-1])
    assert lines[-1].startswith("features: 10 in ")


def test_a_short_loop_writes_one_line():
    out = io.StringIO()
    with progress.tracking(stream=out) as track:
        assert list(track(iter("abc"), "photos", 3)) == ["a", "b", "c"]
    assert re.fullmatch(r"photos: 3 in \d\.\d s\n", out.getvalue())


def test_quiet_shows_nothing_and_passes_the_items_on(capsys):
    items = [1, 2]
    with progress.tracking(quiet=True) as track:
        assert track(items, "x", 2) is items
    assert capsys.readouterr() == ("", "")


def test_the_default_stream_is_stderr(capsys):
    with progress.tracking() as track:
        assert list(track([1, 2], "steps")) == [1, 2]
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"steps: 2 in \d+\.\d s\n", err)


def test_a_terminal_gets_bars_and_a_line_that_stays():
    out = Terminal()
    with progress.tracking(stream=out) as track:
        for _ in track(range(2), "epochs [bold]"):
            assert list(track(range(3), "steps", 3)) == [0, 1, 2]
    shown = out.getvalue()
    assert "\x1b[" in shown
    assert "epochs [bold]: 2 in " in shown
    assert shown.count("steps: 3 in ") == 2


def test_the_display_is_gone_after_an_error():
    out = Terminal()

    def fail():
        with progress.tracking(stream=out) as track:
            for _ in track(range(5), "steps"):
                raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    shown = out.getvalue()
    assert shown.rfind("\x1b[?25h") > shown.rfind("\x1b[?25l")  # the cursor is back


def test_items_are_taken_one_at_a_time():
    taken = []

    def items():
        for i in range(3):
            taken.append(i)
            yield i

    with progress.tracking(stream=io.StringIO()) as track:
        loop = iter(track(items(), "x", 3))
        next(loop)
        assert taken == [0]
