#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Draws the terminal session at the top of README.md from a real run.

usage: picture.py SHMFS PICTURE          check that PICTURE still shows what a run prints
       picture.py SHMFS PICTURE --write  draw it anew

The session runs in mount, IPC and PID namespaces of its own.  Numbers of processes, dates and
times differ from run to run, so the check leaves them out.  Exit status 77: it needs root.
"""
import html
import os
import re
import subprocess
import sys
import tempfile

SESSION = """\
echo hi > /mnt/shm/3148                # System V: the segment with key 3148
truncate -s 1M /mnt/shm/frames         # POSIX: the object /frames
ls -l /mnt/shm
cat /mnt/shm/3148
getfattr -e text -n user.shm.attached /mnt/shm/frames   # who uses it
ls /mnt/shm/.orphans/sysv              # what nobody uses
find /mnt/shm/.orphans -type f -print -delete
"""

# A process that uses the object, for the session to show.
SETUP = """\
umask 022
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs tmpfs /mnt
mkdir /mnt/shm
"$1" /mnt/shm
truncate -s 1M /dev/shm/frames
python3 -c 'import time; f = open("/dev/shm/frames"); time.sleep(60)' &
until [ "$(readlink /proc/$!/fd/3)" = /dev/shm/frames ]; do sleep 0.05; done
cd /
"""

LINE_HEIGHT = 19
CHARACTER_WIDTH = 8.43
MARGIN = 16


def run(shmfs):
    """Returns the lines of the session: pairs of a prompt or None, and text."""
    script = SETUP + "".join(
        f"printf '%s\\n' {shell_quote('$ ' + line)}\n{{\n{line}\n}} 2>/dev/null | tr -d '\\000'\n"
        for line in SESSION.splitlines()
    )
    script += "umount /mnt/shm\n"
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(script)
        file.flush()
        output = subprocess.run(
            ["unshare", "--mount", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc",
             "--", "bash", file.name, os.path.realpath(shmfs)],
            env={**os.environ, "LC_ALL": "C.UTF-8", "LANGUAGE": "", "TZ": "UTC"},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=True,
        ).stdout
    return output.splitlines()


def shell_quote(text):
    return "'" + text.replace("'", "'\\''") + "'"


def steady(lines):
    """What is the same in each run."""
    text = "\n".join(lines)
    text = re.sub(r"[A-Z][a-z]{2} +\d+ \d\d:\d\d", "DATE", text)
    return re.sub(r"\d+ python3", "PID python3", text)


def draw(lines):
    width = max(len(line) for line in lines) * CHARACTER_WIDTH + 2 * MARGIN
    height = len(lines) * LINE_HEIGHT + 2 * MARGIN
    picture = [
        "<!-- SPDX-License-" "Identifier: MIT -->",  # in two: reuse(1) would read it
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}">',
        '<rect width="100%" height="100%" rx="8" fill="#16191d"/>',
        '<g font-family="ui-monospace, Menlo, Consolas, monospace" font-size="14" fill="#d5dae0" '
        'xml:space="preserve">',
    ]
    for number, line in enumerate(lines):
        y = MARGIN + (number + 0.75) * LINE_HEIGHT
        text = html.escape(line, quote=False)
        if line.startswith("$ "):
            text = re.sub(r"(  +# .*)$", r'<tspan fill="#8b949e">\1</tspan>', text)
            text = '<tspan fill="#7ee787">$</tspan>' + text[1:]
        picture.append(f'<text x="{MARGIN}" y="{y:.0f}">{text}</text>')
    return "\n".join(picture + ["</g>", "</svg>", ""])


def shown(picture):
    """The lines that a picture shows."""
    texts = re.findall(r"<text [^>]*>(.*)</text>", picture)
    return [html.unescape(re.sub(r"<[^>]*>", "", text)) for text in texts]


def main():
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("skipped: needs root to mount")
        return 77
    lines = run(sys.argv[1])
    if sys.argv[3:] == ["--write"]:
        with open(sys.argv[2], "w", encoding="utf-8") as file:
            file.write(draw(lines))
        return 0
    with open(sys.argv[2], encoding="utf-8") as file:
        drawn = shown(file.read())
    if steady(drawn) == steady(lines):
        return 0
    print("FAILED: the picture is out of date; draw it anew with --write. A run prints:")
    print("\n".join(lines))
    return 1


if __name__ == "__main__":
    sys.exit(main())
