"""Tags damaged recordings and holds the tool to its promises."""
