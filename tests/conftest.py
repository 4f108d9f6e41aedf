"""What all tests share: none fails for taking long, on a busy machine some do; the longest files go first."""

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

LONGEST = ("tests/flows/", "tests/steps/")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that start processes first: a file's tests run in one worker, and a long one begun last would run alone."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))
