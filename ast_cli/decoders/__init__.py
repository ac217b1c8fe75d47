"""Recordings -> windows in child processes, for networks that are faster than the threads of one process."""
