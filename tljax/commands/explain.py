"""`explain`: which parts of a photo a network's answer hangs on."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import tyro

from tljax.commands import Command
from tljax.errors import match_name
from tljax.files import check_out, keep_compiled, replacing
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
        keep_compiled()
        from tljax.data.images import read_photo
        from tljax.report import synth_page
        from tljax.synth.attribution import heat_map
        from tljax.synth.judging import top_class
        from tljax.transfer.run import chosen_network

        _, net = chosen_network(self.model, self.run)
        photo = read_photo(self.image, net.spec)
        c = top_class(net, photo)[0] if self.class_ is None else match_name(self.class_, net.spec.classes)
        name = net.spec.classes[c]
        with replacing(out) as folder:
            folder.mkdir()
            names = synth_page.save_explanation(folder, photo, heat_map(net, photo, c, self.method), name, self.method)
        return {
            "files": [str(out / name) for name in names],
            "class": name,
            "method": self.method,
            "report": str(out / "report.html"),
        }

    def text(self, result: dict[str, Any]) -> str:
        """The class and the files."""
        return "\n".join(
            [f"what speaks for {result['class']} ({result['method']}):", *result["files"], result["report"]]
        )
