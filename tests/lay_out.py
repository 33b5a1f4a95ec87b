"A tree as Kaggle lays it out, read-only, and commands that run in it without network."
import json
import os
import shutil
import zipfile
from pathlib import Path

from project import run

# A new root in memory: the machine's own folders, and /kaggle, whose input cannot be written, even by root.
ENTER = """
set -eu
root=/mnt
mount -t tmpfs tmpfs $root
for place in /*; do
    name=${place#/}
    if [ -L "$place" ]; then cp -P "$place" "$root/$name"
    elif [ -d "$place" ] && [ "$place" != $root ] && [ "$name" != kaggle ]; then
        mkdir "$root/$name"
        mount --rbind "$place" "$root/$name"
    fi
done
mkdir -p $root/kaggle/input $root/kaggle/working
mount --bind "$1" $root/kaggle/input
mount -o remount,bind,ro $root/kaggle/input
mount --bind "$2" $root/kaggle/working
shift 2
exec chroot $root /bin/sh -c 'cd /kaggle/working && exec "$@"' sh "$@"
"""

def attach(uploaded: Path, place: Path, competition: Path, output: Path | None = None) -> Path: # place
    "Make the folder that Kaggle mounts as /kaggle/input, from the folder that `latentkit kaggle` wrote."
    facts = json.loads((uploaded/"kernel"/"kernel-metadata.json").read_text("utf-8"))
    dataset, kernel = place/"datasets"/facts["dataset_sources"][0], place/"notebooks"/facts["kernel_sources"][0]
    shutil.copytree(competition, place/"competitions"/facts["competition_sources"][0])
    shutil.copytree(uploaded/"dataset", dataset, ignore=shutil.ignore_patterns("*-metadata.json"))
    for path in dataset.glob("*.zip"): # Kaggle unpacks them
        zipfile.ZipFile(path).extractall(path.with_suffix(""))
        path.unlink()
    if output:
        shutil.copytree(output, kernel)
    for path in place.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    return place

def on_kaggle(place: Path, working: Path, *command: str | Path, **options):
    "A finished command in /kaggle/working, with `place` as /kaggle/input, in a network that has no way out."
    own = ["unshare", "--mount", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount", "--net"]
    return run(*own, "bash", "-c", ENTER, "enter", place, working, *command, **options)
