"""The rows of the benchmark as data: a row is a name, `TASK/MODEL/COUNT[xSTEPS][@SIZE]`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tljax.errors import InputError, nearest
from tljax.models.spec import get_spec

OURS, TORCH, PAGES, COMPILE, ONNX, FLAX, KERAS = "ours", "torch", "pages", "compile", "onnx", "flax", "keras"
PEERS = (TORCH, PAGES, COMPILE, ONNX, FLAX, KERAS)
LITE, LITE_SIZE = "efficientnet_lite0", 224
MODELS = (LITE, "mobilenet_v2", "resnet50", "vgg16", "squeezenet1_1")
IN_KERAS = ("mobilenet_v2", "resnet50", "vgg16")


@dataclass(frozen=True)
class Task:
    """What is measured. unit: what COUNT counts. peers: who can do it. cold: the first call is what counts."""

    unit: str
    peers: tuple[str, ...]
    steps: int = 0
    cold: bool = False


TASKS = {
    "matmul": Task("side of float32 matrices", (TORCH,)),
    "stream": Task("million float32 in each of three arrays", (TORCH,)),
    "forward": Task("images at once", PEERS),
    "gradient": Task("images at once", (TORCH, PAGES, COMPILE, FLAX, KERAS)),
    "step": Task("images at once", (TORCH, PAGES, FLAX)),
    "features": Task("photos", (TORCH,)),
    "train": Task("photos", (TORCH,), cold=True),
    "ideal": Task("images at once", (TORCH, PAGES, FLAX), steps=64),
    "pgd": Task("images at once", (TORCH, PAGES, FLAX), steps=40),
    "probe": Task("classes", ()),
}
MACHINE = ("matmul/-/2048", "stream/-/64")
"""What the machine can do: measured in every run."""
ROWS = (
    *(f"forward/{model}/{count}" for model in MODELS for count in (1, 8, 32)),
    *(f"gradient/{model}/{count}" for model in MODELS for count in (1, 8)),
    f"step/{LITE}/16",
    "step/resnet50/8",
    f"features/{LITE}/2005",
    f"train/{LITE}/2005",
    f"ideal/{LITE}/20",
    "ideal/-/20",
    f"pgd/{LITE}/32",
)
SCALING = (
    *(f"forward/{LITE}/{count}" for count in (2, 4, 16, 64)),
    *(f"forward/{LITE}/8@{size}" for size in (128, 160, 192, 256, 320, 384)),
    *(f"features/{LITE}/{count}" for count in (500, 1000, 2000)),
    *(f"probe/{LITE}/{count}" for count in (2, 10, 37, 100, 300, 1000)),
)
SMALL = (f"forward/{LITE}/1@64", f"gradient/{LITE}/1@64")


@dataclass(frozen=True)
class Row:
    """One thing to measure: a task with its size.

    Attributes:
        task: of `TASKS`.
        model: a name of `list_models`, "-" where there is none.
        count: images at once, photos, classes, or what the task counts.
        steps: of an ascent or an attack, else 0.
        size: side of the images, in pixels.
    """

    task: str
    model: str
    count: int
    steps: int = 0
    size: int = LITE_SIZE

    @property
    def name(self) -> str:
        """The row as `parse` reads it."""
        steps = f"x{self.steps}" if self.steps != TASKS[self.task].steps else ""
        return f"{self.task}/{self.model}/{self.count}{steps}" + (f"@{self.size}" if self.size != LITE_SIZE else "")

    def peers(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """Who measures it beside us, of those wanted."""
        able = [peer for peer in TASKS[self.task].peers if peer != KERAS or self.model in IN_KERAS]
        if (self.task, self.model) == ("ideal", "-"):
            able = []  # it says how much of our own time the others do not change
        return tuple(peer for peer in wanted if peer in able)


def parse(name: str) -> Row:
    """The row of a name.

    Raises:
        InputError: it is none; says how one looks.
    """
    match = re.fullmatch(r"(\w+)/([\w.-]+)/(\d+)(?:x(\d+))?(?:@(\d+))?", name)
    if match is None or match[1] not in TASKS or int(match[3]) < 1:
        raise InputError(f'no row "{name}": a row is TASK/MODEL/COUNT[xSTEPS][@SIZE], TASK one of {", ".join(TASKS)}')
    if match[2] != "-":
        get_spec(match[2])
    return Row(match[1], match[2], int(match[3]), int(match[4] or TASKS[match[1]].steps), int(match[5] or LITE_SIZE))


def select(patterns: Sequence[str]) -> list[Row]:
    """The rows that any pattern fits, in the order of the table; a whole name need not be in the table.

    Args:
        patterns: names with `*`, `?` and `[...]`; "scaling" stands for the rows that show how cost grows.

    Raises:
        InputError: a pattern that fits nothing.
    """
    known = tuple(dict.fromkeys((*ROWS, *SCALING)))
    chosen: list[str] = []
    for pattern in patterns:
        fit = SCALING if pattern == "scaling" else tuple(name for name in known if fnmatchcase(name, pattern))
        if not fit and not re.search(r"[*?\[]", pattern) and pattern.count("/") == 2:
            fit = (parse(pattern).name,)
        if not fit:
            near = nearest(pattern, [*known, "scaling"], n=2)
            raise InputError(f'no row fits "{pattern}"' + (f": did you mean {' or '.join(near)}?" if near else ""))
        chosen += fit
    place: Mapping[str, int] = {name: i for i, name in enumerate(known)}
    return [parse(name) for name in sorted(dict.fromkeys(chosen), key=lambda name: place.get(name, len(place)))]
