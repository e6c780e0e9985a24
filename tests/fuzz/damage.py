"""How files are damaged without knowing their format: pure functions of (content, random), and what stands in a file's
place that is no file."""

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

NUMBERS = (b"\xff" * 4, b"\xff" * 8, b"\x7f" + b"\xff" * 3, b"\x00" * 8, b"\x80\x00\x00\x00", b"\x00\x00\x00\x80")


def _place(content: bytes, random: Random) -> int:
    """A position, in the first or last hundred bytes in two of three cases: there the format says what it is."""
    near = random.randrange(min(100, len(content)))
    return random.choice((near, len(content) - 1 - near, random.randrange(len(content))))


def truncated(content: bytes, random: Random) -> bytes:
    return content[: _place(content, random)]


def beheaded(content: bytes, random: Random) -> bytes:
    return content[_place(content, random) + 1 :]


def bit_flipped(content: bytes, random: Random) -> bytes:
    place = _place(content, random)
    return content[:place] + bytes([content[place] ^ 1 << random.randrange(8)]) + content[place + 1 :]


def bits_flipped(content: bytes, random: Random) -> bytes:
    for _ in range(random.randint(2, 20)):
        content = bit_flipped(content, random)
    return content


def overwritten(content: bytes, random: Random) -> bytes:
    place, number = _place(content, random), random.choice(NUMBERS)
    return content[:place] + number + content[place + len(number) :]


def filled(content: bytes, random: Random) -> bytes:
    begin = _place(content, random)
    end = min(len(content), begin + random.randint(1, 200))
    return content[:begin] + random.randbytes(end - begin) + content[end:]


def digits_changed(content: bytes, random: Random) -> bytes:
    """Another digit, or 10,000 of them, in place of one: a shape, a length, a count, wherever they are text."""
    places = [i for i, byte in enumerate(content[:20_000]) if 48 <= byte <= 57]
    if not places:
        return bit_flipped(content, random)
    place = random.choice(places)
    new = random.choice((b"9", b"0", b"-1", b"1e999", b"NaN", b"999999999999", b"9" * 10_000, b"0.5"))
    return content[:place] + new + content[place + 1 :]


def doubled(content: bytes, random: Random) -> bytes:
    begin, end = sorted((_place(content, random), _place(content, random)))
    return content[:end] + content[begin:end] * random.randint(1, 3) + content[end:]


def shortened(content: bytes, random: Random) -> bytes:
    begin, end = sorted((_place(content, random), _place(content, random)))
    return content[:begin] + content[end:]


def followed(content: bytes, random: Random) -> bytes:
    return content + random.choice((b"\x00" * 1000, random.randbytes(50), content))


def emptied(content: bytes, random: Random) -> bytes:
    return b""


def noise(content: bytes, random: Random) -> bytes:
    return random.randbytes(random.choice((1, 8, 100, 5000)))


ONE: tuple[Callable[[bytes, Random], bytes], ...] = (
    *(truncated, beheaded, bit_flipped, bit_flipped, bit_flipped, bits_flipped, overwritten, filled),
    *(digits_changed, doubled, shortened, followed, emptied, noise),
)


def spliced(one: bytes, other: bytes, random: Random) -> bytes:
    return one[: _place(one, random)] + other[_place(other, random) :]


def foreign(one: bytes, other: bytes, random: Random) -> bytes:
    return other


# -- no file in a file's place; each takes the path, at which nothing is any more


def folder(path: Path) -> None:
    path.mkdir()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def nowhere(path: Path) -> None:
    path.symlink_to("none")


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def absent(path: Path) -> None:
    pass


def nested(path: Path) -> None:
    """A folder in the file's place, and in it a link back to the folder above."""
    path.mkdir()
    (path / path.name).symlink_to("..")


PLACES: tuple[Callable[[Path], None], ...] = (folder, pipe, loop, nowhere, endless, absent, nested)
