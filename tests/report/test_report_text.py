import math

import numpy as np
import pytest

from tljax.report.text import clean, dotted, duration, escape, more_photos, number, percent, shorten


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\nb\tc\r\n", "a b c"),
        ("caf\udce9.jpg", "caf\ufffd.jpg"),  # os.fsdecode of a Latin-1 name
        ("bell\x07 esc\x1b[31m", "bell esc [31m"),
        ("invoice\u202egpj.exe", "invoicegpj.exe"),
        ("\uffff\ufdd0", "\ufffd\ufffd"),
        ("Ünïcode 猫", "Ünïcode 猫"),
    ],
)
def test_clean_gives_one_line_of_valid_text(raw, shown):
    assert clean(raw) == shown
    assert clean(raw).encode("utf-8").decode("utf-8") == shown


def test_escape_leaves_no_markup_and_no_way_out_of_quotes():
    assert escape("<b onclick='x' id=\"y\">&") == "&lt;b onclick=&#x27;x&#x27; id=&quot;y&quot;&gt;&amp;"


def test_shorten_cuts_the_middle_to_the_limit():
    assert shorten("staffordshire bull terrier", 22) == "staffordshire…terrier"
    assert shorten("pug", 22) == "pug"
    assert all(len(shorten("x" * 100, limit)) == limit for limit in range(5, 40))


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0.9812, "98.1 %"), (0.0, "0 %"), (1.0, "100 %"), (0.0002, "< 0.1 %"), (0.99999, "> 99.9 %"),
        (None, "–"), (math.nan, "–"), (np.float32(0.5), "50.0 %"),
    ],
)  # fmt: skip
def test_percent(share, shown):
    assert percent(share) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.42, "0.42 s"), (7.12, "7.1 s"), (38.2, "38 s"), (125.3, "2 min 5 s"), (None, "–")]
)
def test_duration(seconds, shown):
    assert duration(seconds) == shown


def test_number_marks_thousands_of_counts_only():
    assert number(2005) == number(np.int64(2005)) == "2,005"
    assert number(np.float32(0.12345)) == "0.1235" or number(np.float32(0.12345)) == "0.1234"


def test_dotted_leaves_out_what_is_unknown():
    assert dotted("a", None, "", "b") == "a · b"


@pytest.mark.parametrize(
    ("gain", "interval", "said"),
    [
        (0.012, [0.004, 0.021], "twice the photos: about +1.2 points (0.4 to 2.1)"),
        (0.002, [0.001, 0.004], "twice the photos: about +0.2 points (0.1 to 0.4)"),
        (0.001, [0.0002, 0.0021], "twice the photos: hardly better, by at most 0.2 points"),
        (0.007, [0.0002, 0.031], "twice the photos: between 0 and +3.1 points, these photos cannot tell"),
    ],
)
def test_more_photos_says_only_what_is_known(gain, interval, said):
    assert more_photos({"gain": gain, "gain_interval": interval}) == said
