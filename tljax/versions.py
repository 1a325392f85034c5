"""Which versions of packages are installed."""

from collections.abc import Iterable
from importlib.metadata import distributions
from itertools import islice


def versions(packages: Iterable[str]) -> dict[str, str]:
    """{package: version} of those that are installed, in the order given; imports none of them.

    Example:
        >>> from tljax.versions import versions
        >>> list(versions(["numpy", "no-such-package"]))
        ['numpy']
    """
    return {name: found.version for name in packages for found in islice(distributions(name=name), 1)}
