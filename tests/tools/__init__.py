"""tools/cluster: its scripts are no package, and import each other by name."""

import sys
from pathlib import Path

CLUSTER = Path(__file__).parents[2] / "tools" / "cluster"
if str(CLUSTER) not in sys.path:
    sys.path.append(str(CLUSTER))
