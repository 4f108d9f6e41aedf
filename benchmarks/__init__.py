"""Speed and memory of the core, measured; never part of the tests."""
