"""The main path, ``confined.py RESULTS IMAGES``, in a process that can open no internet socket and tells every write.

The last line printed is a JSON object: the paths of all writes, the sockets refused (with who asked), the modules
imported. An audit hook sees what Python code does; what C code writes is seen by looking at the folders afterwards.
"""

import json
import os
import pkgutil
import socket
import sys
import traceback
from pathlib import Path

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGING = {  # audit event -> how many of its first arguments are paths
    "os.mkdir": 1,
    "os.rename": 2,
    "os.remove": 1,
    "os.rmdir": 1,
    "os.link": 2,
    "os.symlink": 2,
    "os.truncate": 1,
    "os.chmod": 1,
    "os.utime": 1,
    "shutil.copyfile": 2,
    "shutil.copytree": 2,
    "shutil.move": 2,
    "shutil.rmtree": 1,
}
writes, refused = [], []


def confine(event, arguments):
    if event == "socket.__new__" and arguments[1] in (socket.AF_INET, socket.AF_INET6):
        refused.append(Path(traceback.extract_stack()[-3].filename).parts[-3:])
        raise PermissionError(f"no internet sockets here: family {arguments[1]} asked for")
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING and type(arguments[0]) is not int:
        writes.append(arguments[0])
    elif event in CHANGING:
        writes.extend(path for path in arguments[: CHANGING[event]] if type(path) is not int)


def whole(path):
    """The path as one from the root; a relative one is one of the working folder."""
    return os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - links stay as they are


def import_everything():
    import mdckit

    names = [module.name for module in pkgutil.walk_packages(mdckit.__path__, "mdckit.")]
    for name in names:
        if name != "mdckit.__main__":
            __import__(name)
    return names


def main_path(results, images):
    import mdckit
    from mdckit import baselines
    from mdckit.interactive import live

    quiet = {"show_progress": False}
    data = mdckit.load(images)
    settings = {"ipc": 2, "outer": 1, "inner": 2, "period": 1, "width": 4, "depth": 2, "batch_real": 4}
    config = mdckit.CondenseConfig.preset("digits", "quick", **settings)
    brief = mdckit.TrainConfig(epochs=4, width=4, depth=2, seeds=(0,), augment="color_crop")
    condensed = mdckit.condense(data, [baselines.mdc()], config, checkpoint=results / "run/run.safetensors", **quiet)[
        "mdc"
    ]
    live.condense(data, [baselines.mdc()], config, checkpoint=results / "live/run.safetensors", headless=True).save()
    mdckit.evaluate(condensed, data, brief)
    mdckit.record_dynamics(condensed, brief, **quiet).save(results / "dynamics.safetensors")
    mdckit.CondensedSet.load(condensed.save(results / "sets/mdc.safetensors"))
    mdckit.export.to_image_folder(condensed, results / "png")
    mdckit.export.to_npz(condensed, results / "mdc.npz")
    mdckit.export.to_ddranking(condensed, results / "ddranking")
    mdckit.export.to_parquet(condensed, results / "hub", license="cc-by-4.0")
    experts = mdckit.train_experts(data, mdckit.ExpertConfig(1, 2, width=4, depth=1), results / "experts", **quiet)
    following = mdckit.MTTConfig(ipc=1, iterations=1, syn_steps=1, expert_epochs=1, max_start=1)
    mdckit.condense_mtt(data, experts, following, **quiet)
    mdckit.condense_kip(data, mdckit.KIPConfig(ipc=1, steps=1, targets=2), **quiet)


if __name__ == "__main__":
    sys.addaudithook(confine)
    names = import_everything()
    main_path(*map(Path, sys.argv[1:]))
    found = {"writes": sorted(set(map(whole, writes))), "refused": refused, "modules": names}
    print(json.dumps(found))
