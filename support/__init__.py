"""What a learner may skip: how a run is kept, shown and told of.

Nothing in here imports a file that stands in front.
"""

import pathlib
import signal
import sys

# Ctrl-C while the imports still go on ends the program without a traceback; terminal.program has it
# heeded from then on. Only a program of this project is ended so, not a notebook that imports one.
_program = getattr(sys.modules["__main__"], "__file__", None)
if (
    _program
    and pathlib.Path(_program).resolve().parent == pathlib.Path(__file__).resolve().parents[1]
):
    if "IPython" not in sys.modules:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
