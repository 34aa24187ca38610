"""The command's entry point of before: `memorywrap.commands.main` is its home."""

import sys

from memorywrap.commands.main import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
