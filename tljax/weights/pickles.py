"""A pickle machine that only builds plain data.

A pickle is a program. The standard unpickler runs it, and even a restricted `find_class` leaves it ways to fill
the memory (a huge memo index) or to hang (nested tuples as keys). This one walks the opcodes that weight files
need, knows a global only when the caller names it, and calls nothing else.
"""

import pickletools
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

_LITERALS = {
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINSTRING", "SHORT_BINSTRING"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_MAX_STEPS = 1_000_000  # a second or two; the largest networks need a twentieth
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Unreadable(Exception):
    """A file that cannot be read; the message continues a sentence that starts with the file's name."""


class Refused(Unreadable):
    """A pickle that asks for a global outside the list; the message is the global's name."""


def require(holds: Any, otherwise: str = "is damaged: no torch file describes its tensors so") -> None:
    """Raises Unreadable, with what the file is `otherwise`, where something does not hold of it."""
    if not holds:
        raise Unreadable(otherwise)


@contextmanager
def only_unreadable() -> Iterator[None]:
    """Turns what Python raises on malformed data into Unreadable. A context, and a decorator."""
    try:
        yield
    except (ValueError, TypeError, LookupError, OverflowError, EOFError, MemoryError, struct.error) as error:
        reason = " ".join(str(error).split())[:80] or type(error).__name__
        raise Unreadable(f"is damaged or truncated: {reason}") from None


@only_unreadable()
def unpickle(
    stream: IO[bytes],
    known: Mapping[str, Any],
    *,
    persistent: Callable[[Any], Any] | None = None,
) -> Any:
    """The object of the pickle that starts at the stream's position; leaves the stream just behind it.

    Args:
        stream: binary, readable and seekable.
        known: what a global stands for, by its dotted name. Functions among them may be called by the pickle.
            An object with a method `set_state` takes a BUILD; dicts ignore theirs; others refuse.
        persistent: from a persistent id to its object.
    Raises:
        Refused: a global that is not in `known`.
        Unreadable: a truncated or damaged pickle, or one with opcodes that plain data does not need, or with more
            than a million.
    Source: the opcodes are those of `pickletools`; torch's own weights-only unpickler is built alike.
    """
    machine = _Machine(known, persistent)
    for steps, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if opcode.name == "STOP":
            return machine.stack.pop()
        require(steps <= _MAX_STEPS, "is no weight file: its pickle never seems to end")
        machine.step(opcode.name, argument)
    raise Unreadable("is truncated")


class _Machine:
    def __init__(self, known, persistent):
        self.known, self.persistent = known, persistent
        self.stack, self.marks, self.memo = [], [], {}

    def step(self, name: str, argument: Any) -> None:
        """Runs one opcode."""
        stack = self.stack
        if name in _LITERALS:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _SHORT_TUPLES:
            stack.append(tuple(self.take(_SHORT_TUPLES[name])))
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if argument is None else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self.memo[argument])
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append({} if name == "EMPTY_DICT" else [])
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name == "TUPLE":
            stack.append(tuple(self.since_mark()))
        elif name in ("APPEND", "APPENDS"):
            items = self.take(1) if name == "APPEND" else self.since_mark()
            _expect(stack[-1], list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self.take(2) if name == "SETITEM" else self.since_mark()
            self.set_items(items)
        elif name in ("GLOBAL", "STACK_GLOBAL", "INST"):
            parts = argument.split(" ", 1) if argument else self.take(2)
            stack.append(self.find(".".join(_expect(part, str) for part in parts)))
        elif name in ("REDUCE", "NEWOBJ"):
            function, arguments = self.take(2)
            require(callable(function), "is damaged: it calls something that is no function")
            stack.append(function(*_expect(arguments, tuple)))
        elif name == "BUILD":
            self.build()
        elif name == "BINPERSID":
            require(self.persistent is not None, "refers to data outside its pickle")
            stack.append(self.persistent(stack.pop()))
        elif name not in ("PROTO", "FRAME"):
            raise Unreadable(f"is no plain data: its pickle uses {name}")

    def take(self, count: int) -> list:
        require(len(self.stack) >= count, "is damaged: its pickle takes from an empty stack")
        return self.since(len(self.stack) - count)

    def since_mark(self) -> list:
        return self.since(self.marks.pop())

    def since(self, start: int) -> list:
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def find(self, name: str) -> Any:
        if name not in self.known:
            raise Refused(name[:100].encode("unicode_escape").decode())
        return self.known[name]

    def set_items(self, items: list) -> None:
        target = _expect(self.stack[-1], dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[key if type(key) is int else _expect(key, str)] = value

    def build(self) -> None:
        target, state = self.take(2)
        if hasattr(target, "set_state"):
            target.set_state(state)
        elif not isinstance(target, dict):  # an OrderedDict's state is torch's version table
            raise Unreadable("is damaged: it sets the state of plain data")
        self.stack.append(target)


def _expect(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise Unreadable(f"is damaged: its pickle has {type(value).__name__} where {kind.__name__} is due")
    return value
