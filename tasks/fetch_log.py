"""Find the log a config names: files, the example data set, or the settings of a synthetic world."""

from pathlib import Path

from jtm_core.config import DataConfig, JtmConfig
from jtm_core.formats.log_files import log_files
from tasks.example_data import EXAMPLES, fetch_example
from tasks.fingerprints import key_part
from tasks.outside import outside_task
from tasks.references import SourceRef
from tasks.store import canonical_json, digest_of_file, digest_of_log, digest_of_text

SYNTHETIC_FORMATS = ("planted_world", "noise_world")


@outside_task("fetch-log-{config.data.name}")
def fetch_log(config: JtmConfig) -> SourceRef:
    """Locate the log, downloading an example where it is asked for, and take the digest of its files.

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
    path, categories = _places(config.data)
    files = _files(config.data.path, path)
    return SourceRef(
        name=files[0].name if len(files) == 1 else path.name,
        sha256=digest_of_log(files),
        path=str(path),
        category_sha256=digest_of_file(categories) if categories else "",
        category_path=str(categories) if categories else "",
    )


def _synthetic_source(config: JtmConfig) -> SourceRef:
    if config.data.path:
        raise ValueError(f"data.path is {config.data.path!r}, but data.format {config.data.format!r} reads no file; leave the path empty")
    settings = canonical_json([config.data.format, config.seed, key_part(config.data)])
    return SourceRef(name=config.data.format, sha256=digest_of_text(settings), path="")


def _places(data: DataConfig) -> tuple[Path, Path | None]:
    """Where the log lies, and its category table, if there is one."""
    if data.path in EXAMPLES:
        files = fetch_example(EXAMPLES[data.path])
        return files.interactions, files.items
    if data.path.startswith("recbole:"):
        raise ValueError(f"data.path is {data.path!r}; the examples are {', '.join(EXAMPLES)}")
    categories = Path(data.category_path).expanduser().resolve() if data.category_path else None
    if categories is not None and not categories.is_file():
        hint = ", which is a folder" if categories.is_dir() else ""
        raise FileNotFoundError(f"data.category_path is {data.category_path!r}; there is no file {categories}{hint}")
    return Path(data.path).expanduser().resolve(), categories


def _files(asked: str, path: Path) -> tuple[Path, ...]:
    try:
        return log_files(path)
    except ValueError as error:
        raise FileNotFoundError(f"data.path is {asked!r}; {error}") from error
