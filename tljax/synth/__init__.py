"""Looking inside networks by following gradients to the image: ideal images, attacks, attributions."""

from tljax.synth import objectives
from tljax.synth.apgd import apgd_ce, apgd_dlr, apgd_t
from tljax.synth.ascend import Ascent, ascend
from tljax.synth.attacks import fgsm, mi_fgsm, pgd
from tljax.synth.attribution import grad_cam, integrated_gradients, saliency, smoothgrad
from tljax.synth.auto_attack import AttackResult, auto_attack, minimal_eps
from tljax.synth.carlini_wagner import cw_l2
from tljax.synth.channels import Channel, LayerChannels, channel_pictures, describe_channels
from tljax.synth.eight_bit import check_budget, parse_budget, quantize, to_bytes
from tljax.synth.excitement import Excitement, excitement
from tljax.synth.fab import fab
from tljax.synth.faithfulness import deletion, insertion, randomised, rank_correlation
from tljax.synth.heat_map import heat_map
from tljax.synth.ideal import Ideal, dream, ideal
from tljax.synth.image_objective import Fourier, ImageObjective, Pixels
from tljax.synth.judging import default_judges, find_class, judge, judge_ideals, probabilities, top_class, uncropped
from tljax.synth.losses import (
    batch_norm_distance,
    cross_entropy,
    dlr_loss,
    margin,
    similarity,
    targeted_dlr_loss,
    total_variation,
)
from tljax.synth.objective import Objective, Response
from tljax.synth.occlusion import occlusion
from tljax.synth.photo_attack import attack_photo, choose_budget
from tljax.synth.problem import MaskedGradientsWarning
from tljax.synth.recipes import PixelRecipe, Recipe
from tljax.synth.robustness import robust_accuracy
from tljax.synth.square import square
from tljax.synth.transforms import Transforms, random_transform

__all__ = [
    "Ascent",
    "AttackResult",
    "Channel",
    "Excitement",
    "Fourier",
    "Ideal",
    "ImageObjective",
    "LayerChannels",
    "MaskedGradientsWarning",
    "Objective",
    "PixelRecipe",
    "Pixels",
    "Recipe",
    "Response",
    "Transforms",
    "apgd_ce",
    "apgd_dlr",
    "apgd_t",
    "ascend",
    "attack_photo",
    "auto_attack",
    "batch_norm_distance",
    "channel_pictures",
    "check_budget",
    "choose_budget",
    "cross_entropy",
    "cw_l2",
    "default_judges",
    "deletion",
    "describe_channels",
    "dlr_loss",
    "dream",
    "excitement",
    "fab",
    "fgsm",
    "find_class",
    "grad_cam",
    "heat_map",
    "ideal",
    "insertion",
    "integrated_gradients",
    "judge",
    "judge_ideals",
    "margin",
    "mi_fgsm",
    "minimal_eps",
    "objectives",
    "occlusion",
    "parse_budget",
    "pgd",
    "probabilities",
    "quantize",
    "random_transform",
    "randomised",
    "rank_correlation",
    "robust_accuracy",
    "saliency",
    "similarity",
    "smoothgrad",
    "square",
    "targeted_dlr_loss",
    "to_bytes",
    "top_class",
    "total_variation",
    "uncropped",
]
