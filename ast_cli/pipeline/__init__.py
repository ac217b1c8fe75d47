"""Recordings -> windows -> full batches -> results in order; decoding runs ahead of the network."""
