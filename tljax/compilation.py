"""Where compiled programs are kept, so that a second run starts quickly."""

from tljax.files import cache_dir


def keep_compiled() -> None:
    """Keeps what XLA compiles in the cache folder, or in $JAX_COMPILATION_CACHE_DIR: a second run starts quickly."""
    import jax

    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_dir() / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
