"""How an ideal image is made: the weights of what is maximised, the steps and their rates."""

import warnings
from dataclasses import InitVar, dataclass, field

from tljax.synth.transforms import Transforms


@dataclass(frozen=True)
class Recipe:
    """What `method="fourier"` maximises, and how.

    Attributes:
        learning_rate: of Adam, on the spectrum; it falls to zero over the last third of the steps.
        score: weight of the class's logit.
        batch_norm_matching: weight of `objectives.batch_norm_matching`, which is subtracted: where the network is
            narrow, the images' activations should be distributed as those of training images.
        total_variation: weight of the mean absolute difference of neighbouring pixels, which is subtracted.
        diversity: weight of the `objectives.similarity` of the variants of one class, which is subtracted.
        transforms: what the image must survive.
        stages: (share of the steps, share of the size) in order; the shares of steps add up to 1.
        usualness: the old name of `batch_norm_matching`, for one more version.

    >>> tljax.synth.Recipe(diversity=8.0).diversity
    8.0
    """

    learning_rate: float = 0.05
    score: float = 1.0
    batch_norm_matching: float = 30.0
    total_variation: float = 100.0
    diversity: float = 4.0
    transforms: Transforms = field(default_factory=Transforms)
    stages: tuple[tuple[float, float], ...] = ((0.7, 0.75), (0.3, 1.0))
    usualness: InitVar[float | None] = None

    def __post_init__(self, usualness: float | None) -> None:
        if usualness is not None:
            warnings.warn("Recipe: usualness is called batch_norm_matching now", DeprecationWarning, stacklevel=3)
            object.__setattr__(self, "batch_norm_matching", usualness)


@dataclass(frozen=True)
class PixelRecipe:
    """The lesson's method: plain gradient descent on pixels.

    Attributes:
        learning_rate: the step on the gradient.
        cross_entropy: weight; the lesson starts with 1 and no total variation.
        total_variation: weight of the summed total variation of the pixels in units of the noise.
        contrast: standard deviation of the starting noise in units of the pixel range; the image is mid-grey plus this
            times the pixels.

    >>> tljax.synth.PixelRecipe(learning_rate=0.5).learning_rate
    0.5
    """

    learning_rate: float = 1.0
    cross_entropy: float = 10.0
    total_variation: float = 0.005
    contrast: float = 0.25
