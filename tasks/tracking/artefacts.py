"""Files and tables of a run."""

import csv
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from mlflow.tracking import MlflowClient

from tasks.tracking.records import Row

_LOGGED_TABLES = "mlflow.loggedArtifacts"  # the tag by which MLflow's UI knows that a JSON file is a table


def upload_files(client: MlflowClient, run_id: str, files: Mapping[str, Path]) -> None:
    """Upload files under names of our own, overwriting what a killed upload left.

    Parameters
    ----------
    client : MlflowClient
    run_id : str
    files : mapping of str to Path
        Name in MLflow, folders allowed (``checks/raw_log/result.json``) -> file.

    Raises
    ------
    ValueError
        If a file is missing; nothing is uploaded then.
    """
    missing = {name: path for name, path in files.items() if not path.is_file()}
    if missing:
        raise ValueError(f"artefacts to upload are no files: {', '.join(f'{name} ({path})' for name, path in missing.items())}")
    for name, path in files.items():
        target = PurePosixPath(name)
        with tempfile.TemporaryDirectory() as folder:
            renamed = Path(folder, target.name)
            renamed.symlink_to(path.resolve())  # the store names files by digest; MLflow takes the name of the file
            client.log_artifact(run_id, str(renamed), _folder(target))


def upload_bytes(client: MlflowClient, run_id: str, files: Mapping[str, bytes]) -> None:
    """Upload bytes under the given names."""
    for name, content in files.items():
        target = PurePosixPath(name)
        with tempfile.TemporaryDirectory() as folder:
            written = Path(folder, target.name)
            written.write_bytes(content)
            client.log_artifact(run_id, str(written), _folder(target))


def upload_table(client: MlflowClient, run_id: str, name: str, rows: Sequence[Row]) -> None:
    """Upload a table as ``<name>.json``, which MLflow's UI draws as a table, and ``<name>.csv``; replaces an older one.

    ``MlflowClient.log_table`` appends instead, and would double the rows of a repeated call.

    Raises
    ------
    ValueError
        If rows have different columns.
    """
    columns = list(rows[0]) if rows else []
    odd = [number for number, row in enumerate(rows) if list(row) != columns]
    if odd:
        raise ValueError(f"table {name!r}: row {odd[0]} has columns {list(rows[odd[0]])}, the first row has {columns}")
    as_json = json.dumps({"columns": columns, "data": [list(row.values()) for row in rows]})
    upload_bytes(client, run_id, {f"{name}.json": as_json.encode(), f"{name}.csv": table_csv(rows).encode()})
    _mark_as_table(client, run_id, f"{name}.json")


def table_csv(rows: Sequence[Row]) -> str:
    """Write rows as CSV with a header line; empty for no rows."""
    if not rows:
        return ""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _mark_as_table(client: MlflowClient, run_id: str, path: str) -> None:
    marked = json.loads(client.get_run(run_id).data.tags.get(_LOGGED_TABLES, "[]"))
    entry = {"path": path, "type": "table"}
    if entry not in marked:
        client.set_tag(run_id, _LOGGED_TABLES, json.dumps([*marked, entry]))


def _folder(target: PurePosixPath) -> str | None:
    return None if target.parent == PurePosixPath(".") else str(target.parent)
