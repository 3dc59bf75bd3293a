#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""
Runs the commands that the manual pages display, and those that README.md has between backquotes.

usage: commands.py SHMFS SOURCE

A display of a page is an .Dl or a .Bd -literal.  Its lines with a prompt are commands, which must
exit 0; the lines after one are what it must print, with "..." for any text.  A display without a
prompt is a line of fstab, by which `mount -a` must mount.  The blocks of README.md are those of
integration.readme.

All of it happens in mount, IPC, PID and network namespaces.  /sbin has mount.shmfs, and the host
"server" is this one: dropbear, which needs no service, lets root in.  Exit status 77: no root, or a
program that is called is not installed.
"""
import fcntl
import importlib.util
import os
import re
import shlex
import shutil
import socket
import struct
import subprocess
import sys
import tempfile

PROGRAMS = ("dropbear fincore gdb getfattr numactl rsync script sqlite3 ssh-keygen sshfs "
            "vmtouch watch xxd")
PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"  # where packages put python3 and numpy
SKIPPED = 77
TIME_LIMIT = 60

# What a reader fills in, or would see change.
SUBSTITUTES = {
    r"\bFILE\b": "/mnt/shm/3148",
    r"\bPID\b": "$process",
    r"^getfattr -d$": r"\g<0> /mnt/shm/3148",
    r"^watch -d$": r"\g<0> ls",
    r"^watch .*": r"script -qec 'TERM=xterm timeout --foreground 2 \g<0>' /dev/null; [ $? -eq 124 ]",
    r"^man -l src": "man -l \"$helpers/../src\"",
    r"^man shmfs": "man -w \"$helpers/../src/shmfs.8\"",
}
# Carried out by another test, in its own words.
ELSEWHERE = {
    "systemctl enable --now shmfs@$(systemd-escape --path /mnt/shm)": "tests/package/service.sh",
    "mount-helpers/quickstart": "tests/integration/quickstart.sh",
    "mount-helpers/quickstart ~/shm": "tests/integration/quickstart.sh",
    "mount-helpers/install-deps --tests --bench": "tests/selftest",
    "cmake -B build -DBUILD_TESTING=ON": "tests/selftest",
    "shmfs ~/shm": "needs AppArmor",
    "cmake --build build --target bench": "tests/bench",
    "getfattr -n user.shm.attached /mnt/shm/PostgreSQL.*": "tests/docs/postgresql.sh",
    "docker inspect -f '{{.State.Pid}}' NAME": "no docker here",
}

# Programs that map the file.
MAPS = r"^(vmtouch|fincore|numactl) |memmap"

# The machine that the pages speak of.  `work` is empty, and helpers are those of mount-helpers.
MACHINE = r"""
mount -t tmpfs -o mode=0755 commands /mnt
mount -t tmpfs -o mode=0755 commands /run
mount -t tmpfs -o mode=1777 commands /dev/shm
mount -t tmpfs -o mode=0755 commands /srv
mkdir /mnt/shm /mnt/text /mnt/there /mnt/container sbin original home
mount --bind /sbin original
find "$PWD/original" -mindepth 1 -maxdepth 1 -exec ln -s -t sbin {} +
ln -sf "$helpers/mount.shmfs" sbin/mount.shmfs
mount --bind sbin /sbin
mount --bind bin /usr/local/bin
sed "s|^\(root:.*\):[^:]*:\([^:]*\)$|\1:$HOME:\2|" /etc/passwd >passwd
mount --bind passwd /etc/passwd
touch /srv/app.conf
mkdir -m 700 home/.ssh
cd home
ssh-keygen -q -t ed25519 -N '' -f .ssh/id_ed25519
cp .ssh/id_ed25519.pub .ssh/authorized_keys
printf 'Host server\nHostname 127.0.0.1\nStrictHostKeyChecking no\nLogLevel ERROR\n' >.ssh/config
dropbearkey -t ed25519 -f hostkey >/dev/null 2>&1
dropbear -r hostkey -p 127.0.0.1:22 -P /run/dropbear.pid
shmfs /mnt/shm
"""
# Before each display: a mount, a key, an object, and a process for gdb to look into.
BEFORE = r"""
mountpoint -q /mnt/shm || shmfs /mnt/shm
echo hi >/mnt/shm/3148
[ -e /mnt/shm/frames ] || truncate -s 1M /mnt/shm/frames
echo configured >"/mnt/shm/$(shmfs-key /srv/app.conf A)"
sleep 60 & process=$!
"""


def roff_text(line):
    return line.replace(r"\&", "").replace(r"\e", "\\").replace(r"\-", "-")


def displays(page):
    """The lines of each display of a manual page."""
    inside = None
    for line in page.splitlines():
        if line.startswith(".Dl "):
            yield [roff_text(line[4:])]
        elif line.startswith(".Bd -literal"):
            inside = []
        elif line == ".Ed":
            yield inside
            inside = None
        elif inside is not None:
            inside.append(roff_text(line))


def steps(lines):
    """Pairs of a command and the lines that it must print."""
    result = []
    for line in lines:
        if line.startswith(("# ", "$ ")):
            result.append((line[2:], []))
        elif result and result[-1][0].count("'") % 2:
            result[-1] = (result[-1][0] + "\n" + line, [])
        elif result:
            result[-1][1].append(line)
        else:
            result.append((f"echo {shlex.quote(line)} >fstab; mount -a -T fstab", []))
    return result


def inline_commands(readme):
    """What stands between backquotes in README.md, outside of blocks, and is a command."""
    text = re.sub(r"^```.*?^```$", "", readme, flags=re.M | re.S)
    for span in re.findall(r"`([^`\n]+)`", text):
        word = span.split()[0]
        if " " in span and (shutil.which(word, path=PATH) or word == "docker" or
                            word.startswith(("mount-helpers/", "tests/"))):
            yield span


def matches(expected, printed):
    pattern = r"\s+".join(re.escape(word).replace(r"\.\.\.", ".*") for word in " ".join(expected).split())
    return re.fullmatch(pattern, " ".join(printed.split()))


def run(command, expected):
    """Returns what is wrong, or None."""
    if command in ELSEWHERE:
        return None
    for pattern, text in SUBSTITUTES.items():
        command = re.sub(pattern, text, command)
    before = BEFORE
    if "/mnt/shm" in command and re.search(r"^shmfs |\bmount (-a|-t shmfs) ", command):
        before += "umount -R /mnt/shm\n"
    try:
        done = subprocess.run(
            ["bash", "-c", f"{before}({command}\n)\nstatus=$?; kill $process; exit $status"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=TIME_LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return "it does not end"
    printed = done.stdout.replace(b"\0", b"").decode(errors="replace")
    if done.returncode:
        return f"exit status {done.returncode}: {printed}"
    if expected and not matches(expected, printed):
        return f"it prints {printed}"
    return None


def set_up(shmfs, source, work):
    os.chdir(work)
    os.mkdir("bin")
    for program in ("shmfs", "shmfs-key"):
        shutil.copy(os.path.join(os.path.dirname(shmfs), program), "bin")
    os.environ.update(PATH=PATH, HOME=os.path.join(work, "home"), LC_ALL="C.UTF-8", USER="root",
                      helpers=os.path.join(source, "mount-helpers"))
    # ifr_flags of "lo": IFF_UP and IFF_RUNNING
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, 0x8914, struct.pack("16sH14x", b"lo", 0x41))
    subprocess.run(["bash", "-eu", "-c", MACHINE], check=True)


def run_all(shmfs, source, work):
    texts = []
    for name in ("src/shmfs.8", "src/shmfs-key/shmfs-key.1", "mount-helpers/mount.shmfs.8"):
        with open(os.path.join(source, name), encoding="utf-8") as page:
            texts.append((name, [step for lines in displays(page.read()) for step in steps(lines)]))
    with open(os.path.join(source, "README.md"), encoding="utf-8") as readme:
        texts.append(("README.md", [(command, []) for command in inline_commands(readme.read())]))
    set_up(shmfs, source, work)
    can_map = os.getxattr("/mnt/shm", "user.shmfs.engine") == b"passthrough"
    count = failures = 0
    for name, commands in texts:
        for command, expected in commands:
            if not can_map and re.search(MAPS, command):
                print(f"skipped: needs passthrough: {command}")
                continue
            count += 1
            wrong = run(command, expected)
            if wrong:
                failures += 1
                print(f"FAILED: {name}: {command}\n{wrong}")
    subprocess.run(["umount", "-R", "/mnt/there", "/mnt/text", "/mnt/shm"], check=False,
                   stderr=subprocess.DEVNULL)
    print(f"{count} commands, {failures} failures")
    return 1 if failures or count < 20 else 0


def main():
    if len(sys.argv) != 3:
        print(__doc__, file=sys.stderr)
        return 2
    shmfs, source = (os.path.realpath(argument) for argument in sys.argv[1:])
    if "COMMANDS_WORK" in os.environ:
        work = os.environ.pop("COMMANDS_WORK")
        subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=0755", "commands", work], check=True)
        return run_all(shmfs, source, work)
    missing = [program for program in PROGRAMS.split() if not shutil.which(program, path=PATH)]
    if not importlib.util.find_spec("numpy"):
        missing.append("numpy")
    if os.geteuid() != 0 or missing:
        print("skipped: needs root to mount" if not missing else f"skipped: no {', '.join(missing)}")
        return SKIPPED
    with tempfile.TemporaryDirectory() as work:
        return subprocess.run(
            ["unshare", "--mount", "--ipc", "--pid", "--net", "--fork", "--kill-child",
             "--mount-proc", "--", sys.argv[0], shmfs, source],
            env={**os.environ, "COMMANDS_WORK": work}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
