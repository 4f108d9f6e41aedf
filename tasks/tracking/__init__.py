"""MLflow: what an experiment leaves for people to look at and compare.

The only package that may import mlflow and matplotlib. Neither is imported here, so ``tasks.tracking.records`` stays
cheap; import the modules below inside the tasks that call them. Every call names its run: no active run is kept, so
tasks may log from threads. Every call may be repeated after a kill and leaves the same as one call.

``records`` (plain frozen records, no mlflow)
    ``DataInput``, ``CheckReport``, ``Segment``, ``TreeLearning``, ``Iteration``, ``Experiment``:
    what callers hand in.
``client``
    ``ensure_experiment(name) -> experiment id``; ``run_url(run_id)``; ``compare_url(run_ids)``.
``runs`` (the parent run, one per experiment)
    ``open_parent_run(experiment_id, key, name, config, tags) -> run id``: continues an unfinished run of the same key, or creates one.
    ``link_to_prefect(run_id, flow_run_id, flow_run_url)``; ``log_data_input(run_id, data)``;
    ``log_summary(run_id, metrics)``; ``record_system_metrics(run_id)`` (a context manager); ``finish_run(run_id, status)``.
``iterations`` (a nested run per iteration)
    ``log_iteration(parent_run_id, record) -> run id``: metrics, curves, artefacts; on the parent the metrics with step = iteration.
``releases``
    ``mark_released(version, data_name) -> run ids``: which version is in service, on the runs of its iteration.
``reports``
    ``log_check_report(run_id, report)``; ``log_results_table(run_id, rows)``; ``log_table(run_id, name, rows)``;
    ``log_figures(run_id, experiment)`` (PNG and SVG of every figure); ``log_html_report(run_id, experiment)``.
``figures``, ``rendering``, ``html_report`` (pure: records in, figures, bytes and text out)
    ``make_figures(experiment)``; ``png_bytes(figure)``, ``svg_bytes(figure)``, ``inline_svg(figure)``; ``make_html_report(experiment)``.

In a flow's tasks, in this order::

    experiment_id = ensure_experiment("jtm")
    run_id = open_parent_run(experiment_id, key=run_key, name="ml-100k", config=config, tags={"jtm.code_fingerprint": fingerprint})
    link_to_prefect(run_id, flow_run_id, flow_run_url)
    log_data_input(run_id, DataInput(name="ml-100k", uri=..., digest=..., counts={"rows": 100_000}))
    log_check_report(run_id, CheckReport(...))
    with record_system_metrics(run_id):
        for iteration in ...:
            ...                                # train, learn, evaluate
            log_iteration(run_id, Iteration(...))
    log_results_table(run_id, rows)
    log_figures(run_id, experiment)
    log_html_report(run_id, experiment)
    log_summary(run_id, metrics_of_the_best_version)
    finish_run(run_id)
"""

import os

# Set before mlflow is imported by any module of this package: its telemetry thread removes a variable from the environment
# while requests reads it, and now and then that made a call fail with KeyError('_MLFLOW_TELEMETRY_SESSION_ID').
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
