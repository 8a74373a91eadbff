"""What a learner may skip: how a run is kept, shown and told of.

Nothing in here imports a file that stands in front.
"""

import os
import signal
import sys
from pathlib import Path

# While a program of this project still imports what it needs, Ctrl-C ends it without a traceback;
# terminal.program has it heeded from then on. Notebooks and scripts of others keep their ways, and
# so does a program that was started with Ctrl-C ignored.
_PROGRAMS = [Path(__file__).resolve().parents[1] / name for name in ["mnist.py", "draw.py"]]
_started = Path(getattr(sys.modules["__main__"], "__file__", None) or "").resolve()
if _started in _PROGRAMS and "IPython" not in sys.modules:
    # NumPy's own threads gain nothing here, and keep each other waiting where two runs end at once.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
