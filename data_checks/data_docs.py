"""Great Expectations' Data Docs of a report: static HTML, built only when asked for as it takes seconds and megabytes.

Ids and clock times of the validation are left out, so that equal data gives equal pages: when a check ran is known to
the run that ran it.
"""

import copy
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import great_expectations as gx
from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
from great_expectations.core.run_identifier import RunIdentifier
from great_expectations.data_context.types.resource_identifiers import ExpectationSuiteIdentifier, ValidationResultIdentifier

from data_checks.contexts import ONE_AT_A_TIME, make_context

_UUID = "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


def write_data_docs(name: str, validations: Sequence[ExpectationSuiteValidationResult], directory: Path) -> Path:
    """Write the Data Docs of a suite's results into a directory, which is made if needed.

    Returns
    -------
    Path
        Of ``index.html``. It is readable offline, but its styling comes from the internet; ``CheckReport.to_html`` needs none.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with ONE_AT_A_TIME:
        context = make_context()
        for site in list(context.list_data_docs_sites()):
            context.delete_data_docs_site(site)
        backend = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(directory.resolve())}
        builder = {"class_name": "DefaultSiteIndexBuilder"}
        context.add_data_docs_site(name, {"class_name": "SiteBuilder", "site_index_builder": builder, "store_backend": backend})
        run = RunIdentifier(run_name=name, run_time=NO_TIME)
        for validation in map(_timeless, validations):
            suite = gx.ExpectationSuite(name=validation.suite_name)
            suite.expectations = [one.expectation_config.to_domain_obj() for one in validation.results if one.expectation_config]
            context.suites.add(suite)
            identifier = ExpectationSuiteIdentifier(name=validation.suite_name)
            key = ValidationResultIdentifier(identifier, run_id=run, batch_identifier=validation.suite_name)
            context.validation_results_store.set(key, validation)
        context.build_data_docs()
    for page in directory.rglob("*.html"):
        page.write_text(_settled(page.read_text(encoding="utf-8")), encoding="utf-8")
    return directory / "index.html"


def _timeless(validation: ExpectationSuiteValidationResult) -> ExpectationSuiteValidationResult:
    """A copy without what differs between two checks of the same data."""
    timeless = copy.deepcopy(validation)
    timeless.meta = {"run_id": RunIdentifier(run_name=validation.suite_name, run_time=NO_TIME)}
    for outcome in timeless.results:
        if outcome.expectation_config is not None:
            outcome.expectation_config.id = None  # type: ignore[assignment]
    return timeless


def _settled(page: str) -> str:
    """A page without the random ids of its foldable parts and the clock time in the address of its logo."""
    numbers: dict[str, str] = {}
    page = re.sub(rf"collapse-body-({_UUID})", lambda found: f"collapse-body-{numbers.setdefault(found[1], str(len(numbers)))}", page)
    return re.sub(r"(logo-long\.png)\?d=\w+\.\w+", r"\1", page)
