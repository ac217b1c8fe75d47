"""Why a label: which parts of a window its score rests on."""
