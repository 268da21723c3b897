"""Runs a script, or the command `weft` without one, that gets SIGTERM at a word of its own.

    python terminated.py "epoch 2" [SCRIPT.py] WORDS...

The signal comes from within, as the process begins to print a line with that word: however busy the machine is, none
comes after the end of the run, as it may from a process that has to read that line first.
"""

import os
import runpy
import signal
import sys


class Watched:
    """Standard output that presses when it sees `word`, once."""

    def __init__(self, out, word):
        self.out, self.word = out, word

    def write(self, text):
        if self.word and text.startswith(self.word):
            self.word = None
            os.kill(os.getpid(), signal.SIGTERM)
        return self.out.write(text)

    def __getattr__(self, name):
        return getattr(self.out, name)


if __name__ == "__main__":
    sys.stdout = Watched(sys.stdout, sys.argv[1])
    if len(sys.argv) > 2 and sys.argv[2].endswith(".py"):
        sys.argv = sys.argv[2:]
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        sys.argv = ["weft", *sys.argv[2:]]
        runpy.run_module("weft", run_name="__main__")
