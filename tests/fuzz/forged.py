"""Files that are forged: whole as files of their format, but wrong in what they say. Functions of (content, random,
canary), where the canary is a folder that appears if code in a file is run."""

import ast
import io
import json
import os
import pickle
import re
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path
from random import Random

import numpy as np
import safetensors.torch
import torch
from PIL import Image

from mdckit import files
from tests.fuzz import forged_json


class Code:
    """What makes a folder when it is unpickled."""

    def __init__(self, canary: Path):
        self.canary = str(canary)

    def __reduce__(self):
        return os.mkdir, (self.canary,)


def code(content: bytes, random: Random, canary: Path) -> bytes:
    """A pickle that runs code, in each protocol, perhaps at the head of the file."""
    bare = pickle.dumps(Code(canary), random.randrange(6))
    return random.choice((bare, bare + content, content[:8] + bare))


# -- safetensors: 8 bytes of length, a JSON header, the tensors


def _header(content: bytes) -> tuple[dict, bytes]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def _with_header(header: str | dict, body: bytes, length: int | None = None) -> bytes:
    text = (header if isinstance(header, str) else json.dumps(header)).encode("utf-8", "surrogatepass")
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body


def safetensors_header(content: bytes, random: Random, canary: Path) -> bytes:
    """Another header over the same tensors, or another length of it."""
    header, body = _header(content)
    match random.randrange(4):
        case 0:
            return _with_header(header, body, random.choice((0, 1, 2**20, 2**31, 2**62, 2**63, 2**64 - 1)))
        case 1:
            return _with_header(forged_json.texts(json.dumps(header), random), body)
        case 2:
            return _with_header(forged_json.wrong(header, random), body)
    name = random.choice([key for key in header if key != "__metadata__"])
    change = {
        "shape": random.choice(([0], [2**62], [2**31, 2**31, 4], [-1], [1] * 100, [], [1.5])),
        "dtype": random.choice(("F64", "F16", "BF16", "I8", "U8", "BOOL", "F8_E4M3", "C64", "X")),
        "data_offsets": random.choice(([0, 0], [0, 2**63], [4, 0], [-4, 0], [0, len(body) * 2], [0])),
    }
    picked = random.choice(list(change))
    return _with_header(header | {name: header[name] | {picked: change[picked]}}, body)


def safetensors_info(content: bytes, random: Random, canary: Path) -> bytes:
    """Other info: with the digest of the right one, without any, or with one of its own."""
    tensors, info = safetensors.torch.load(content), json.loads(_header(content)[0]["__metadata__"]["mdckit"])
    kind, known = info["kind"], info.pop("sha256")
    if random.random() < 0.1:
        return safetensors.torch.save(tensors, {"mdckit": forged_json.texts(json.dumps(info), random)})
    wrong = forged_json.wrong(info, random)
    if isinstance(wrong, dict) and random.random() < 0.9:
        wrong["kind"] = kind
    if isinstance(wrong, dict):
        seal = random.choice((None, None, None, known, files._digest(tensors, wrong)))
        wrong |= {"sha256": seal} if seal else {}
    return safetensors.torch.save(tensors, {"mdckit": json.dumps(wrong)})


