"""What tyro says is wrong with a command line, in one sentence. It draws a box for people, which a log or a script
cannot use, and names types of Python."""

import itertools
import re

FRAME = re.compile(r"[\u2500-\u257f]|-{3,}|^[+|]|[+|]$", re.MULTILINE)
"""What tyro draws around a message; on a terminal that has only ASCII, of minus signs and bars."""


def sentence(said: str) -> str:
    """The sentence for a box that tyro has printed; all words of one that is not known."""
    lines = FRAME.sub(" ", said).splitlines()
    body = itertools.dropwhile(lambda line: not line.strip(), lines[1:])  # without the title and what is drawn below
    head = list(itertools.takewhile(str.strip, body))  # up to the next line that is drawn
    all_words, words = " ".join(" ".join(lines).split()), " ".join(" ".join(head).split())
    if found := re.search(r"Error parsing call\S*: (.*?) For full helptext", all_words):  # of a setting's own check
        return found[1]
    if words.startswith("Missing from "):
        least = min(map(_indent, head[1:]), default=0)
        names = [line.split()[0] for line in head[1:] if _indent(line) == least]  # what explains them stands deeper
        return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing"
    if found := re.match(r"Error parsing (--\S+):.*'(.*?)'", words):
        kind = "a number" if re.search(rf"{re.escape(found[1])} \S*FLOAT", all_words) else "a whole number"
        return f"{found[1]} is '{found[2]}'; it must be {kind}"
    if found := re.match(r"invalid choice (.*?) for argument '(?:call\.)?(\S+)'. Expected one of \((.*?),?\)", words):
        return f"{found[2]} is {found[1]}; it must be one of {found[3].replace(chr(39), '')}"
    if found := re.match(r"Missing value for argument '(\S+)'", words):
        return f"{found[1]} needs a value"
    if found := re.match(r"Unrecognized options: (.*)", words):
        return f"{found[1]}: the command takes no such argument"
    return all_words


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
