"""What data must satisfy before anything is learned from it.

``check_log`` (module ``log_checks``), ``check_behaviours`` (``behaviour_checks``) and ``check_tree`` (``tree_checks``) each
return a ``CheckReport`` (``reports``). Rules are plain records (``rules``); Great Expectations counts what breaks them
(``validation``, ``expectations``). ``docs/data_checks.md`` lists every rule.
"""

import os

# Must stand before the first import of great_expectations, which reads it while it is imported.
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
