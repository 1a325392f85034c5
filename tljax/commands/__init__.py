"""What each command of the command line takes, does and prints. Heavy imports wait until a command runs."""

from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from tljax.progress import Track

Option = Annotated


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command: its fields are its options."""

    json: bool = False
    """Print one JSON document on stdout; all else goes to stderr."""
    debug: bool = False
    """Show the traceback of an error."""

    def execute(self, track: Track) -> dict[str, Any]:
        """Does the work and returns what `--json` prints."""
        raise TypeError(f"{type(self).__name__} is abstract")

    def text(self, result: dict[str, Any]) -> str:
        """The result for a person."""
        return "\n".join(f"{name}: {value}" for name, value in result.items())


Images = tyro.conf.Positional[tuple[str, ...]]


def start_jax() -> None:
    """Keeps what XLA compiles in the cache folder, so that the second run of a command starts quickly."""
    import jax

    from tljax.weights.fetch import cache_dir

    jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