def safetensors_tensors(content: bytes, random: Random, canary: Path) -> bytes:
    """Other tensors under the same info: types, shapes, numbers, names."""
    tensors, info = safetensors.torch.load(content), json.loads(_header(content)[0]["__metadata__"]["mdckit"])
    del info["sha256"]
    name = random.choice(list(tensors))
    whole = tensors[name]
    dtypes = (torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.int64, torch.bool, torch.uint8)
    made = {
        "type": lambda: whole.to(random.choice(dtypes)),
        "shape": lambda: random.choice((whole[:0], whole[:1], whole.flatten(), whole[None], whole.transpose(0, -1))),
        "number": lambda: whole.double().flatten().index_fill(0, torch.tensor(0), odd).view_as(whole).to(whole.dtype),
        "scalar": lambda: torch.tensor(1.0),
        "empty": lambda: torch.empty(0, 3, 2**40 if random.random() < 0.3 else 4),
    }
    odd = random.choice((float("nan"), float("inf"), -1.0, 1e30, 300.0))
    change = random.choice((*made, "gone", "renamed", "added"))
    if change in made:
        tensors[name] = made[change]().contiguous()
    elif change == "added":
        tensors["../x"] = torch.zeros(2)
    else:
        kept = tensors.pop(name)
        tensors |= {random.choice(("x", "../../x", "", "images\x00")): kept} if change == "renamed" else {}
    return safetensors.torch.save(tensors, {"mdckit": json.dumps(info)})


SAFETENSORS = (safetensors_header, safetensors_info, safetensors_info, safetensors_info, safetensors_tensors)

# -- zip archives


def _unzip(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zip(parts: list[tuple[str, bytes]], packed: bool = False) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for name, part in parts:
            archive.writestr(zipfile.ZipInfo(name), part, compress_type=archive.compression)
    return buffer.getvalue()


def zip_names(content: bytes, random: Random, canary: Path) -> bytes:
    """Parts under names that lead elsewhere, twice, or into each other's place."""
    parts = list(_unzip(content).items())
    i = random.randrange(len(parts))
    name, part = parts[i]
    base = name.rpartition("/")[2]
    new = random.choice(
        ("../" * 5 + base, "/tmp/mdckit-out/" + base, "", name + "/", "a" * 300, "é\\" + base, base[1:])
    )
    link = zipfile.ZipInfo(name)
    link.external_attr = 0o120777 << 16  # a symbolic link, where they are unpacked
    match random.randrange(4):
        case 0:
            parts[i] = new, part
        case 1:
            parts.append((new, part))
        case 2:
            other = random.randrange(len(parts))
            parts[i], parts[other] = (name, parts[other][1]), (parts[other][0], part)
        case _:
            buffer = io.BytesIO(_zip(parts[:i] + parts[i + 1 :]))
            with zipfile.ZipFile(buffer, "a") as archive:
                archive.writestr(link, "../../out")
            return buffer.getvalue()
    return _zip(parts, packed=random.random() < 0.3)


def zip_bomb(content: bytes, random: Random, canary: Path) -> bytes:
    """One part that unpacks to a thousand times the file."""
    parts = list(_unzip(content).items())
    i = random.randrange(len(parts))
    parts[i] = parts[i][0], parts[i][1] + bytes(10**8)
    return _zip(parts, packed=True)


def zip_lie(content: bytes, random: Random, canary: Path) -> bytes:
    """Sizes in the directory at the end that are not those of the parts."""
    places = [m.start() for m in re.finditer(b"PK\x01\x02", content)]
    place = random.choice(places) + random.choice((10, 16, 20, 24, 28, 42))
    return (
        content[:place] + random.choice((b"\xff\xff\xff\x7f", b"\x00" * 4, b"\x10\x00\x00\x00")) + content[place + 4 :]
    )


ZIP = (zip_names, zip_bomb, zip_lie)


def torch_zip(content: bytes, random: Random, canary: Path) -> bytes:
    """The same for files of torch.save, which are zip archives or else end early."""
    return (
        random.choice(ZIP)(content, random, canary)
        if content[:2] == b"PK"
        else content[: random.randrange(len(content))]
    )


# -- npz


def _npy(header: str, body: bytes, version: tuple[int, int] = (1, 0)) -> bytes:
    text = header.encode("latin1") + b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version[0] == 1 else "<I", len(text)) + text + body


