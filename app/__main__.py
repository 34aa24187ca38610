"""`python -m app`: the page on this machine."""

from __future__ import annotations

import argparse
import os
import signal
import threading
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
    if not 0 < options.port < 65536:
        parser.error(f"--port: expected 1 to 65535, received {options.port}")
    if not options.checkpoints.is_dir():
        parser.error(f"--checkpoints: there is no folder {options.checkpoints}")
    password = os.environ.get("MEMORYWRAP_AUTH", "")
    if password and ":" not in password:
        parser.error("MEMORYWRAP_AUTH: expected name:password, with a colon between them")
    # Gradio has arguments for everything but this: its client library asks for updates otherwise.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

    from app.temporary import OwnFolder

    folder = OwnFolder()
    print("Loading the page …", flush=True)  # imports take seconds
    from app.models import Models
    from app.page import build, launch_options

    # A signal is noted, and raises nothing: wherever it comes, what people uploaded is deleted. Stopped by
    # a service manager as by Ctrl-C; a second one ends it at once.
    stop = threading.Event()

    def noted(number: int, _: object) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    models = Models(options.checkpoints)
    if models.names:
        models.warm_up_meanwhile(models.default)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            signal.signal(number, noted)
    page = build(models)
    try:
        try:
            page.launch(
                server_name=options.host,
                server_port=options.port,
                prevent_thread_lock=True,
                quiet=True,  # it offers what this page has not
                **launch_options(models),
            )
        except OSError:  # Gradio's own words do not say which
            parser.error(
                f"cannot listen at {options.host}, port {options.port}: if it is in use, try --port"
            )
        print(f"Running on http://{options.host}:{options.port}", flush=True)
        stop.wait()
        print("Closing the page …", flush=True)
        page.close(verbose=False)
    finally:
        models.close()
        folder.close()


if __name__ == "__main__":
    main()
