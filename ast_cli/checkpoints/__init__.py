"""Names, folders and files -> the weights and configs of a network: published, on the Hub, or on disk."""
