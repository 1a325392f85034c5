"""Which folders are splits, which are classes, and which are neither: told by their names and by what they hold."""

import os
import re
from collections import Counter
from collections.abc import Collection, Sequence

from tljax.data.source import printable
from tljax.data.tree import Folder, quoted
from tljax.errors import InputError, composed

_WORDS = {
    **dict.fromkeys(("train", "training", "trainings", "trn", "trainval"), "train"),
    **dict.fromkeys("val valid validation validations validate validating dev development".split(), "val"),
    **dict.fromkeys("test tests testing tst evaluation eval evaluating holdout".split(), "test"),
}
_FILLERS = (
    "set sets data dataset datasets split splits image images img imgs photo photos picture pictures pic pics file "
    "files folder folders"
).split()
_GLUED = re.compile(f"({'|'.join(_FILLERS)})?({'|'.join(_WORDS)})({'|'.join(_FILLERS)})?")
_BESIDE = frozenset(
    "mask masks annotation annotations annot annots anno annos label labels trimap trimaps segmentation "
    "segmentations segmented seg segs matte mattes keypoints ann anns gt groundtruth truth "
    "bbox bboxes xml xmls json jsons".split()
)
_SUFFIX = re.compile(rf"[ _-]+({'|'.join(_BESIDE)})([ _-]?\d+)?$")
_CAMEL = re.compile(rf"(?<=[a-z])(?=[A-Z])|(?<=[^\W\d_])(?={'|'.join(map(str.title, _WORDS))})")
_NO_CLASSES = "take the labels from file names with --label-regex, or from a table with --labels F.csv"


def split_of(name: str) -> tuple[str, str] | None:
    """("train", "val" or "test", the rest of the name) of a folder called like a split; None of any other.

    `training_set`, `train_images`, `TestData`, `val2017`, `seg_train` (rest "seg"), `valid`, `dev`, ...
    """
    found, rest = [], []
    for token in _tokens(name):
        glued = _GLUED.fullmatch(token)
        if glued:
            found.append(_WORDS[glued[2]])
        elif not token.isdigit() and token not in _FILLERS:
            rest.append(token)
    kinds = set(found)
    if not kinds or kinds not in ({"train"}, {"val"}, {"test"}, {"train", "val"}):
        return None
    return ("train" if "train" in kinds else found[0]), " ".join(rest)


def find_splits(tree: Folder) -> tuple[list[tuple[str, Folder]], list[str]]:
    """(split, the folder that holds its class folders) of each split, training first, and what was guessed.

    They lie in `tree` itself or below one folder of it, and each may wrap its class folders once more. ([], []) where
    there are none.

    Raises:
        InputError: several folders hold splits; or one looks like training photos, but those beside it like classes.
    """
    folders = [folder for folder in tree.folders if not _named_beside(folder.name)]
    group = _split_group(folders) or _split_group(tree.folders)
    trains = [folder for folder, split in group.items() if split == "train"]
    if not trains or not all(folder.folders for folder in trains):
        _check_alone(folders)
        inner = {folder: find_splits(folder) for folder in folders}
        holders = [folder for folder, (parts, _) in inner.items() if parts]
        if len(holders) > 1:
            raise InputError(
                f"{quoted([f.path for f in holders])} all hold folders of splits: give one of them as DATA"
            )
        if not holders:
            return [], []
        parts, notes = inner[holders[0]]
        return parts, [*notes, *_unused([folder for folder in tree.folders if folder is not holders[0]])]
    known: set[str] = set()
    parts = []
    for folder in sorted(group, key=lambda folder: ("train", "val", "test").index(group[folder])):
        parts.append((group[folder], _unwrapped(folder, known)))
        known |= {composed(inner.name) for inner in parts[-1][1].folders}
    said = ", ".join(f'{split} is "{printable(folder.path)}"' for split, folder in parts)
    return parts, [f"splits by the names of folders: {said}", *_unused([f for f in tree.folders if f not in group])]


def class_folders(folder: Folder, *, least: int = 2) -> tuple[list[Folder], list[str]]:
    """The folders of `folder` that are classes, and a line about those that are not.

    Raises:
        InputError: the folders look like splits; or hold equally named folders; or too few of them are left without
            those that hold no photos, or that are named like annotations and pair up with the photos by file name.
    """
    looks = _split_group(folder.folders)
    if len(set(looks.values())) > 1 or len(looks) > len({split[1] for one in looks if (split := split_of(one.name))}):
        raise InputError(
            f"{quoted([f.path for f in looks])} look like splits, not like classes, and hold no class folders: "
            f"{_NO_CLASSES}, or rename them"
        )
    kept, beside = without_annotations(folder.folders)
    masks = [one for one in beside if one.has_photos()]
    if (beside and len(kept) < max(least, 1)) or (masks and _share_names(kept)):
        first = (masks or beside)[0]
        holds = len(kept) == 1 and len(kept[0].folders) > 1 and not _split_group(kept[0].folders)
        raise InputError(
            f"{quoted([f.path for f in folder.folders])} are no classes: {_why_beside(first, kept)}; "
            + (f"give {quoted([kept[0].path])} as DATA, or " if holds else "")
            + _NO_CLASSES
            + (f', or rename "{printable(first.path)}" if it is a class' if masks else "")
        )
    _check_equal_folders(kept)
    return kept, [f"not used: {_why_beside(f, kept)}" for f in beside]


