"""Learning from labeled recordings, and measuring what was learned."""