def npz_header(content: bytes, random: Random, canary: Path) -> bytes:
    """An array whose header claims another shape, type or order, or holds an expression."""
    parts = _unzip(content)
    name = random.choice(list(parts))
    array = np.load(io.BytesIO(parts[name]))
    shape = random.choice(
        (array.shape, (10**12,), (2**62, 4), (-1,), (0, 10**18), (), (1,) * 40, tuple(array.shape[::-1]))
    )
    descr = random.choice(
        (array.dtype.str, "'|O'", "<f8", ">f4", "<U1000000", "<c16", "|V8", "<M8[s]", "<f2", "('<f4', (1000000,))")
    )
    descr = descr if descr[0] in "('" else repr(descr)
    header = "{'descr': %s, 'fortran_order': %s, 'shape': %s}" % (descr, random.choice(("True", "False")), shape)  # noqa: UP031
    header = random.choice(
        (
            header,
            header,
            header,
            header,
            "(" * 500 + ")" * 500,
            "-" * 9000 + "1",
            f"__import__('os').mkdir({str(canary)!r})",
        )
    )
    parts[name] = _npy(header, parts[name][-array.nbytes :], random.choice(((1, 0), (2, 0), (3, 0), (9, 9))))
    return _zip(list(parts.items()))


def npz_arrays(content: bytes, random: Random, canary: Path) -> bytes:
    """Other arrays: of objects, of text, of other types, missing, not arrays at all."""
    arrays = {name: np.load(io.BytesIO(part)) for name, part in _unzip(content).items()}
    name = random.choice(list(arrays))
    whole = arrays[name]
    made = (
        lambda: np.array([Code(canary)], dtype=object),
        lambda: whole.astype(str) if whole.size < 5000 else np.array("text"),
        lambda: (
            whole.astype(random.choice((">f4", "f2", "i1", "u2", "f8", "c8", "?")))
            if whole.dtype.kind != "U"
            else whole
        ),
        lambda: whole.reshape(-1)[: random.randrange(5)],
        lambda: np.zeros((0, 3)),
        lambda: np.full(whole.shape, random.choice((np.nan, np.inf, -1, 1e30))),
    )
    arrays[name] = random.choice(made)()
    parts = []
    for key, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array)
        parts.append((key, buffer.getvalue()))
    change = random.randrange(5)
    if change == 0:
        del parts[random.randrange(len(parts))]
    elif change == 1:
        parts.append((random.choice(("images.npy", "images", "x")), b"no array"))
    return _zip(parts, packed=random.random() < 0.5)


def npz_info(content: bytes, random: Random, canary: Path) -> bytes:
    """mdckit's own npz file with other info."""
    arrays = {name.removesuffix(".npy"): np.load(io.BytesIO(part)) for name, part in _unzip(content).items()}
    info = json.loads(str(arrays["info"]))
    if random.random() < 0.2:
        text = forged_json.texts(json.dumps(info), random)[:200_000]
    else:
        text = json.dumps(forged_json.wrong(info, random))
    buffer = io.BytesIO()
    np.savez(buffer, **arrays | {"info": np.array(text)})
    return buffer.getvalue()


# -- torch.save


def torch_code(content: bytes, random: Random, canary: Path) -> bytes:
    """Tensors, and code beside them; in a zip file, in the older format, or in the oldest, a tar file."""
    images, labels, buffer = torch.rand(6, 3, 8, 8), torch.arange(6), io.BytesIO()
    value = random.choice(
        ([images, labels, Code(canary)], {"data": [[images, labels]], "x": Code(canary)}, Code(canary))
    )
    torch.save(value, buffer, _use_new_zipfile_serialization=random.random() < 0.5)
    if random.random() < 0.7:
        return buffer.getvalue()
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("sys_info", "pickle", "storages", "tensors", "../../out"):
            part = pickle.dumps(Code(canary), 2)
            entry = tarfile.TarInfo(name)
            entry.size = len(part)
            tar.addfile(entry, io.BytesIO(part))
    return packed.getvalue()