def without_annotations(folders: Sequence[Folder]) -> tuple[list[Folder], list[Folder]]:
    """(folders of photos, folders of what was noted about them): such without photos, or masks by name and files."""
    empty = [f for f in folders if not f.has_photos() and next(f.files(), None) is not None]
    named = [f for f in folders if f not in empty and _named_beside(f.name)]
    photos = [f for f in folders if f not in empty and f not in named]
    stems = set().union(*map(_stems, photos)) if named else set()
    masks = [f for f in named if (own := _stems(f)) and 2 * len(own & stems) >= len(own)]
    beside = [f for f in folders if f in empty or f in masks]
    return [f for f in folders if f not in beside], beside


def without_masks(keys: Sequence[str]) -> tuple[list[str], list[str]]:
    """(photos, masks that lie beside the photo that they belong to, such as `12_mask.png` beside `12.png`)."""
    stems = {key: os.path.splitext(key)[0].casefold() for key in keys}
    known = set(stems.values())
    masks = {key for key, stem in stems.items() if (photo := _SUFFIX.sub("", stem)) != stem and photo in known}
    return [key for key in keys if key not in masks], [key for key in keys if key in masks]


def _split_group(folders: Sequence[Folder]) -> dict[Folder, str]:
    """The folders that together look like splits of one set, {} where none do."""
    found = {folder: split for folder in folders if (split := split_of(folder.name))}
    rests = Counter(rest for rest, _ in {(rest, split) for split, rest in found.values()})
    if len(found) == len(folders):  # nothing else is there: prefixes may differ
        group = {folder: split for folder, (split, _) in found.items()}
    else:
        best = max(rests, key=rests.__getitem__, default=None)
        group = {folder: split for folder, (split, rest) in found.items() if rest == best}
    others = any(folder.has_photos() for folder in folders if folder not in group)
    return group if len(set(group.values())) > 1 or ("train" in group.values() and not others) else {}


def _check_alone(folders: Sequence[Folder]) -> None:
    """Refuses `train` with class folders in it beside folders that hold photos and are no splits."""
    for folder in folders:
        if split_of(folder.name) == ("train", "") and len(folder.folders) > 1:
            beside = [other.path for other in folders if other is not folder and other.has_photos()]
            if beside and all(isinstance(entry, Folder) for entry in folder.entries):
                raise InputError(
                    f"{quoted([folder.path])} looks like a split, with class folders in it, but {quoted(beside)} does "
                    f"not: give {quoted([folder.path])} as DATA, or rename them: splits are called train, val and test"
                )


def _unwrapped(folder: Folder, known: Collection[str]) -> Folder:
    """The folder whose folders are the classes: `folder`, or the only one in it (`train/train/cats`)."""
    inner, _ = without_annotations(folder.folders)
    alone = len(inner) == 1 and composed(inner[0].name) not in known
    return _unwrapped(inner[0], known) if alone and len(inner[0].folders) > (not known) else folder


def _unused(folders: Sequence[Folder]) -> list[str]:
    return [f"not used, as no split: {quoted([f.path for f in folders])}"] if folders else []


def _check_equal_folders(classes: Sequence[Folder]) -> None:
    count = Counter(composed(inner.name).casefold() for one in classes for inner in one.folders)
    shared = {name for name, times in count.items() if times > 1}
    holders = [c for c in classes if sum(composed(f.name).casefold() in shared for f in c.folders) > 1]
    if len(holders) > 1 and 2 * len(holders) >= len(classes):
        inner = [f.name for f in holders[0].folders if composed(f.name).casefold() in shared]
        raise InputError(
            f"{quoted([f.path for f in holders], 2)} hold equally named folders, {quoted(inner, 2)}: which are the "
            f'classes? Give one of the former as DATA, or the level with --label-regex "^(.+?)/"'
        )


def _why_beside(folder: Folder, photos: Sequence[Folder]) -> str:
    name = printable(folder.path)
    if not folder.has_photos():
        return f'"{name}" holds no photos, but such as "{printable(os.path.basename(next(folder.files())))}"'
    return f'"{name}" is named like annotations, and its files are named as those of {quoted([f.path for f in photos])}'


def _named_beside(name: str) -> bool:
    return not _BESIDE.isdisjoint(_tokens(name))


def _stems(folder: Folder) -> set[str]:
    """What photos and their masks have in common: `0001` of `0001.jpg`, `0001.png` and `0001_mask.png`."""
    names = (os.path.splitext(os.path.basename(key))[0].casefold() for key in folder.files())
    return {_SUFFIX.sub("", name) for name in names}


def _share_names(folders: Sequence[Folder]) -> bool:
    """Whether files of two folders are named alike, so that a mask would belong to either."""
    stems = [_stems(folder) for folder in folders]
    return sum(map(len, stems)) > len(set().union(*stems))


def _tokens(name: str) -> list[str]:
    """The words of a name: `TrainSet_2` is train, set, 2."""
    plain = re.sub(r"(hold|held)[\W_]*out", "holdout", _CAMEL.sub("_", composed(name)).casefold())
    return re.findall(r"[^\W\d_]+|\d+", plain)
