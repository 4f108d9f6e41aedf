"""The figures of a finished run, found where its versions are."""

import json
from pathlib import Path

import pytest

from benchmarks.collect import manifests
from tasks.store import Store
from tasks.versions import data_slug


def test_versions_are_found_by_the_name_of_their_data_set_in_the_order_of_iterations(tmp_path: Path) -> None:
    """As a folder cannot always have a data set's name."""
    store, name = Store(tmp_path), "Amazon Beauty"
    folder = tmp_path / "versions" / data_slug(name)
    folder.mkdir(parents=True)
    for iteration in (1, 0):
        manifest = store.save_json("manifest", {"iteration": iteration})
        record = {"version": {"manifest": {"uri": manifest.uri}}}
        (folder / f"amazon-{iteration}.json").write_text(json.dumps(record))
    assert [manifest["iteration"] for manifest in manifests(store, name)] == [0, 1]
    with pytest.raises(LookupError, match="holds no version of 'Another'"):
        manifests(store, "Another")
