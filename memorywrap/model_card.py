"""The import name of before: model cards are at home in `memorywrap.checkpoints.card`."""

import sys

from memorywrap.checkpoints.card import CARD, main, model_card, write_card

__all__ = ["CARD", "main", "model_card", "write_card"]

if __name__ == "__main__":
    sys.exit(main())
