"""The command line: options in, API calls, tables and exit codes out. No logic of its own."""
