"""How an ideal image is made: the sum of objectives that is maximised, the steps and their rates."""

import warnings
from dataclasses import InitVar, dataclass, field

from tljax.synth.image_objective import Fourier, Pixels
from tljax.synth.losses import total_variation
from tljax.synth.objective import Objective
from tljax.synth.objectives import batch_norm_matching, channel, diversity, log_probability, logit, smoothness
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

    def aim(self, layer: str | None = None) -> Objective:
        """What is excited: the score of a class, or the mean of a channel of a layer."""
        return self.score * logit() if layer is None else channel(layer)

    def objective(self, aim: Objective, *, variants: int = 1) -> Objective:
        """The aim, less the penalties of this recipe.

        >>> from tljax.synth.objectives import batch_norm_matching, logit, smoothness
        >>> recipe = tljax.synth.Recipe(total_variation=100.0, batch_norm_matching=30.0)
        >>> recipe.objective(logit()) == -100.0 * smoothness() + logit() - 30.0 * batch_norm_matching()
        True
        """
        total = -self.total_variation * smoothness()
        if variants > 1:
            total -= self.diversity * diversity(variants)
        return total + aim - self.batch_norm_matching * batch_norm_matching()

    def form(self, size: int) -> Fourier:
        """What is moved along the gradient: a spectrum."""
        return Fourier(size)


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

    def aim(self, layer: str | None = None) -> Objective:
        """What is excited: the log-probability of a class, or the mean of a channel of a layer."""
        return self.cross_entropy * log_probability() if layer is None else channel(layer)

    def objective(self, aim: Objective, *, variants: int = 1) -> Objective:
        """The aim, less the total variation; nothing keeps variants apart but their noise."""
        del variants
        return -self.total_variation / self.contrast * Objective(((1.0, _variation),)) + aim

    def form(self, size: int) -> Pixels:
        """What is moved along the gradient: pixels."""
        del size
        return Pixels(self.contrast)

    @property
    def transforms(self) -> None:
        """Nothing moves the image."""

    @property
    def stages(self) -> tuple[tuple[float, float], ...]:
        """One, at full size."""
        return ((1.0, 1.0),)


def _variation(images, response):
    del response
    return total_variation(images)
