"""In a process that the tests start: every command of a hint is written down, for the check in conftest.py."""

import os
import sys

if _path := os.environ.get("TEST_RECORD_HINT_COMMANDS"):
    sys.path.append(os.path.dirname(os.path.dirname(__file__)))
    from hint_commands import record

    sys.path.pop()
    record(_path)
