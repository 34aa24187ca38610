"""`python -m app.decoder`: decodes image files, one after the other, in a process that can be spared.

It says b"." once it is ready. Each file comes as its length (8 bytes, big-endian) and its bytes on standard
input. The answer on standard output is b"+", width, height (4 bytes each) and the RGB pixels; or b"-", a length (4 bytes) and a sentence
that says why there is none.
"""

from __future__ import annotations

import resource
import signal
import struct
import sys

from memorywrap.decoding import MAX_PIXELS, ImageError, loaded, opened

EXTRA = 512 * 1024 * 1024  # bytes that decoding may take beside what the process has at first
# Of a processor's time, for one file: for its head, which takes milliseconds, and for the largest picture.
HEAD, PIXELS = 0.5, 1.5


def main() -> None:
    """Answers until standard input ends."""
    _set_limits()
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    answers.write(b".")
    answers.flush()
    while head := asked.read(8):
        data = asked.read(struct.unpack(">Q", head)[0])
        # Counts in C as well, and ends the process, whatever it is doing.
        signal.setitimer(signal.ITIMER_PROF, HEAD)
        try:
            image = opened(data)
            share = image.width * image.height / MAX_PIXELS
            left, _ = signal.getitimer(signal.ITIMER_PROF)  # by the head
            signal.setitimer(signal.ITIMER_PROF, left + PIXELS * share)
            image = loaded(image)
            pixels = image.tobytes()
            answer = b"+" + struct.pack(">II", *image.size)
        except ImageError as error:
            pixels = str(error).encode()
            answer = b"-" + struct.pack(">I", len(pixels))
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(answer)
        answers.write(pixels)
        answers.flush()


def _set_limits() -> None:
    for what, most in ((resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        resource.setrlimit(what, (most, most))
    try:
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + EXTRA, now + EXTRA))
    except (OSError, ValueError):  # a system that knows no such limit: time alone is bounded
        pass


if __name__ == "__main__":
    main()
