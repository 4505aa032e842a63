"""The files of the checkout, for those who copy it; also where there is no git."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def git(*args):
    """What git says, or `None` where it cannot."""
    try:
        done = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


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
    keep = set()
    for name in files():
        source, copy = ROOT / name, tree / name
        keep.add(copy)
        if not copy.is_file() or copy.read_bytes() != source.read_bytes():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
    for old in tree.rglob("*"):
        if old.is_file() and old not in keep:
            old.unlink()
