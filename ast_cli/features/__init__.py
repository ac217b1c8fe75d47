"""Waveforms -> log-mel features, as the network was trained on them."""