def torch_values(content: bytes, random: Random, canary: Path) -> bytes:
    """Other values than plain tensors of the right shape."""
    images, labels = torch.rand(6, 3, 8, 8), torch.arange(6)
    shared = torch.rand(1)
    value = random.choice(
        (
            [images, labels.float()],
            [images.to_sparse(), labels],
            [images[:, :2], labels],
            [shared.expand(10**6, 3, 32, 32), labels],
            [images, torch.zeros(1, dtype=torch.int64).expand(2 * 10**9)],
            [images.to(torch.complex64), labels],
            [images * float("nan"), labels],
            [images, labels - 1],
            [images.half(), labels.to(torch.uint8)],
            [torch.quantize_per_tensor(images, 0.1, 0, torch.quint8), labels],
            [images.to("meta"), labels],
            [torch.nn.Parameter(images), labels],
            [images.bool(), labels],
            [images[:0], labels[:0]],
            {"data": []},
            {"data": images},
            {"data": [[images, labels], [images]]},
            [images],
            images,
            {"data": [[images, labels]], "accs_all_exps": {"x" * 10_000: [1.0]}},
            [torch.nested.nested_tensor([images, images[:2]]), labels],
            [torch.rand(6, 3, 8, 8, dtype=torch.float64), labels],
            "text",
            None,
        )
    )
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=random.random() < 0.6)
    return buffer.getvalue()


def torch_pickle(content: bytes, random: Random, canary: Path) -> bytes:
    """A pickle of harmless instructions that take for ever, or for which there is no memory."""
    levels = random.choice((30, 60, 5000))
    doubling = b"".join(b"q%ch%c\x86" % (i % 250, i % 250) for i in range(levels))  # (x, x) of (x, x) of ...
    made = (
        b"\x80\x02}K\x01" + doubling + b"K\x01s.",  # as a name in a dict
        b"\x80\x02}K\x01" + b"\x85" * 100_000 + b"K\x01s.",
        b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R.",
        b"\x80\x02ccollections\nOrderedDict\n]K\x01" + doubling + b"a\x85R.",
        b"\x80\x02]" + b"]a" * 1000 + b".",
        b"\x80\x02" + b"](" * 100_000 + b".",
        b"\x80\x02\x8b\xff\xff\xff\x7f.",
        b"\x80\x02X\xff\xff\xff\x7fabc.",
        b"\x80\x02cos\nmkdir\nX" + struct.pack("<I", len(str(canary))) + str(canary).encode() + b"\x85R.",
    )
    pickled = random.choice(made)
    if content[:2] == b"PK":
        parts = _unzip(content)
        return _zip([(name, pickled if name.endswith(".pkl") else part) for name, part in parts.items()])
    head = content[:14]
    return random.choice((pickled, head + b"\x80\x02M\xe9\x03." + b"\x80\x02}." + pickled + b"\x80\x02]."))


def torch_sizes(content: bytes, random: Random, canary: Path) -> bytes:
    """A pickle that claims storages of other sizes than there are."""
    numbers = [m.start() for m in re.finditer(rb"cpuq.[JMK]", content, re.DOTALL)]
    if not numbers:
        return torch_zip(content, random, canary)
    place = random.choice(numbers) + 5
    width = {b"J": 4, b"M": 2, b"K": 1}[content[place : place + 1]]
    new = random.choice((2**31 - 1, 10**6, 1, 0, 5000)).to_bytes(4, "little")
    changed = content[:place] + b"J" + new + content[place + 1 + width :]
    if content[:2] != b"PK":
        return changed
    parts = _unzip(content)
    name = next(name for name in parts if name.endswith(".pkl"))
    pickled = parts[name]
    inner = re.search(rb"cpuq.[JMK]", pickled, re.DOTALL).start() + 5
    width = {b"J": 4, b"M": 2, b"K": 1}[pickled[inner : inner + 1]]
    parts[name] = pickled[:inner] + b"J" + new + pickled[inner + 1 + width :]
    return _zip(list(parts.items()))


