"""Words and numbers as a page shows them."""

import html
import math
import re
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral
from typing import Any

_NO_CHARACTER = re.compile("[\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_BREAK = re.compile("[\x00-\x20\x7f-\x9f\u2028\u2029]+")
_REORDER = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(text: Any) -> str:
    """`text` as one line of valid UTF-8 and XML.

    What has no UTF-8 form (the surrogates of an undecodable file name) becomes U+FFFD, line breaks and other control
    characters a space, and marks that reorder the letters around them are dropped.
    """
    return _REORDER.sub("", _BREAK.sub(" ", _NO_CHARACTER.sub("\ufffd", str(text)))).strip()


def escape(text: Any) -> str:
    """`clean` text in which nothing is markup, for an element or a quoted attribute."""
    return html.escape(clean(text), quote=True)


def shorten(text: Any, limit: int) -> str:
    """`clean` text of at most `limit` characters; what is cut from the middle leaves an ellipsis."""
    text = clean(text)
    if len(text) <= limit:
        return text
    head = limit * 2 // 3
    return f"{text[:head].rstrip()}…{text[len(text) - (limit - 1 - head) :].lstrip()}"


def dotted(*words: Any) -> str:
    """The words that are known (neither None nor empty), with dots between them."""
    return " · ".join(clean(word) for word in words if word)


def percent(share: float | None) -> str:
    """A share in [0, 1]: 0.9812 is "98.1 %", 0.0002 "< 0.1 %"; an unknown one (None, nan) a dash."""
    if share is None or math.isnan(share):
        return "–"
    if 0 < share < 0.001:
        return "< 0.1 %"
    if 0.999 < share < 1:
        return "> 99.9 %"
    return f"{100 * share:.0f} %" if share in (0, 1) else f"{100 * share:.1f} %"


def tiles(*rows: tuple[str, Any, Callable[[Any], str], str]) -> list[tuple[str, str, str]]:
    """Tiles (label, value as shown, note) from (label, value, how it is shown, note), where the value is known."""
    return [(label, show(value), note) for label, value, show, note in rows if value is not None]


def spread(mean: float, half: float) -> str:
    """A share in [0, 1] with half its interval: "97.8 ± 0.6 %"; without one "97.8 %"."""
    return f"{100 * mean:.1f} %" if math.isnan(half) else f"{100 * mean:.1f} ± {100 * half:.1f} %"


def more_photos(curve: Mapping[str, Any], *, tuned: bool = False) -> str:
    """What twice the photos would bring, as `transfer.learning_curve` foretells it: "about +1.2 points (0.4 to 2.1)".

    Args:
        curve: gain and gain_interval, shares in [0, 1].
        tuned: the network was trained on; the curve is that of the probe before.
    """
    low, high = curve["gain_interval"]
    if low >= 0.001:
        said = f"about +{100 * curve['gain']:.1f} points ({100 * low:.1f} to {100 * high:.1f})"
    elif high < 0.005:
        said = f"hardly better, by at most {100 * high:.1f} points"
    else:
        said = f"between 0 and +{100 * high:.1f} points, these photos cannot tell"
    return f"twice the photos{', before fine-tuning' if tuned else ''}: {said}"


def budgets(eps: Sequence[float]) -> list[str]:
    """Budgets in steps of 1/255, "4/255" each, with as many digits as it takes to tell them apart."""
    written = ([f"{255 * budget:.{digits}g}/255" for budget in eps] for digits in range(3, 18))
    return next(names for names in written if len(set(names)) == len(set(eps)))


def duration(seconds: float | None) -> str:
    """Seconds as "0.42 s", "38 s", "2 min 5 s"; an unknown time a dash."""
    if seconds is None or math.isnan(seconds):
        return "–"
    if seconds < 10:
        return f"{seconds:.2g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def number(value: float) -> str:
    """A count with its thousands marked ("2,005"), any other number to four digits."""
    return f"{value:,}" if isinstance(value, Integral) else f"{float(value):.4g}"
