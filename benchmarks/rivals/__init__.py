"""Systems side by side: one world, the same users, the same cut-offs, each system in a process of its own."""
