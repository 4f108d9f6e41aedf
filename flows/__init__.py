"""Order: one module for each thing a user triggers."""
