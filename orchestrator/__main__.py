"""`python -m orchestrator` is the command `orch`."""

from orchestrator.cli import main

main()
