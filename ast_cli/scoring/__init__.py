"""Scores of windows -> labels, timelines, events and vectors of a recording."""
