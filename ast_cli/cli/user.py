"""A name and a home for a user whom the system does not know, as in a container of any user id."""

from __future__ import annotations

import getpass
import os
import tempfile
from contextlib import suppress
from pathlib import Path


def settle_user() -> None:
    """Name in the environment what libraries ask the system for, and fail if it does not know.

    torch calls the folder of its compiler after the user, and needs it for every optimizer; OpenVINO and the
    Hub's cache look for a home. This one is in the folder for temporary files, for this user alone.
    """
    if not hasattr(os, "getuid"):
        return
    uid = os.getuid()
    try:
        getpass.getuser()
    except (KeyError, OSError):  # OSError from Python 3.13 on
        os.environ["LOGNAME"] = f"uid-{uid}"
    try:
        Path.home()
    except RuntimeError:
        with suppress(OSError):
            home = Path(tempfile.gettempdir()) / f"ast-tag-{uid}"
            home.mkdir(mode=0o700, exist_ok=True)
            if home.lstat().st_uid != uid:
                home = Path(tempfile.mkdtemp(prefix="ast-tag-"))
            os.environ["HOME"] = str(home)
