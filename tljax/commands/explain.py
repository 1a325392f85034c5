"""`explain`: which parts of a photo a network's answer hangs on."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

import tljax
from tljax.commands import Command, Model, Overwrite, Photo, Run
from tljax.errors import match_name
from tljax.files import check_out, keep_compiled, replacing
from tljax.progress import Track


@dataclass(frozen=True, kw_only=True)
class Explain(Command):
    """Shows which parts of a photo a class hangs on, as a heat map and laid over the photo.

    Examples: tljax explain dog.jpg --out why
              tljax explain dog.jpg --class "tabby" --method integrated_gradients --baseline blur --out why
    """

    image: Photo
    out: str
    """The folder for the pictures and report.html."""
    class_: Annotated[str | None, tyro.conf.arg(name="class")] = None
    """The class asked about, by name or index; by default the most likely one."""
    method: Literal["grad_cam", "saliency", "integrated_gradients", "smoothgrad", "occlusion"] = "grad_cam"
    """grad_cam: what speaks for the class, and where; saliency: which pixels matter most now; smoothgrad: the same,
    averaged over noisy copies; integrated_gradients: which pixels made the difference to a picture of nothing;
    occlusion: what is lost when a square is covered. The last two tell for from against."""
    layer: str | None = None
    """Of grad_cam: the layer whose map is shown; by default the last."""
    baseline: Literal["black", "grey", "white", "blur"] | None = None
    """What "nothing" looks like; by default black for integrated_gradients, grey for occlusion."""
    steps: int | None = None
    """Gradients of integrated_gradients (by default 64), or copies for smoothgrad (32)."""
    seed: int = 0
    """Of smoothgrad's noise."""
    model: Model = "efficientnet_lite0"
    run: Run = None
    overwrite: Overwrite = False

    def execute(self, track: Track) -> dict[str, Any]:
        out = check_out(self.out, overwrite=self.overwrite)
        keep_compiled()
        import jax

        from tljax.report import explanation_page

        _, net = tljax.transfer.chosen_network(self.model, self.run)
        photo = tljax.data.read_photo(self.image, net.spec)
        (probs,) = tljax.synth.probabilities(net, [photo])
        c = int(probs.argmax()) if self.class_ is None else match_name(self.class_, net.spec.classes)
        name = net.spec.classes[c]
        options = {"layer": self.layer, "baseline": self.baseline, "steps": self.steps}
        heat = tljax.synth.heat_map(net, photo, c, self.method, **options, key=jax.random.key(self.seed))
        with replacing(out, folder=True) as folder:
            names = explanation_page.save_explanation(folder, photo, heat, name, self.method)
        nothing = {} if abs(heat).max() > 0 else {"note": explanation_page.NOTHING[self.method]}
        return {
            **nothing,
            "files": [str(out / name) for name in names],
            "file": self.image,
            "class": name,
            "prob": float(probs[c]),
            "method": self.method,
            "report": str(out / "report.html"),
        }

    def text(self, result: dict[str, Any]) -> str:
        """The photo, the class with its probability, and the files."""
        note = [result["note"]] if "note" in result else []
        said = f"{result['file']}: {result['class']} {100 * result['prob']:.1f} %, by {result['method']}"
        return "\n".join([said, *note, *result["files"], result["report"]])
