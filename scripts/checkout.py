"""What the scripts share: the files of the checkout, also where there is no git,
and how a command is run and ended."""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# What cargo builds for all of them.
TARGET = ROOT / "target"
# How long a command may take to end what it began itself, in seconds.
GRACE = 10


def end_when_told():
    """At an interrupt as anywhere else, so that `run` ends what it has begun."""
    def end(*_):
        for number in told:
            signal.signal(number, signal.SIG_IGN)
        sys.exit(130)

    def too_long(*_):
        raise TimeoutError

    told = (signal.SIGINT, signal.SIGTERM)
    for number in told:
        signal.signal(number, end)
    signal.signal(signal.SIGALRM, too_long)


def run(command, env, longest=0, hear=None, silent=0, **how):
    """The exit status, or none where it took longer than so many seconds, or was
    silent for so many. What it says goes to `hear`, line by line."""
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} if hear else {}
    process = subprocess.Popen(command, env=env, start_new_session=True, **piped, **how)
    try:
        signal.setitimer(signal.ITIMER_REAL, longest or silent)
        if hear:
            listen(process.stdout, hear, silent)
        return process.wait()
    except TimeoutError:
        return None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if process.returncode is None:
            end_group(process)


def listen(pipe, hear, silent):
    """A test that hangs has begun a line, so what was not ended is heard as well."""
    begun = b""
    try:
        while some := os.read(pipe.fileno(), 1 << 16):
            if silent:
                signal.setitimer(signal.ITIMER_REAL, silent)
            *lines, begun = (begun + some).split(b"\n")
            for line in lines:
                hear(line.decode(errors="replace") + "\n")
    finally:
        if begun:
            hear(begun.decode(errors="replace") + "\n")


def end_group(process):
    """Asks first: what has begun groups of its own is alone in knowing them."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        until = time.monotonic() + GRACE
        while time.monotonic() < until:
            process.poll()
            os.killpg(process.pid, 0)
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def git(*args):
    """What git says, or `None` where it cannot."""
    try:
        done = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def count(text):
    """So many, of the command line."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 on")
    return int(text)


def has(commit):
    return git("rev-parse", "--verify", "--quiet", commit + "^{commit}") is not None


def commit(text):
    """One that is here, of the command line."""
    if not has(text):
        raise argparse.ArgumentTypeError(f"there is no {text} here to compare with")
    return text


def files():
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listed is not None:
        names = filter(None, listed.split("\0"))
    else:
        names = (
            str(path.relative_to(ROOT))
            for path in ROOT.rglob("*")
            if not {"target", ".git"} & set(path.relative_to(ROOT).parts)
        )
    return [name for name in names if (ROOT / name).is_file()]


def copy_to(tree):
    """Copies what has changed, with new times, so that cargo builds it anew;
    and removes what is not there any more."""
    contents = {name: (ROOT / name).read_bytes() for name in files()}
    contents |= changes(contents, tree.name)
    for name, content in contents.items():
        copy = tree / name
        if not copy.is_file() or copy.read_bytes() != content:
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
            shutil.copymode(ROOT / name, copy) if (ROOT / name).exists() else None
    keep = {tree / name for name in contents}
    for old in tree.rglob("*"):
        if old.is_file() and old not in keep:
            old.unlink()


def changes(contents, name):
    """What a copy has of its own.

    It bears another version, so that cargo takes no build of the one for the
    other's, and they can share what they depend on. Its public tests are one
    program too, since each program takes as long to build as a hundred tests,
    and it has no examples.
    """
    version = rb'(name = "laneway"\nversion = "[0-9.]+)"'
    other = rb'\1-' + name.encode() + b'"'
    manifest = re.sub(version, other, contents["Cargo.toml"], count=1)
    lock = re.sub(version, other, contents["Cargo.lock"], count=1)
    keys = b"\nautotests = false\nautoexamples = false\n"
    alone = [(file, f"tests/{file}.rs") for file in public_files(contents)]
    programs = [("public", "tests/public.rs"), *alone, *unnamed_programs(contents)]
    entries = "".join(f'\n[[test]]\nname = "{name}"\npath = "{path}"\n' for name, path in programs)
    # Before the first table that follows the package's own keys.
    manifest = manifest.replace(b"\n[features]", keys + entries.encode() + b"\n[features]", 1)
    return {"Cargo.toml": manifest, "Cargo.lock": lock, "tests/public.rs": public_tests(contents)}


def unnamed_programs(contents):
    """Those of several files that cargo finds by itself, unless it is told not to."""
    found = [re.fullmatch(r"tests/(\w+)/main\.rs", name) for name in sorted(contents)]
    return [(it[1], it[0]) for it in found if it and it[0].encode() not in contents["Cargo.toml"]]


def public_files(contents):
    # The tests of the examples are not of the crate, and build these themselves.
    examples = {"agent_runner", "chat_gateway", "traces"}
    names = [re.fullmatch(r"tests/(\w+)\.rs", name) for name in contents]
    return sorted(found[1] for found in names if found and found[1] not in examples)


def public_tests(contents):
    names = public_files(contents)
    # A lint that holds for one of these files would hold for all of them.
    lines = ["#![allow(warnings)]", *(f'#[path = "{name}.rs"]\nmod {name};' for name in names)]
    return "\n".join(lines).encode() + b"\n"
