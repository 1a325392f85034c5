"""TensorFlow Datasets made ready for reading: TFDS' own builder, run once, into ArrayRecord. Needs TensorFlow."""

import contextlib
import os
import sys
import tarfile
import tempfile
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from tljax.errors import InputError, nearest, refuse

VERIFIED, AS_GIVEN = "has the checksum that TFDS knows", "taken as it is: TFDS knows another checksum"


def prepare(name: str, *, archives: str | None = None, data_dir: str | None = None) -> dict[str, Any]:
    """Prepares a data set, so that `tfds:NAME` reads it, from now on without TensorFlow.

    Args:
        name: "cats_vs_dogs", "oxford_iiit_pet", any NAME, NAME/CONFIG or NAME:1.2.3 of TFDS.
        archives: a folder with the original archives; what is missing there is downloaded. Their checksums need not
            be those that TFDS knows, so that a part of a set can be tried: the result says which are not.
        data_dir: the folder for prepared data; default TFDS_DATA_DIR, or TFDS' own folder.
    Returns:
        {"name", "splits": {name: number of examples}, "data_dir", "folder": of this set, "was_there": whether it was
        prepared before, and nothing was done, "archives": {file used: `VERIFIED` or `AS_GIVEN`}}.
    Raises:
        InputError: the extra is not installed; an unknown name; archives that are missing, unreachable, damaged, or
            that hold links or names which lead out of the folder; whatever the builder says.
    """
    tfds = _import()
    data_dir = os.path.expanduser(data_dir or os.environ.get("TFDS_DATA_DIR") or tfds.core.constants.DATA_DIR)
    with contextlib.redirect_stdout(sys.stderr):  # TFDS says on stdout what it does
        builder = _builder(tfds, name, data_dir)
        was_there = Path(builder.data_path).exists()
        archives_used = {} if was_there else _run(tfds, builder, name, archives)
    splits = {part: int(split.num_examples) for part, split in builder.info.splits.items()}
    where = {"data_dir": data_dir, "folder": os.fspath(builder.data_path)}
    return {"name": name, "splits": splits, **where, "was_there": was_there, "archives": archives_used}


def check_archive(path: Path) -> None:
    """Refuses a tar or zip archive with links, devices, or names that lead out of the folder it is unpacked in.

    Raises:
        InputError: the first such member; an archive that cannot be read to its end.
    """
    try:
        for name, plain in _members(path):
            windows = PureWindowsPath(name)
            outside = ".." in windows.parts or windows.drive or windows.root or PurePosixPath(name).is_absolute()
            refuse(
                {
                    f'refused: "{path}" holds {name[:80]!r}, which leads out of its folder': outside,
                    f'refused: "{path}" holds {name[:80]!r}, which is neither a file nor a folder': not plain,
                }
            )
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f'"{path}" is damaged or truncated: {textwrap.shorten(str(error), 100)}') from error


def _members(path: Path) -> Iterator[tuple[str, bool]]:
    """(name, whether it is a file or a folder) of each member; nothing for a file that is no archive."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                kind = member.external_attr >> 28  # of Unix: 8 a file, 4 a folder, 0 not said
                yield member.orig_filename, kind in (0, 4, 8)
    elif path.name.endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")) or tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            for member in archive:
                yield member.name, member.isfile() or member.isdir()


def _run(tfds: Any, builder: Any, name: str, archives: str | None) -> dict[str, str]:
    """Runs the builder; says of each archive that was given how its checksum compares."""
    given = {} if archives is None else _given(name, builder, Path(archives))
    for path in given.values():
        check_archive(path)
    with _accepted(builder, given) as checked, tempfile.TemporaryDirectory() as scratch:
        options = {} if archives is None else {"manual_dir": archives, "extract_dir": scratch}
        config = tfds.download.DownloadConfig(try_download_gcs=False, **options)
        try:
            builder.download_and_prepare(download_config=config)
        except Exception as error:  # builders raise anything
            raise InputError(_failure(name, builder, archives, error)) from error
    return checked


def _import() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        import importlib_resources  # noqa: F401  # pyright: ignore[reportMissingImports]: TFDS needs it, and does not say so
        import tensorflow  # noqa: F401  # pyright: ignore[reportMissingImports, reportMissingModuleSource]: an extra
        import tensorflow_datasets  # pyright: ignore[reportMissingImports]: an extra
        from tensorflow_datasets.core.download import downloader  # pyright: ignore[reportMissingImports]: an extra
    except ImportError as error:
        raise InputError(f'preparing data needs TensorFlow Datasets: pip install "tljax[tfds]" ({error})') from error
    downloader.MAX_RETRIES = 4  # with ten, and waits that double, it takes minutes to find that there is no network
    return tensorflow_datasets


def _builder(tfds: Any, name: str, data_dir: str | None) -> Any:
    try:
        return tfds.builder(name, data_dir=data_dir, file_format="array_record")
    except Exception as error:
        names = tfds.list_builders(with_community_datasets=False)
        if name.partition("/")[0].partition(":")[0] in names:
            raise InputError(f"TFDS cannot prepare {name}: {textwrap.shorten(str(error), 200)}") from error
        guesses = " or ".join(nearest(name, names, n=3))
        hint = f": did you mean {guesses}?" if guesses else f": it knows {len(names)}"
        raise InputError(f'TFDS has no data set named "{name}"{hint}') from error


def _given(name: str, builder: Any, folder: Path) -> dict[str, Path]:
    """URL -> the file in `folder` that stands for it."""
    if not folder.is_dir():
        raise InputError(f'no folder "{folder}" with the archives of {name}: {_wanted(builder)}')
    paths = {url: folder / info.filename for url, info in builder.url_infos.items() if info.filename}
    present = {url: path for url, path in paths.items() if path.is_file()}
    if paths and not present:
        raise InputError(f'"{folder}" has none of the archives of {name}: {_wanted(builder)}')
    return present


def _wanted(builder: Any) -> str:
    names = sorted({info.filename for info in builder.url_infos.values() if info.filename})
    listed = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return f"expected {listed}" if names else "see what TFDS says of this data set"


@contextlib.contextmanager
def _accepted(builder: Any, given: dict[str, Path]) -> Iterator[dict[str, str]]:
    """While the body runs, the given files count as what their URLs stand for; says of each how it compares."""
    from tensorflow_datasets.core.download import checksums  # pyright: ignore[reportMissingImports]: an extra

    known = builder.url_infos
    before, checked = dict(known), {}
    for url, path in given.items():
        known[url] = checksums.compute_url_info(path)
        same = (known[url].checksum, known[url].size) == (before[url].checksum, before[url].size)
        checked[path.name] = VERIFIED if same else AS_GIVEN
    try:
        yield checked
    finally:
        known.update(before)


def _failure(name: str, builder: Any, archives: str | None, error: BaseException) -> str:
    """What went wrong, in a line: no network, or the builder's own words."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) and cause not in causes:
        causes.append(cause)
    kinds = {kind.__name__ for cause in causes for kind in type(cause).__mro__}
    if kinds & {"ConnectionError", "DownloadError", "Timeout", "gaierror"}:
        missing = f'"{archives}" lacks archives of {name}, which' if archives else f"the archives of {name}"
        return f"{missing} cannot be downloaded: give them with --archives DIR; {_wanted(builder)}"
    return f"TFDS could not prepare {name}: {textwrap.shorten(str(error), 200) or type(error).__name__}"
