"""What the tests of this package ask a Python. Input and output are JSON.

version: of this Python.
list MOST: all .py files of its library, and of installed packages as many as make it so many.
encodings: all names that it has for them.
compile-files: a list of paths on stdin; the errors of those that compile() refuses, by path.
compile-sources: an object of sources in base64 on stdin; the errors of those that compile() refuses, by name.
"""

import base64
import encodings
import encodings.aliases
import json
import os
import pkgutil
import sys
import sysconfig


def files(most):
    own, packages = set(), set()
    for folder in ("stdlib", "platstdlib", "purelib", "platlib"):
        for where, folders, names in os.walk(sysconfig.get_path(folder)):
            folders[:] = sorted(f for f in folders if f != "__pycache__")
            installed = not folder.endswith("stdlib") or "site-packages" in where
            for name in sorted(names):
                if name.endswith(".py"):
                    (packages if installed else own).add(os.path.join(where, name))
    # Every nth, so that all packages have their share.
    share = max(most - len(own), 1)
    return sorted(own) + sorted(packages - own)[:: len(packages) // share + 1]


def error(source):
    try:
        compile(source, "source.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, OverflowError) as e:
        return "%s: %s" % (type(e).__name__, e)
    except (MemoryError, RecursionError):  # its own limits
        return None
    return None


def read(path):
    with open(path, "rb") as f:
        return f.read()


def errors(sources):
    found = ((name, error(source)) for name, source in sources)
    return {name: e for name, e in found if e}


if sys.argv[1] == "version":
    answer = "%d.%d" % sys.version_info[:2]
elif sys.argv[1] == "list":
    answer = files(int(sys.argv[2]))
elif sys.argv[1] == "encodings":
    modules = (m.name for m in pkgutil.iter_modules(encodings.__path__))
    answer = sorted({*modules, *encodings.aliases.aliases, *encodings.aliases.aliases.values()})
elif sys.argv[1] == "compile-files":
    answer = errors((path, read(path)) for path in json.load(sys.stdin))
else:
    answer = errors((name, base64.b64decode(s)) for name, s in json.load(sys.stdin).items())
json.dump(answer, sys.stdout)
