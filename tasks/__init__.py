"""Steps: load what references name, call the core, store what comes of it, return a reference."""
