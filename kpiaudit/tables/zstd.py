"""Zstandard files: how much they hold at most, told without unpacking them."""

from __future__ import annotations

from typing import BinaryIO

_FRAME = b"\x28\xb5\x2f\xfd"
_BLOCK = 128 * 1024
_DICTIONARY = (0, 1, 2, 4)
_SIZE = (0, 2, 4, 8)


def most_bytes(file: BinaryIO) -> int:
    """Return an upper bound of what a file inflates to, from the headers of its blocks.

    A block holds 128 KB at most, so that the bound is close wherever blocks are full:
    that is what a bomb is made of.

    Args:
        file: At its beginning.

    Returns:
        Bytes; rubbish behind the frames counts as nothing.

    Raises:
        EOFError: A frame is cut off.

    Source:
        Collet, Y., Kucherawy, M. (2021). Zstandard compression and the
        'application/zstd' media type. RFC 8878, sections 3.1.1 and 3.1.2.
    """
    total = 0
    end = file.seek(0, 2)
    file.seek(0)
    while start := file.read(4):
        if start == _FRAME:
            total += _frame(file, end)
        elif start[1:] == b"\x2a\x4d\x18" and start[0] >> 4 == 5:
            _skip(file, int.from_bytes(_exactly(file, 4), "little"), end)
        else:
            break
    return total


def _frame(file: BinaryIO, end: int) -> int:
    described = _exactly(file, 1)[0]
    single = bool(described & 0x20)
    window = 0 if single else _exactly(file, 1)[0]
    _exactly(file, _DICTIONARY[described & 3])
    width = _SIZE[described >> 6] or int(single)
    declared = int.from_bytes(_exactly(file, width), "little") + 256 * (width == 2)
    base = 1 << (10 + (window >> 3))
    block = _BLOCK if single else min(base + base // 8 * (window & 7), _BLOCK)
    total = 0
    last = False
    while not last:
        header = int.from_bytes(_exactly(file, 3), "little")
        last, kind, size = bool(header & 1), header >> 1 & 3, header >> 3
        total += block if kind == 2 else size
        _skip(file, 1 if kind == 1 else size, end)
    if described & 4:
        _skip(file, 4, end)
    return min(total, declared) if width else total


def _exactly(file: BinaryIO, count: int) -> bytes:
    data = file.read(count)
    if len(data) < count:
        raise EOFError("it ends in the middle of a frame")
    return data


def _skip(file: BinaryIO, count: int, end: int) -> None:
    if file.seek(count, 1) > end:
        raise EOFError("it ends in the middle of a block")
