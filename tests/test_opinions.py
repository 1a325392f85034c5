"""What networks say of made pictures."""

import jax
import jax.numpy as jnp
import numpy as np

from tljax.commands.networks import opinions, save_png
from tljax.models.network import init_network


def test_a_picture_of_the_networks_resolution_is_seen_whole(tmp_path):
    net = init_network("squeezenet1_1", key=jax.random.key(0))
    size = net.spec.input_size
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)
    image[size // 8 : -size // 8, size // 8 : -size // 8] = 0  # what it says hangs on the margin
    file = save_png(tmp_path / "made.png", image)
    (said,) = opinions({"net": net}, [file], ["7"])
    probs = jax.nn.softmax(net.apply(net.variables, jnp.asarray(image[None], jnp.float32) / 255))[0]
    np.testing.assert_allclose(said["net"]["prob"], probs[7], rtol=1e-4)
