"""Pure functions from desired and present state to a plan; no network, clock or disk."""
