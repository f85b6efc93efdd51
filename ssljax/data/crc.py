"""CRC32C, the checksum of TFRecord files, of many records at once and without a loop over bytes.

A checksum is linear over XOR: that of a record is the XOR of what its parts give, each alone among
zeros. A record is cut into blocks of 64 bytes. Pairs of bytes are looked up in a table for each of
the 32 places of a block; then blocks are moved to the end of their record, by tables that stand for
64, 128, 256, ... zeros behind them.
"""

import functools
from collections.abc import Sequence

import numpy as np

POLYNOMIAL = 0x82F63B78  # Castagnoli's, its bits reversed
BLOCK = 64  # bytes
Table = np.ndarray  # uint32 [256] for one byte, [4, 256] for each byte of a checksum


def crc32c(records: Sequence[bytes]) -> np.ndarray:
    """The checksum of each record, uint32 [N]."""
    if not records:
        return np.zeros(0, np.uint32)
    sizes = np.array([len(record) for record in records])
    blocks = np.maximum(-(-sizes // BLOCK), 1)
    # zeros before a record change nothing; those behind it do, so it ends where its blocks end
    text = b''.join(record.rjust(n * BLOCK, b'\0') for record, n in zip(records, blocks.tolist()))
    pairs = np.frombuffer(text, '<u2').reshape(-1, BLOCK // 2)
    sums = np.zeros(len(pairs), np.uint32)
    for place, table in enumerate(pair_tables()):
        sums ^= table.take(pairs[:, place])
    first = np.cumsum(blocks) - blocks
    behind = np.repeat(first + blocks, blocks) - 1 - np.arange(len(sums))  # blocks after each one
    sums = after(sums, behind, BLOCK)
    sums = np.bitwise_xor.reduceat(sums, first)
    # the register starts with ones
    return sums ^ after(np.full(len(sizes), 2**32 - 1, np.uint32), sizes, 1) ^ np.uint32(2**32 - 1)


def masked(sums: np.ndarray) -> np.ndarray:
    """As a TFRecord file has them: turned by 15 bits, and a number added."""
    return ((sums >> np.uint32(15)) | (sums << np.uint32(17))) + np.uint32(0xA282EAD8)


def after(sums: np.ndarray, counts: np.ndarray, size: int) -> np.ndarray:
    """Each checksum, moved by counts * size zeros behind it."""
    out, bit = sums.copy(), 0
    while (counts >> bit).any():
        chosen = np.flatnonzero(counts >> bit & 1)
        out[chosen] = look(zeros(size << bit), out[chosen])
        bit += 1
    return out


def look(table: Table, sums: np.ndarray) -> np.ndarray:
    """The entries of the four bytes of each checksum, added."""
    found = table[0].take(sums & np.uint32(255))
    for i in (1, 2, 3):
        found ^= table[i].take(sums >> np.uint32(8 * i) & np.uint32(255))
    return found


@functools.cache
def zeros(size: int) -> Table:
    """What `size` zeros, a power of two, make of a checksum: a table for each of its bytes."""
    bytes_ = np.arange(256, dtype=np.uint32)
    whole = np.stack([bytes_ << np.uint32(8 * i) for i in range(4)])
    if size > 1:
        half = zeros(size // 2)
        return look(half, look(half, whole))
    for _ in range(8):  # a bit at a time
        whole = np.where(whole & 1, whole >> np.uint32(1) ^ np.uint32(POLYNOMIAL), whole >> 1)
    return whole


@functools.cache
def pair_tables() -> list[np.ndarray]:
    """What two bytes give at each place of a block, uint32 [65536] each."""
    tables = [look(zeros(2), np.arange(2**16, dtype=np.uint32))]  # at the last place
    while len(tables) < BLOCK // 2:
        tables.append(look(zeros(2), tables[-1]))
    return tables[::-1]
