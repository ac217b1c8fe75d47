"""Results -> one HTML page with players, spectrograms and events."""
