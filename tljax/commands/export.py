"""`export`: a network for places without tljax: one file, or the folder of a page."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

import tljax
from tljax.commands import Command
from tljax.errors import InputError
from tljax.files import check_out, keep_compiled, write_text
from tljax.progress import Track

_BY_SUFFIX = {".onnx": "onnx", ".jax": "jax"}


@dataclass(frozen=True, kw_only=True)
class Export(Command):
    """Writes a trained run, or a pretrained network, for places without tljax: pixels in, probabilities out.

    F.onnx runs wherever ONNX does, and keeps: ONNX Runtime has said of some photos what the network says before the
    file appears, where it is installed (tljax[onnx]). `tljax predict F.onnx PHOTOS` takes it in the place of a run.

    F.jax is for a script with jax (and flatbuffers), on any of the platforms and any number of pictures. Beside it lies
    F.jax.json with the names of the classes, and until when newer versions of jax read it: six months after the release
    of the one that wrote it. XLA compiles it anew for each size of pictures: give --cropped where many sizes come and
    something else resizes them.

    With --format web, the folder F is a page for any static host (`python -m http.server` in it): photos are looked at
    in the browser and go nowhere. ONNX Runtime Web, which it holds, is fetched once from npm (33 MB) and kept.

    F.md beside a file, and README.md in the folder, is a model card: data, accuracy, limits, licence.

    Examples: tljax export run --out pets.onnx
              tljax export run --out pets.jax
              tljax export run --out pets-page --format web
              tljax export --model resnet50 --out resnet50.onnx
    """

    run_dir: tyro.conf.Positional[str | None] = None
    """The folder that `tljax train` wrote."""
    model: str | None = None
    """A name from `tljax models`, in the place of a run."""
    out: str
    """What to write; its suffix says in which form."""
    format: Literal["jax", "onnx", "web"] | None = None
    """The form, where the suffix is neither .onnx nor .jax; jax if it is not given."""
    platforms: str = "cpu,cuda,tpu"
    """Where a jax file will run: of cpu, cuda, tpu, rocm, separated by commas."""
    cropped: bool = False
    """It takes pictures that are already resized and cropped to the network's size."""
    runtime: str | None = None
    """An unpacked onnxruntime-web of npm for the page, where there is no network."""
    overwrite: bool = False
    """Replace existing files."""

    def execute(self, track: Track) -> dict[str, Any]:
        form = self._form()
        if form != "jax":
            from tljax.onnx.model import check_installed

            check_installed()
        if form == "web":
            return self._web()
        out = check_out(self.out, overwrite=self.overwrite)
        if out.is_dir():
            raise InputError(f'"{self.out}" is a folder: name a file')
        readme = check_out(out.with_name(f"{out.name}.md"), overwrite=self.overwrite)
        result = self._jax(out) if form == "jax" else self._onnx(out)
        write_text(readme, self._card(out.stem))
        return result | {"readme": str(readme)}

    def text(self, result: dict[str, Any]) -> str:
        """What it takes and gives, where it is, and how far it can be relied on."""
        if result["format"] == "web":
            return f"{result['out']}: python -m http.server --directory {result['out']}, then http://localhost:8000"
        lines = [f"{result['out']} ({result['bytes'] / 1e6:.1f} MB): {result['input']} -> {result['output']}"]
        if result["format"] == "jax":
            lines += [f"for {', '.join(result['platforms'])}; see {result['card']}", f"read {result['readable']}"]
        elif result["checked"] is None:
            lines.append(f"ONNX opset {result['opset']}; not tried: pip install onnxruntime to have it checked")
        else:
            lines.append(
                f"ONNX opset {result['opset']}; ONNX Runtime's probabilities differ by {result['checked']:.1g}"
            )
        return "\n".join(lines)

    def _form(self) -> str:
        """The form that the options ask for."""
        if (self.run_dir is None) == (self.model is None):
            raise InputError("give either a RUN or --model NAME")
        by_suffix = _BY_SUFFIX.get(Path(self.out).suffix.lower())
        if self.format and by_suffix and self.format != by_suffix:
            raise InputError(f'"{self.out}" is the name of a file of the form {by_suffix}, not {self.format}')
        suffix = Path(self.out).suffix
        if self.format is None and by_suffix is None and suffix:
            raise InputError(f'"{self.out}": {suffix} is none of .onnx and .jax; say what it shall be with --format')
        return self.format or by_suffix or "jax"

    def _net(self) -> Any:
        keep_compiled()
        return tljax.load_run(self.run_dir) if self.run_dir is not None else tljax.load_pretrained(self.model or "")

    def _card(self, name: str) -> str:
        """What the README of the network says."""
        from tljax.transfer.card import model_card, run_card

        if self.run_dir is not None:
            return run_card(self.run_dir, name=name)
        return model_card(tljax.get_spec(self.model or ""), name=name)

    def _jax(self, out: Path) -> dict[str, Any]:
        from tljax.transfer.export import card_path, write_export

        names = [name.strip() for name in self.platforms.split(",") if name.strip()]
        check_out(card_path(out), overwrite=self.overwrite)
        card = write_export(self._net(), out, platforms=names, cropped=self.cropped)
        shown = ("platforms", "input", "output", "classes", "readable", "readable_until")
        return _result("jax", out, card, shown) | {"card": str(card_path(out))}

    def _onnx(self, out: Path) -> dict[str, Any]:
        from tljax.transfer.onnx_export import write_onnx

        facts = write_onnx(self._net(), out, cropped=self.cropped)
        return _result("onnx", out, facts, ("input", "output", "classes", "opset", "checked"))

    def _web(self) -> dict[str, Any]:
        from tljax.transfer.export_web import MARKER, write_web

        out = check_out(self.out, overwrite=self.overwrite, marker=MARKER)
        if out.is_file():
            raise InputError(f'"{self.out}" is a file: name a folder')
        name = out.absolute().name
        facts = write_web(self._net(), out, name=name, card=self._card(name), runtime=self.runtime)
        shown = {key: facts[key] for key in ("classes", "checked", "heat")}
        return {"out": str(out), "format": "web", **shown, "readme": str(out / "README.md")}


def _result(form: str, out: Path, facts: dict[str, Any], shown: tuple[str, ...]) -> dict[str, Any]:
    return {"out": str(out), "format": form, "bytes": out.stat().st_size, **{name: facts[name] for name in shown}}
