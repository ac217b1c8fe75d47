"""Pages and documents to look at: what was heard, where, and why."""
