"""Learning from labelled recordings, and measuring what was learned."""
