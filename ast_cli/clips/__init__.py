"""Events -> clips: cut out of the recordings, a folder for each class, and a table of them."""
