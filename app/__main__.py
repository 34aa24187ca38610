"""`python -m app`: the page on this machine."""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path

_LOCAL = Path("checkpoints")
CHECKPOINTS = _LOCAL if _LOCAL.is_dir() else Path(__file__).parent.parent / _LOCAL


def main() -> None:
    """Parse the flags, build the page and serve it."""
    parser = argparse.ArgumentParser(prog="python -m app", description="The Memory Wrap page.")
    parser.add_argument(
        "--host",
        default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
        help="address to listen on (default: $GRADIO_SERVER_NAME or 127.0.0.1)",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=os.environ.get("GRADIO_SERVER_PORT", "7860"),
        help="port to listen on (default: $GRADIO_SERVER_PORT or 7860)",
    )
    parser.add_argument(
        "--checkpoints",
        type=Path,
        default=CHECKPOINTS,
        metavar="FOLDER",
        help="folder with one checkpoint folder per model (default: checkpoints)",
    )
    options = parser.parse_args()
    # Gradio has arguments for everything but this: its client library asks for updates otherwise.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

    from app.temporary import OwnFolder

    folder = OwnFolder()
    print("Loading the page …", flush=True)  # imports take seconds
    from app.models import Models
    from app.page import build, launch_options

    # Stopped by a service manager as by Ctrl-C: Gradio then deletes what people uploaded.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    models = Models(options.checkpoints)
    if models.names:
        models.warm_up_meanwhile(models.default)
    try:
        build(models).launch(
            server_name=options.host, server_port=options.port, **launch_options(models)
        )
    finally:
        models.close()
        folder.close()


if __name__ == "__main__":
    main()
