"""Before numpy is loaded: one thread a worker, since the workers share the cores."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# Commands that tests start keep what they have compiled, or each compiles all anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

import pytest

from tests.engines import missing_for_spark


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave Spark's tests, which take minutes, to those who ask for them."""
    marked = [item for item in items if item.get_closest_marker("spark")]
    if not marked:
        return
    asked = "spark" in config.getoption("-m") and "not spark" not in config.getoption(
        "-m"
    )
    reason = missing_for_spark() if asked else "Spark's tests: make test-spark"
    for item in marked if reason else ():
        item.add_marker(pytest.mark.skip(reason=reason))
