"""Which versions of packages are installed."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


def versions(packages: Iterable[str]) -> dict[str, str]:
    """{package: version} of those that are installed, in the order given; imports none of them.

    Example:
        >>> list(versions(["numpy", "no-such-package"]))
        ['numpy']
    """
    installed = {}
    for name in packages:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed
