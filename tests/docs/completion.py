#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Types commands and a TAB into interactive shells, and looks at what they have become.

usage: completion.py bash|zsh COMPLETION-DIRECTORY
"""

import os
import pty
import select
import shutil
import signal
import sys
import tempfile
import time

BASH_COMPLETION = "/usr/share/bash-completion/bash_completion"
SKIPPED = 77
TIME_LIMIT = 20

# What is typed, and what the line is after the TAB; the blank or comma that a shell puts
# behind a word that is complete does not count.
CASES = [
    ("shmfs -o nopas", "shmfs -o nopassthrough"),
    ("shmfs -o min", "shmfs -o min_size="),
    ("shmfs -o keys=h", "shmfs -o keys=hex"),
    ("shmfs -o ro,ke", "shmfs -o ro,keys="),
    ("shmfs -o min_size=64K,keys=d", "shmfs -o min_size=64K,keys=dec"),
    ("shmfs -o keys=hex,nopas", "shmfs -o keys=hex,nopassthrough"),
    ("shmfs -o ro moun", "shmfs -o ro mountpoint/"),
    ("shmfs --vers", "shmfs --version"),
    ("shmfs-key app.c", "shmfs-key app.conf"),
    ("shmfs-key -x app.c", "shmfs-key -x app.conf"),
]

# In both, control-X says what the line is, and empties it.
BASH_RC = """
PS1='ready> '
. {bash_completion}
. {directory}/shmfs.bash
say() {{ printf '<%s>\\n' "$READLINE_LINE"; READLINE_LINE=; }}
bind -x '"\\C-x": say'
bind 'set enable-bracketed-paste off'
"""
ZSH_RC = """
PS1='ready> '
fpath=({directory} $fpath)
autoload -U compinit
compinit -D -u
say() {{ zle -I; print -r -- "<$BUFFER>"; BUFFER= }}
zle -N say
bindkey '^X' say
unset zle_bracketed_paste
"""


class Shell:
    def __init__(self, kind, directory, home):
        rc = BASH_RC if kind == "bash" else ZSH_RC
        rc_file = os.path.join(home, "bashrc" if kind == "bash" else ".zshrc")
        with open(rc_file, "w", encoding="utf-8") as out:
            out.write(rc.format(directory=directory, bash_completion=BASH_COMPLETION))
        command = ["bash", "--rcfile", rc_file, "-i"] if kind == "bash" else ["zsh", "-d", "-i"]
        self.seen = ""
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.chdir(home)
            os.environ.update(HOME=home, ZDOTDIR=home, TERM="dumb", LC_ALL="C", INPUTRC="/dev/null")
            os.execvp(command[0], command)

    def wait_for(self, text):
        """Returns what comes before the text."""
        limit = time.monotonic() + TIME_LIMIT
        while text not in self.seen:
            left = limit - time.monotonic()
            if left <= 0 or not select.select([self.terminal], [], [], left)[0]:
                raise TimeoutError(f"no {text!r} in {self.seen!r}")
            self.seen += os.read(self.terminal, 4096).decode(errors="replace")
        before, _, self.seen = self.seen.partition(text)
        return before

    def complete(self, typed):
        os.write(self.terminal, (typed + "\t\x18").encode())
        self.wait_for("<")
        return self.wait_for(">")

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def run(kind, directory, home):
    os.mkdir(os.path.join(home, "mountpoint"))
    with open(os.path.join(home, "app.conf"), "w", encoding="utf-8"):
        pass
    failures = 0
    shell = Shell(kind, directory, home)
    try:
        shell.wait_for("ready> ")
        for typed, expected in CASES:
            line = shell.complete(typed)
            if line.rstrip(" ,") != expected:
                print(f"FAILED: {typed!r} became {line!r}, not {expected!r}")
                failures += 1
    finally:
        shell.end()
    print(f"{len(CASES)} lines typed into {kind}, {failures} failures")
    return 1 if failures else 0


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("bash", "zsh"):
        print(__doc__, file=sys.stderr)
        return 2
    kind, directory = sys.argv[1], os.path.realpath(sys.argv[2])
    if not shutil.which(kind) or (kind == "bash" and not os.path.exists(BASH_COMPLETION)):
        print(f"skipped: no {kind} with completion")
        return SKIPPED
    with tempfile.TemporaryDirectory() as home:
        return run(kind, directory, home)


sys.exit(main())
