"""What a GPU can tell within eight minutes: `python -m tools.gpu_check --out DIR`."""
