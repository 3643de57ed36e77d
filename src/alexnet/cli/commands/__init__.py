"""The commands: one file each. A new command is a file of its name here, with a function of its name, and a line below.
(Python reserves the name import: there, both are import_.)

The function's signature is the command's options and its docstring the help (see `alexnet.cli.options`). It imports
what it needs inside, so that `alexnet --help` does not wait for torch, and holds no logic: it calls the function that
does the work, and returns its result with what renders it.
"""

NAMES = (
    "demo",
    "download",
    "prepare",
    "train",
    "evaluate",
    "predict",
    "similar",
    "features",
    "compare",
    "figures",
    "explore",
    "export",
    "import",
    "reproduce",
    "bench",
    "verify",
    "describe",
    "completion",
)
"""In the order of `alexnet --help`."""