TORCH = (torch_code, torch_values, torch_values, torch_pickle, torch_sizes, torch_zip)

# -- pictures


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _png(width: int, height: int, body: bytes, bits: int = 8, colour: int = 2, more: bytes = b"") -> bytes:
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + more + _chunk(b"IDAT", body) + _chunk(b"IEND", b"")


def pictures(content: bytes, random: Random, canary: Path) -> bytes:
    """Pictures that claim what they do not hold, or hold far more than their bytes."""
    match random.randrange(8):
        case 0:  # small files of many pixels
            side = random.choice((4000, 9000, 13_000, 60_000))
            return _png(side, side, zlib.compress(bytes(min(side * side * 3, 5 * 10**7)), 9))
        case 1:
            return _png(random.choice((0, 2**31 - 1, 8)), random.choice((1, 8, 2**30)), zlib.compress(bytes(200)))
        case 2:  # long and narrow
            return _png(8_000_000, 2, zlib.compress(bytes(8_000_000 * 6 + 2)))
        case 3:  # text that unpacks
            text = b"Comment\x00\x00" + zlib.compress(bytes(10**8), 9)
            return _png(8, 8, zlib.compress(bytes(200)), more=_chunk(b"zTXt", text) * random.choice((1, 5)))
        case 4:
            bits, colour = random.choice(((16, 0), (16, 2), (1, 3), (8, 6), (3, 5), (8, 3)))
            return _png(8, 8, zlib.compress(bytes(2000)), bits, colour)
        case 5:  # a JPEG of thousands of scans over many pixels
            buffer = io.BytesIO()
            Image.new("RGB", (3000, 3000)).save(buffer, "JPEG", progressive=True)
            whole = buffer.getvalue()
            scans = whole[whole.index(b"\xff\xda") : -2]
            return whole[:-2] + scans * random.choice((3, 200)) + whole[-2:]
        case 6:  # PostScript, which Pillow would hand to a program
            script = f"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(%pipe%mkdir {canary}) (w) file closefile\n"
            return script.encode()
    place = content.find(b"\xff\xc0") + 5 if content[:2] == b"\xff\xd8" else 18
    return content[:place] + struct.pack(">HH", *random.choices((0, 1, 8, 65_500), k=2)) + content[place + 4 :]


# -- text


def yaml_text(content: bytes, random: Random, canary: Path) -> bytes:
    """Tags that make objects, aliases of aliases, depth, odd values, names twice."""
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    laughs += "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12))
    call = f"!!python/object/apply:os.mkdir ['{canary}']"
    odd = (".nan", ".inf", "9" * 10_000, "0x" + "f" * 5000, "2001-01-01", "!!binary aaaa", "!!set {a, b}", "~", "1e999")
    odd += (
        '"\\ud800"',
        '"\\"; import os; os.mkdir(\'' + str(canary) + "') #\"",
        "? [a]\n: b",
        "1:2:3",
        "!!omap [a: 1]",
    )
    deep = random.choice((30, 500, 20_000))
    lines = (
        laughs,
        f"ipc: {call}\n",
        f"{call}: 1\n",
        "ipc: !!python/name:os.system\n",
        "&a [*a]\n",
        "ipc: &a {b: *a}\n",
        "ipc: " + "[" * deep + "]" * deep,
        "ipc: " + "{a: " * deep + "1" + "}" * deep,
        "- " * deep + "a",
        "ipc:\n" + "\n".join(" " * i + "a:" for i in range(min(deep, 3000))),
        "ipc: 1\nipc: 2\n",
        "<<: {ipc: 3}\nipc: 4\n",
        *(f"ipc: {value}\n" for value in odd),
        *(f"{value}: 1\n" for value in ("1", "~", "[a, b]", "true", "é", "a b", '"x = 1; y"', "2001-01-01")),
        "just text",
        "[1, 2]",
        "--- \nipc: 1\n--- \nipc: 2\n",
        "ipc: " + "a" * 10**6,
        "ipc: |\n" + " text\n" * 5000,
        "ipc: '" + "''" * 20_000 + "'",
        "? " * 20_000,
        "\ufeffipc: 1",
    )
    return random.choice(lines).encode("utf-8", "surrogatepass")


