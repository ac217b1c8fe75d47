"""How fast it runs here: each way of running a network, each stage of the flow, or the whole of it."""
