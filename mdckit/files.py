"""Files of tensors and of JSON: written atomically, and read only as they were written."""

import hashlib
import json
import re
import reprlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from .atomic import check_writable as check_writable
from .atomic import whole_folder as whole_folder
from .atomic import write_atomically

LARGEST_TEXT = 2**24  # letters of JSON that are parsed: a hundred times what this kit writes
DEEPEST = 50  # lists and entries within each other; the kit writes six


def inside(folder: str | Path, name: str) -> Path:
    """The place of a file of this name in or below `folder`; raises ValueError for a name that leads out of it."""
    path = Path(folder) / name
    if not path.resolve().is_relative_to(Path(folder).resolve()):
        raise ValueError(f"the name {name!r} leads out of the folder {folder}: choose another")
    return path


def require_file(path: str | Path, what: str) -> Path:
    """The path, if it is a file with bytes in it: no folder, nor a pipe or device, whose reading would never end.

    Raises FileNotFoundError.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}: expected {what}")
    return path


def brief(error: object) -> str:
    """What an error of a library says, in a line: of damaged files some repeat half, or add where in C++ they were.

    >>> brief(ValueError("unknown type\\nraised from ..."))
    'unknown type'
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def save_json(path: str | Path, value: object) -> Path:
    """Write `value` as indented JSON, atomically."""
    return write_atomically(path, (json.dumps(value, indent=1) + "\n").encode())


def load_json(path: str | Path) -> object:
    """Read a JSON file; raises FileNotFoundError, or ValueError naming a file that is something else."""
    path = require_file(path, "JSON")
    with path.open("rb") as file:
        text = file.read(LARGEST_TEXT + 1)
    try:
        return parse_json(text.decode())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None


def parse_json(text: str) -> object:
    """The value of a JSON text; raises ValueError for any that is not the plain writing of one value."""
    if len(text) > LARGEST_TEXT:
        raise ValueError(f"it is longer than {LARGEST_TEXT:,} letters")
    with suppress(RecursionError):
        value = json.loads(text, object_pairs_hook=_entries)
        brackets = re.sub(r'"[^"\\]*(?:\\.[^"\\]*)*"|[^][{}"]+', "", text)
        for _ in range(DEEPEST):
            brackets = brackets.replace("[]", "").replace("{}", "")
        if not brackets:
            return value
    raise ValueError(f"it is nested more than {DEEPEST} deep")


def _entries(pairs: list[tuple[str, object]]) -> dict:
    entries = {}
    for name, value in pairs:
        if name in entries:
            raise ValueError(f"the entry {name[:40]!r} stands there twice")
        entries[name] = value
    return entries


def save_tensors(path: str | Path, tensors: Mapping[str, Tensor], info: Mapping) -> Path:
    """Write tensors and a JSON-able `info` as one safetensors file with a digest of both, atomically."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    info = {**info, "sha256": _digest(plain, info)}
    return write_atomically(path, safetensors.torch.save(plain, {"mdckit": json.dumps(info)}))


def load_tensors(path: str | Path, kind: str) -> tuple[dict[str, Tensor], dict]:
    """Read a file of `save_tensors` back; its info must say that it is of this `kind`.

    Raises FileNotFoundError, or ValueError for a file that is truncated, foreign, of another kind or not as it was
    written. Files of earlier versions have no digest and are not compared with one.
    """
    path = require_file(path, f"a mdckit {kind} (safetensors)")
    try:
        _check_head(path)
        with safetensors.safe_open(path, framework="pt") as file:
            info = parse_json((file.metadata() or {}).get("mdckit", "null"))
            names = file.keys()
            tensors = {name: file.get_tensor(name) for name in names}
    except (safetensors.SafetensorError, ValueError) as error:
        raise ValueError(f"{path} is {_describe(path)}, not a mdckit {kind}: {brief(error)}") from None
    if not isinstance(info, dict) or info.get("kind") != kind:
        found = reprlib.repr(info.get("kind")).strip("'") if isinstance(info, dict) else _FOREIGN
        raise ValueError(f"{path} holds {found}, not a mdckit {kind}")
    if "sha256" in info and info.pop("sha256") != _digest(tensors, info):
        raise ValueError(
            f"{path} is damaged: its content is not what was written, so take another copy or make it anew"
        )
    return tensors, info


_FOREIGN = "a safetensors file of another program"


def _digest(tensors: Mapping[str, Tensor], info: Mapping) -> str:
    """SHA-256 of all that a file holds, in an order of its own."""
    digest = hashlib.sha256(_canonical(info))
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _canonical(info: Mapping) -> bytes:
    plain = json.loads(json.dumps(info))  # its keys are text now, which can be sorted
    return json.dumps(plain, sort_keys=True).encode()


def _check_head(path: Path) -> None:
    """Raise ValueError for a header that is longer than the file or than any that this kit writes."""
    size = path.stat().st_size
    with path.open("rb") as file:
        claimed = int.from_bytes(file.read(8), "little")
    if claimed > min(size - 8, 2 * LARGEST_TEXT):
        raise ValueError(f"its header claims {claimed:,} bytes of {size:,}")


def _describe(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(4)
    if head[:1] == b"\x80" or head == b"PK\x03\x04":
        return "a pickle or zip archive (which mdckit does not open)"
    return "truncated or not a safetensors file"
