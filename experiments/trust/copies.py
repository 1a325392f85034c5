"""Copies planted among photos: how many are found with their originals, beside the hashes of imagededup."""

import io
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

import tljax
from experiments.trust.common import quiet
from tljax.data.images import decode
from tljax.progress import Track
from tljax.transfer import find_duplicates

PLANTED = 100
DISTANCES = (0, 2, 4, 6, 8, 10, 12, 14)
MOST_FALSE = 2


def measure(data: str, photos: int, track: Track) -> dict[str, Any]:
    """Recall by way of copying, and groups that hold more than one picture, of each method."""
    source = tljax.data.open_source(data)
    order = np.random.default_rng(1).permutation(len(source.files))
    files, seen = [], set()
    for i in order:
        content = source.read(int(i))
        if content not in seen and len(files) < photos:  # what is there twice already is no mistake of anybody
            seen.add(content)
            files.append(content)
    originals = np.linspace(0, len(files) - 1, min(PLANTED, len(files))).astype(int).tolist()
    copies = [(i, way, plant(files[i], way, i)) for i in originals for way in WAYS]
    files += [copy for _, _, copy in copies]
    origin = [*range(len(files) - len(copies)), *(i for i, _, _ in copies)]
    ways = [""] * (len(files) - len(copies)) + [way for _, way, _ in copies]
    groups = [group.index for group in find_duplicates(files, track=track)]
    ours = judged(groups, origin, ways)
    with quiet():
        return {"photos": photos, "planted": len(copies), "tljax": ours, **peers(files, origin, ways)}


WAYS = {
    "JPEG quality 30": lambda picture, random: (picture, 30),
    "half the size": lambda picture, random: (picture.resize((picture.width // 2, picture.height // 2)), 90),
    "mirrored": lambda picture, random: (ImageOps.mirror(picture), 90),
    "cropped by 5 %": lambda picture, random: (cropped(picture, random), 90),
    "20 % brighter": lambda picture, random: (ImageEnhance.Brightness(picture).enhance(1.2), 90),
}


def plant(content: bytes, way: str, seed: int) -> bytes:
    """A copy of a photo, as a JPEG."""
    picture, quality = WAYS[way](Image.fromarray(decode(content)), np.random.default_rng(seed))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def cropped(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """95 % of each side, at a random place."""
    width, height = (round(0.95 * side) for side in picture.size)
    left, top = int(random.integers(picture.width - width + 1)), int(random.integers(picture.height - height + 1))
    return picture.crop((left, top, left + width, top + height))


def judged(groups: Iterable[tuple[int, ...]], origin: list[int], ways: list[str]) -> dict[str, Any]:
    """The share of copies that are in one group with their original, in all and by way, and false groups."""
    found, false = dict.fromkeys(WAYS, 0), 0
    for group in groups:
        members = {origin[i] for i in group}
        false += len(members) > 1
        for i in group:
            if ways[i] and origin[i] in group:
                found[ways[i]] += 1
    total = {way: max(ways.count(way), 1) for way in WAYS}
    by_way = {way: found[way] / total[way] for way in WAYS}
    return {"recall": float(np.mean(list(by_way.values()))), "false groups": false, "by way": by_way}


def peers(files: list[bytes], origin: list[int], ways: list[str]) -> dict[str, Any]:
    """The best hash of imagededup: the one that finds most at a distance with no more than two false groups."""
    try:
        from imagededup.methods import AHash, DHash, PHash, WHash
    except ImportError:
        return {}
    best: dict[str, Any] = {"recall": -1.0}
    for kind in (PHash, DHash, AHash, WHash):
        method = kind(verbose=False)
        codes = {str(i): method.encode_image(image_array=decode(content)) for i, content in enumerate(files)}
        for distance in DISTANCES:
            links = method.find_duplicates(encoding_map=codes, max_distance_threshold=distance)
            result = judged(connected(links), origin, ways)
            if result["false groups"] <= MOST_FALSE and result["recall"] > best["recall"]:
                best = {**result, "method": f"{kind.__name__}, distance {distance}"}
    return {"imagededup": best}


def connected(links: Mapping[str, list[str]]) -> list[tuple[int, ...]]:
    """The groups that links make."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = np.array([(int(a), int(b)) for a, others in links.items() for b in others], np.int64).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(links),) * 2)
    _, group = connected_components(graph, directed=False)
    order = np.argsort(group, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(group[order])) + 1)
    return [tuple(part.tolist()) for part in parts if len(part) > 1]
