"""`python -m proxy`: hands the arguments to cli."""

from __future__ import annotations

import gc
import sys
from typing import Final

from proxy import __version__

# Modules make many objects and leave hardly a cycle behind: the collector, which walks
# all there is again and again, would take a tenth of the time to start.
_COLLECT_AFTER: Final = 1_000_000


def main() -> int:
    """Run the command line; answers the exit code."""
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        # before anything is loaded: scripts ask this often
        sys.stdout.write(f"local-ai {__version__}\n")
        return 0
    gc.set_threshold(_COLLECT_AFTER)
    from proxy.cli import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
