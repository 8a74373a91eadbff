"""Report a file beside mnist.py that hides a module of Python or of a library.

Python looks into the program's folder first: if a learner has a random.py there, each library that
imports random gets that file. mnist.py and draw.py import this module before any other. It imports
only what Python itself has already imported, until it has found such a file.
"""

import os
import sys

FOLDER = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
OURS = ["draw", "input_data", "mnist", "page", "support", "tools"]


class Finder:
    """What Python asks first where a module is."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:
        """Leave the answer to the other finders. Raises SystemExit if a file hides the module."""
        if path is not None or name in OURS or name in sys.builtin_module_names:
            return  # in a package, ours, or in no folder at all
        files = [f"{name}.py", os.path.join(name, "__init__.py")]
        found = [file for file in files if os.path.isfile(os.path.join(FOLDER, file))]
        if not found:
            return
        places = []  # a package is a folder, which need not contain an __init__.py
        for folder in map(os.path.realpath, sys.path):
            place = os.path.join(folder, name)
            if os.path.isdir(place) or os.path.isfile(f"{place}.py"):
                places.append(folder)
        is_library = name in sys.stdlib_module_names or len(set(places)) > 1
        if places[:1] == [FOLDER] and is_library:
            sentence = (
                f"{found[0]} beside mnist.py hides the module {name} of Python or of a library, "
                "which the program needs: rename your file."
            )
            before = sys.path[:]
            sys.path[:] = [each for each in before if os.path.realpath(each) != FOLDER]
            sys.modules.pop("support.language", None)  # it may have asked for the module
            from support import language

            sys.path[:] = before
            sys.exit(language.translate(sentence, sys.stderr))


sys.meta_path.insert(0, Finder)
__import__("datetime")  # here, because NumPy's C code would hide our sentence
