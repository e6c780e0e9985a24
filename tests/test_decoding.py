"""JPEG files decoded the fast way are what Pillow makes of them, and what is not plain is left to Pillow."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from mdckit import decoding
from mdckit.decoding import decode_images
from mdckit.rng import generator


def picture(mode="RGB"):
    """A smooth random image, as photographs are."""
    channels = {"L": 1, "RGB": 3, "CMYK": 4}[mode]
    blocks = torch.randint(0, 256, (6, 6, channels), generator=generator(0, "picture")).byte().numpy()
    return Image.fromarray(blocks.squeeze(), mode).resize((24, 29))


def by_pillow(path, mode):
    with Image.open(path) as image:
        return np.asarray(image.convert(mode)).reshape(image.height, image.width, -1)


def fail(*args):
    raise AssertionError("Pillow was asked")


def test_a_film_behind_a_photo_is_none_of_its_scans(tmp_path):
    path = tmp_path / "a.jpg"
    picture().save(path)
    wanted = by_pillow(path, "RGB")
    path.write_bytes(path.read_bytes() + np.random.default_rng(0).bytes(9_000_000))  # 0xffda stands there 137 times
    assert np.array_equal(decode_images([path])[0].permute(1, 2, 0), wanted)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 30, "subsampling": 2}, {"quality": 95}])
def test_plain_jpeg_files_are_pillows_to_the_bit(tmp_path, monkeypatch, mode, options):
    path = tmp_path / "a.jpg"
    picture(mode=mode).save(path, **options)
    wanted = by_pillow(path, mode)
    monkeypatch.setattr(decoding, "_by_pillow", fail)
    for asked in (None, mode):
        assert np.array_equal(decode_images([path], mode=asked)[0].permute(1, 2, 0), wanted)


@pytest.mark.parametrize(("stored", "asked"), [("CMYK", None), ("RGB", "L"), ("L", "RGB")])
def test_jpeg_files_of_other_colours_are_converted_by_pillow(tmp_path, stored, asked):
    path = tmp_path / "a.jpg"
    picture(mode=stored).save(path)
    assert np.array_equal(decode_images([path], mode=asked)[0].permute(1, 2, 0), by_pillow(path, asked or "RGB"))


@pytest.mark.parametrize("side", [8, 160])  # small files are left to one thread
def test_more_files_than_a_thread_takes_at_a_time_keep_their_order(tmp_path, side):
    assert (side * side * 3 >= decoding.SMALL) == (side == 160)
    paths = [tmp_path / f"{i}.jpg" for i in range(2 * decoding.CHUNK + 3)]
    for i, path in enumerate(paths):
        Image.new("RGB", (side, side), (i, i, i)).save(path)
    assert decode_images(paths)[:, 0, 0, 0].tolist() == list(range(len(paths)))


def test_a_jpeg_that_claims_a_monstrous_size_is_named_before_memory_is_taken(tmp_path):
    path, buffer = tmp_path / "a.jpg", io.BytesIO()
    picture().save(buffer, "JPEG")
    content = bytearray(buffer.getvalue())
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = b"\xff\xdc\xff\xdc"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{path} is not a readable image: Image size"):
        decode_images([path])


@pytest.mark.parametrize("content", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xc0\x00\x00", b"\xff\xd8" * 9])
def test_the_head_of_a_jpeg_alone_is_named(tmp_path, content):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{path} is not a readable image"):
        decode_images([path])
