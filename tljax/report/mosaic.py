"""Feature maps as one picture."""

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8


def mosaic(
    maps: Float[np.ndarray, "h w c"], *, count: int = 32, columns: int = 8, cell: int = 96
) -> UInt8[np.ndarray, "H W 4"]:
    """The first `count` channels of a layer, side by side, each stretched from its own least to its greatest value.

    Args:
        maps: (h, w, c), any range; nan and infinity count as the least.
        cell: the least side of a tile in pixels; maps are enlarged by whole factors only.
    Returns:
        RGBA in the colours of viridis, with clear gaps between tiles.
    """
    maps = np.moveaxis(np.asarray(maps, np.float32), -1, 0)[:count]
    finite = np.isfinite(maps)
    low = np.where(finite, maps, np.inf).min((1, 2), keepdims=True)
    high = np.where(finite, maps, -np.inf).max((1, 2), keepdims=True)
    scaled = np.where(finite, maps - low, 0) / np.where(high > low, high - low, 1)
    factor = max(1, -(-cell // max(maps.shape[1:])))
    gap = max(2, cell // 24)
    tiles = matplotlib.colormaps["viridis"](scaled, bytes=True).repeat(factor, 1).repeat(factor, 2)
    tiles = np.pad(tiles, ((0, -len(tiles) % columns), (0, gap), (0, gap), (0, 0)))
    rows, (height, width) = len(tiles) // columns, tiles.shape[1:3]
    grid = tiles.reshape(rows, columns, height, width, 4).swapaxes(1, 2).reshape(rows * height, columns * width, 4)
    return grid[:-gap, :-gap]
