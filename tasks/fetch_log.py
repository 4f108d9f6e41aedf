"""Find the log a config names: a file, the example data set, or the settings of a synthetic world."""

from pathlib import Path

from jtm_core.config import DataConfig, JtmConfig
from tasks.example_data import EXAMPLES, fetch_example
from tasks.fingerprints import key_part
from tasks.outside import outside_task
from tasks.references import SourceRef
from tasks.store import canonical_json, digest_of_file, digest_of_text

SYNTHETIC_FORMATS = ("planted_world", "noise_world")


@outside_task("fetch-log-{config.data.name}")
def fetch_log(config: JtmConfig) -> SourceRef:
    """Locate the log, downloading an example where it is asked for, and take its digest.

    Raises
    ------
    FileNotFoundError
        If the log or its category table is not there.
    ValueError
        If a file format is given without a path, a path with a synthetic world, or there is no such example.
    ExampleDataUnavailable
        If the example data cannot be downloaded.
    """
    if config.data.format in SYNTHETIC_FORMATS:
        return _synthetic_source(config)
    if not config.data.path:
        raise ValueError(
            f"data.path is empty; give the log's file, one of {tuple(EXAMPLES)}, or set data.format to one of {SYNTHETIC_FORMATS}"
        )
    path, categories = _files(config.data)
    return SourceRef(
        name=path.name,
        sha256=digest_of_file(path),
        path=str(path),
        category_sha256=digest_of_file(categories) if categories else "",
        category_path=str(categories) if categories else "",
    )


def _synthetic_source(config: JtmConfig) -> SourceRef:
    if config.data.path:
        raise ValueError(f"data.path is {config.data.path!r}, but data.format {config.data.format!r} reads no file; leave the path empty")
    settings = canonical_json([config.data.format, config.seed, key_part(config.data)])
    return SourceRef(name=config.data.format, sha256=digest_of_text(settings), path="")


def _files(data: DataConfig) -> tuple[Path, Path | None]:
    """The log and its category table, if there is one."""
    if data.path in EXAMPLES:
        files = fetch_example(EXAMPLES[data.path])
        return files.interactions, files.items
    if data.path.startswith("recbole:"):
        raise ValueError(f"data.path is {data.path!r}; the examples are {', '.join(EXAMPLES)}")
    categories = _existing(data.category_path, "data.category_path") if data.category_path else None
    return _existing(data.path, "data.path"), categories


def _existing(text: str, field: str) -> Path:
    path = Path(text).expanduser().resolve()
    if path.is_dir():
        raise FileNotFoundError(f"{field} is {text!r}; {path} is a folder, give the one file in it that is meant")
    if not path.is_file():
        raise FileNotFoundError(f"{field} is {text!r}; there is no file {path}")
    return path
