"""`explain`: which parts of a photo a network's answer hangs on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from tljax.commands import Command, start_jax
from tljax.commands.attack import at_resolution, top_class
from tljax.commands.networks import chosen_network, save_png
from tljax.errors import match_name
from tljax.files import check_out, replacing
from tljax.progress import Track


@dataclass(frozen=True, kw_only=True)
class Explain(Command):
    """Shows which parts of a photo speak for a class, as a heat map and laid over the photo.

    Examples: tljax explain dog.jpg --out why
              tljax explain dog.jpg --class "tabby" --method integrated_gradients --out why
    """

    image: tyro.conf.Positional[str]
    """A photo of any size."""
    out: str
    """The folder for the pictures and report.html."""
    class_: Annotated[str | None, tyro.conf.arg(name="class")] = None
    """The class asked about, by name or index; by default the most likely one."""
    method: Literal["grad_cam", "saliency", "integrated_gradients"] = "grad_cam"
    """grad_cam: where; saliency: which pixels matter most now; integrated_gradients: which pixels made the difference
    to a black picture."""
    model: str = "efficientnet_lite0"
    """A name from `tljax models`."""
    run: str | None = None
    """A trained run in the place of --model."""
    overwrite: bool = False
    """Replace an existing folder."""

    def execute(self, track: Track) -> dict[str, Any]:
        """See `Command`."""
        out = check_out(self.out, overwrite=self.overwrite)
        start_jax()
        _, net = chosen_network(self.model, self.run)
        image = at_resolution(net, self.image)
        c = top_class(net, image)[0] if self.class_ is None else match_name(self.class_, net.spec.classes)
        heat = self._heat(net, image, c)
        with replacing(out) as folder:
            folder.mkdir()
            colours = colour_map(heat)
            overlay = np.round(0.5 * image + 0.5 * colours).astype(np.uint8)
            pictures = {"photo": image, "heat": colours, "overlay": overlay}
            names = [save_png(folder / f"{name}.png", picture) for name, picture in pictures.items()]
            _write_page(folder, f"What speaks for {net.spec.classes[c]}", self.method, pictures)
        files = [str(out / name.rsplit("/", 1)[-1]) for name in names]
        return {
            "files": files,
            "class": net.spec.classes[c],
            "method": self.method,
            "report": str(out / "report.html"),
        }

    def text(self, result: dict[str, Any]) -> str:
        """The class and the files."""
        return "\n".join(
            [f"what speaks for {result['class']} ({result['method']}):", *result["files"], result["report"]]
        )

    def _heat(self, net: Any, image: np.ndarray, c: int) -> np.ndarray:
        import jax.numpy as jnp

        from tljax import synth

        images, labels = jnp.asarray(image[None], jnp.float32) / 255, jnp.asarray([c])
        if self.method == "grad_cam":
            layer = net.spec.last_layer
            heat = synth.grad_cam(net.scores, net.intermediates, net.variables, images, labels, layer=layer)
        elif self.method == "saliency":
            heat = synth.saliency(net.scores, net.variables, images, labels)
        else:
            heat = jnp.abs(synth.integrated_gradients(net.scores, net.variables, images, labels).sum(-1))
        return np.asarray(heat)[0]


def colour_map(heat: np.ndarray) -> np.ndarray:
    """A map (h, w), >= 0, as uint8 colours (h, w, 3): dark for nothing, bright for the top half per cent and above."""
    from matplotlib import colormaps

    top = np.quantile(heat, 0.995)
    scaled = np.clip(heat / (top if top > 0 else 1.0), 0, 1)
    return np.round(255 * colormaps["inferno"](scaled)[..., :3]).astype(np.uint8)


def _write_page(folder: Path, title: str, method: str, pictures: dict[str, np.ndarray]) -> None:
    from tljax.report.blocks import Picture, Pictures
    from tljax.report.page import Section, write_page

    shown = [Picture(image, f"{title}: the {name}", name) for name, image in pictures.items()]
    write_page(folder / "report.html", title, [Section(method, [Pictures(shown, "large")])])