def json_text(content: bytes, random: Random, canary: Path) -> bytes:
    """A record with odd values, or odd as text."""
    if random.random() < 0.15:
        return forged_json.texts(content.decode(), random).encode("utf-8", "surrogatepass")
    return json.dumps(forged_json.wrong(json.loads(content), random)).encode()


# -- parquet


def parquet(content: bytes, random: Random, canary: Path) -> bytes:
    """Other columns: of other types, nested, empty, with code in their description, far larger than the file."""
    import pyarrow
    from pyarrow import parquet as files_

    table = files_.read_table(io.BytesIO(content))
    images, labels = table["image"].to_pylist(), table["label"].to_pylist()
    evil = pickle.dumps(Code(canary))
    extension = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": evil}
    made = (
        lambda: {"image": images, "label": list(map(str, labels))},
        lambda: {"image": images, "label": [float("nan")] * len(labels)},
        lambda: {"image": images, "label": [None, *labels[1:]]},
        lambda: {"image": images, "label": [[label] for label in labels]},
        lambda: {"image": [image["bytes"] for image in images], "label": labels},
        lambda: {"image": ["text"] * len(images), "label": labels},
        lambda: {"image": [{"path": "../../x"}] * len(images), "label": labels},
        lambda: {"image": [{"bytes": None}] * len(images), "label": labels},
        lambda: {"image": images[:0], "label": labels[:0]},
        lambda: {
            "image": pyarrow.array(["x"]).take(pyarrow.array(np.zeros(3 * 10**6, int))),
            "label": np.zeros(3 * 10**6, int),
        },
        lambda: {"image": [{"bytes": bytes(5 * 10**7)}] * 6, "label": labels[:6]},
        lambda: {"image": images, "label": pyarrow.array(labels).dictionary_encode()},
        lambda: {"img": images, "fine_label": labels},
        lambda: {"image": images, "label": [2**62, *labels[1:]]},
        lambda: {"": images, "label": labels},
    )
    table = pyarrow.table(random.choice(made)())
    if random.random() < 0.15:
        column = table.schema.field(table.num_columns - 1).with_metadata(extension)
        table = table.cast(table.schema.set(table.num_columns - 1, column))
    metadata = random.choice(
        (None, None, {"pandas": "[" * 100_000}, {"pandas": '{"columns": 3}'}, {"huggingface": "x"})
    )
    buffer = io.BytesIO()
    files_.write_table(
        table.replace_schema_metadata(metadata), buffer, compression=random.choice(("snappy", "zstd", "none"))
    )
    return buffer.getvalue()


# -- the files of torchvision's data sets


def idx(content: bytes, random: Random, canary: Path) -> bytes:
    """MNIST's header with other dimensions or types."""
    dimensions = content[3]
    head = bytes((*content[:2], random.choice((8, 9, 10, 11, 13, 14, content[2])), random.choice((0, 1, 2, 3, 9))))
    sizes = [random.choice((0, 1, 28, 2**31, 2**32 - 1, int.from_bytes(content[4:8]))) for _ in range(dimensions)]
    return head + b"".join(size.to_bytes(4, "big") for size in sizes) + content[4 + 4 * dimensions :]


def literal(text: str) -> object:
    """What a line of code such as ``3`` or ``float('nan')`` stands for, which is all that parameters may be."""
    return ast.literal_eval(
        text.replace("float('nan')", "'nan'").replace("float('inf')", "1e999").replace("float('-inf')", "-1e999")
    )
