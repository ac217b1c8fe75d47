"""Results and clips shown in other ways: why a label was given, and more."""
