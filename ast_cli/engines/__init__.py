"""Where and how networks run: devices, number formats, and an engine for each runtime."""
