"""What a user can mend: one clear line that names the thing, what was expected, and the way out."""

import difflib
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any


class InputError(ValueError):
    """Input that cannot be used. The message is one line; the command line prints it and exits with 2."""

    def __init__(self, message: str):
        super().__init__(" ".join(message.splitlines()))  # a name in it may have any number of lines


def refuse(cases: Mapping[str, Any]) -> None:
    """Refuses bad input: the first message whose case holds is raised as InputError.

    Args:
        cases: {message: whether it is so}, in the order in which they count.
    """
    for message, holds in cases.items():
        if holds:
            raise InputError(message)


def nearest(name: str, names: Sequence[str], n: int = 3) -> list[str]:
    """The at most `n` entries of `names` most like `name`: those that contain it first, then by spelling."""
    plain = _plain(name)
    holding = [other for other in names if plain and plain in _plain(other)]
    by_plain = {_plain(other): other for other in reversed(names)}
    spelled = [by_plain[p] for p in difflib.get_close_matches(plain, by_plain, n=n, cutoff=0.4)]
    return list(dict.fromkeys([*sorted(holding, key=len), *spelled]))[:n]


def find_name(name: str, names: Sequence[str], *, what: str = "class") -> int | None:
    """The index of `name` in `names`, None where it is not there.

    An exact name wins; then one that is written in another Unicode form; then one in which case and underscores differ.

    Raises:
        InputError: one name that stands for several entries (lists their indices).
    """
    for form in (str, composed, _plain):
        found = [i for i, other in enumerate(names) if form(other) == form(name)]
        if len(found) == 1:
            return found[0]
        if found:
            listed = ", ".join(f'{i} "{names[i]}"' for i in found)
            raise InputError(f'"{name}" names {len(found)} entries: {listed}; give the {what} by index')
    return None


def match_name(name: str | int, names: Sequence[str], *, what: str = "class") -> int:
    """The index of `name` in `names`, given by name (as `find_name`) or by index.

    Raises:
        InputError: an index out of range; an unknown name (suggests the nearest three); one name that
            stands for several entries (lists their indices).
    """
    text = str(name).strip()
    found = find_name(text, names, what=what)
    if found is not None:
        return found
    if text.lstrip("-").isdigit():
        index = int(text)
        if 0 <= index < len(names):
            return index
        raise InputError(f"no {what} with index {index}: there are {len(names)}, counted from 0")
    guesses = ", ".join(f'"{guess}" ({list(names).index(guess)})' for guess in nearest(text, names))
    hint = f": did you mean {guesses}?" if guesses else f": there are {len(names)}"
    raise InputError(f'no {what} named "{name}"{hint}')


def composed(name: str) -> str:
    """The normal form NFC: that of most systems, where others (macOS, old archives) write NFD."""
    return unicodedata.normalize("NFC", name)


def _plain(name: str) -> str:
    return " ".join(composed(name).replace("_", " ").casefold().split())
