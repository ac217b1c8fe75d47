"""Where and how windows run: devices, number formats, and one engine for each way of running a network."""
