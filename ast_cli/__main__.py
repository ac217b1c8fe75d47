"""`python -m ast_cli` is `ast-tag`."""

from ast_cli.cli.app import main

if __name__ == "__main__":
    main()
