"""`python -m proxy`: hands the arguments to cli."""

from __future__ import annotations

import sys

from proxy import __version__


def main() -> int:
    """Run the command line; answers the exit code."""
    arguments = sys.argv[1:]
    if arguments in (["--version"], ["-V"]):
        # before anything is loaded: scripts ask this often
        sys.stdout.write(f"local-ai {__version__}\n")
        return 0
    from proxy.cli import run

    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
