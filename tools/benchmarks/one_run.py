"""The command `ast-tag` with a stand-in for the network; leaves its resident peak in a file.

python -m tools.benchmarks.one_run PEAK tag …
"""

from __future__ import annotations

import sys
from pathlib import Path

from ast_cli.cli.app import main
from tests.peak import peak_megabytes
from tests.stand_in import install

if __name__ == "__main__":
    peak = Path(sys.argv.pop(1))
    install()
    try:
        main()
    finally:
        peak.write_text(str(peak_megabytes()), encoding="utf-8")
