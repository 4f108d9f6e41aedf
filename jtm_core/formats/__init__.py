"""Everything that touches files: readers and writers between the core's arrays and Parquet, safetensors, CSV.

Readers check once, at this door, and raise ``ValueError`` with the file, the place, what came and what was allowed.
Writers are atomic (:mod:`jtm_core.formats.atomic`) and give the same bytes for the same content.
"""
