"""Prefect server, MLflow server and a worker on this machine, started and stopped as one.

``python -m tasks.local_stack run|serve|smoke``. All state lies under ``JTM_HOME``, all logs in ``JTM_HOME/logs``.
"""
