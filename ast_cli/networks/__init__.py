"""The networks, top-down, with their configs. A package of its own for what is computed, not where."""
