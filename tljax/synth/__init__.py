"""Looking inside networks by following gradients to the image: ideal images, attacks, attributions."""

from tljax.synth.apgd import apgd_ce, apgd_dlr
from tljax.synth.ascend import Ascent, ascend
from tljax.synth.attacks import fgsm, mi_fgsm, pgd
from tljax.synth.attribution import grad_cam, integrated_gradients, saliency
from tljax.synth.carlini_wagner import cw_l2
from tljax.synth.eight_bit import quantize, to_bytes
from tljax.synth.goals import PixelRecipe, Recipe
from tljax.synth.ideal import Ideal, dream, ideal
from tljax.synth.objectives import cross_entropy, dlr_loss, margin, targeted_dlr_loss, total_variation
from tljax.synth.transforms import Transforms, random_transform

__all__ = [
    "Ascent",
    "Ideal",
    "PixelRecipe",
    "Recipe",
    "Transforms",
    "apgd_ce",
    "apgd_dlr",
    "ascend",
    "cross_entropy",
    "cw_l2",
    "dlr_loss",
    "dream",
    "fgsm",
    "grad_cam",
    "ideal",
    "integrated_gradients",
    "margin",
    "mi_fgsm",
    "pgd",
    "quantize",
    "random_transform",
    "saliency",
    "targeted_dlr_loss",
    "to_bytes",
    "total_variation",
]
