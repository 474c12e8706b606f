# SPDX-License-Identifier: Apache-2.0
"""What the checks of this folder share: the tree that is checked, and how a check reports.

A check is a script with one function `check(tree)` that yields problems, one sentence each, and sets
`tree.checked` to what it looked at. A check that looked at nothing has failed: a check over an empty
list would otherwise always be green.
"""
import argparse
import pathlib
import re
import subprocess
import sys

CODE_DIRS = ("pkg", "capabilities", "deploy", "agent")


class Missing(Exception):
    """A tool or a build that the check needs is not there."""


class Tree:
    def __init__(self, root, build):
        self.root = pathlib.Path(root).resolve()
        self.build = pathlib.Path(build).resolve() if build else None
        self.checked = ""
        self.count = 0

    def files(self, *suffixes, dirs=CODE_DIRS + ("tests",)):
        """Our files below `dirs`, relative to the root, sorted; test data is not ours."""
        found = []
        for top in dirs:
            for path in sorted((self.root / top).rglob("*")):
                name = path.relative_to(self.root)
                if path.is_file() and path.suffix in suffixes and name.parts[:2] != ("tests", "data"):
                    found.append(name)
        return found

    def text(self, name):
        return (self.root / name).read_text(encoding="utf-8")

    def looked_at(self, count, what):
        self.count = count
        self.checked = f"{count} {what}"


def run_tool(*command, cwd=None):
    """Output of a tool; Missing when it is not installed."""
    try:
        return subprocess.run([str(c) for c in command], cwd=cwd, capture_output=True, text=True)
    except FileNotFoundError as missing:
        raise Missing(f"{command[0]} is not installed") from missing


def without_comments(text):
    """C text with comments and the contents of literals blanked; line numbers stay."""
    pattern = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)

    def blank(match):
        piece = match.group(0)
        if piece[0] in "\"'":
            return piece[0] + " " * (len(piece) - 2) + piece[0]
        return re.sub(r"[^\n]", " ", piece)

    return pattern.sub(blank, text)


def main(name, check):
    here = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=f"tests/meta/{name}")
    parser.add_argument("build", nargs="?", help="build directory (default: build/dev)")
    parser.add_argument("--root", default=here, help="tree to check (default: this one)")
    options = parser.parse_args()
    build = options.build or pathlib.Path(options.root) / "build" / "dev"
    tree = Tree(options.root, build)
    passed = failed = skipped = 0
    try:
        problems = list(check(tree))
        if tree.count == 0:
            problems.append("there was nothing to check")
        for problem in problems:
            print(f"     {problem}")
        passed, failed = (0, 1) if problems else (1, 0)
        print(f"{'FAIL' if problems else 'ok  '} {name}: {tree.checked}, {len(problems)} problems")
    except Missing as missing:
        skipped = 1
        print(f"SKIP {name}: {missing}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(1 if failed else 2 if skipped else 0)
