"""What all tests share: none fails for taking long, as on a busy machine some do; in which order the files go."""

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

LAST = ("tests/steps/", "tests/flows/")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files that start servers last, flows at the very end.

    They leave threads in their process that allocate, and draw from ``random``, when they like (keep-alives of Prefect's websockets).
    Tests that measure memory, and properties, while whose inputs are made Hypothesis allows no such draw, come before.
    """
    items.sort(key=lambda item: next((rank for rank, folder in enumerate(LAST, 1) if item.nodeid.startswith(folder)), 0))
