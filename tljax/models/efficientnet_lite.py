"""EfficientNet-Lite0 to Lite2: Tan and Le, 2019 (arXiv 1905.11946), in the Lite form of TensorFlow's TPU models.

No squeeze-and-excitation and ReLU6 for swish, so the blocks are MobileNetV2's. Stem, top, and the number of
blocks in the first and the last stage do not scale. TensorFlow-born: SAME padding, eps 1e-3.
"""

from tljax.models.mobilenet import MobileNetV2


class EfficientNetLite(MobileNetV2):
    """An EfficientNet-Lite; attributes and outputs are those of `MobileNetV2`."""
