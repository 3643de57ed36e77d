"""Writes JPEG files of random structure, by which every branch of a decoder is reached: size, sampling factors, tables,
restart intervals, order of segments, and coefficients as large as they may be.

Damage at random hardly ever leaves a file that is decoded to its end. These are whole, or nearly so.
"""

import heapq
import itertools
import random
import struct
from typing import NamedTuple

MAX_SIDE = 70  # pixels
DC_SIZES = range(12)
AC_SYMBOLS = [0x00, 0xF0, *(run << 4 | size for run in range(16) for size in range(1, 11))]


class Table(NamedTuple):
    """A Huffman table: how many codes of each length, the symbols, and of each symbol code and length."""

    counts: list[int]
    symbols: list[int]
    codes: dict[int, tuple[int, int]]

    def segment(self, kind: int, index: int) -> bytes:
        """The content of its DHT segment; `kind` is 0 for DC, 1 for AC."""
        return bytes([kind << 4 | index, *self.counts, *self.symbols])


class Bits:
    """Entropy-coded data: bits, the most significant first."""

    def __init__(self) -> None:
        self.value = self.count = 0

    def put(self, value: int, count: int) -> None:
        self.value, self.count = self.value << count | value, self.count + count

    def bytes(self, pad: int) -> bytes:
        """What was put, padded with ones or zeros, with a zero after each byte FF."""
        missing = -self.count % 8
        value = self.value << missing | (pad and (1 << missing) - 1)
        return value.to_bytes((self.count + missing) // 8, "big").replace(b"\xff", b"\xff\0")


def make_jpeg(rng: random.Random) -> bytes:
    """A file; most are accepted by our decoder, all have a structure."""
    height, width = (rng.choice((rng.randint(1, MAX_SIDE), 8 * rng.randint(1, 8))) for _ in range(2))
    sampling = rng.choice((0x11, 0x22, 0x22, 0x11, 0x21, 0x12) if rng.random() < 0.2 else (0x11, 0x22))
    tables = rng.randint(1, 2)
    dc, ac = ([_table(rng, symbols) for _ in range(tables)] for symbols in (DC_SIZES, AC_SYMBOLS))
    quantisation = rng.randint(1, 4)
    restart = rng.choice((0, 0, rng.randint(1, 9)))
    chosen = [(rng.randrange(quantisation), rng.randrange(tables), rng.randrange(tables)) for _ in range(3)]
    entries = b"".join(bytes([i + 1, sampling if i == 0 else 0x11, chosen[i][0]]) for i in range(3))
    before = [
        *(_segment(0xDB, bytes([i, *_steps(rng)])) for i in range(quantisation)),
        *(_segment(0xC4, table.segment(0, i)) for i, table in enumerate(dc)),
        *(_segment(0xC4, table.segment(1, i)) for i, table in enumerate(ac)),
        _segment(0xC0, struct.pack(">BHHB", 8, height, width, 3) + entries),
        *([_segment(0xDD, struct.pack(">H", restart))] if restart else []),
        *(
            _segment(rng.choice((0xE1, 0xE2, 0xED, 0xFE)), rng.randbytes(rng.randrange(9)))
            for _ in range(rng.randrange(3))
        ),
    ]
    rng.shuffle(before)
    scan = b"".join(bytes([i + 1, chosen[i][1] << 4 | chosen[i][2]]) for i in range(3))
    header = _segment(0xDA, b"\3" + scan + bytes([0, 63, 0]))
    across, down = 8 * (sampling >> 4), 8 * (sampling & 15)
    mcus = -(-width // across) * -(-height // down)
    blocks = [(sampling >> 4) * (sampling & 15), 1, 1]
    plan = [(dc[chosen[i][1]], ac[chosen[i][2]], blocks[i]) for i in range(3)]
    start = b"\xff\xd8" + (_segment(0xE0, b"JFIF\0\1\1" + bytes(7)) if rng.random() < 0.7 else b"")
    return b"".join([start, *before, header, _scan(rng, mcus, plan, restart), b"\xff\xd9"])


def _segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def _steps(rng: random.Random) -> list[int]:
    """Quantisation steps; small ones keep samples within their range."""
    most = rng.choice((1, 3, 16, 255))
    return [rng.randint(1, most) for _ in range(64)]


def _table(rng: random.Random, symbols: range | list[int]) -> Table:
    """A Huffman code for frequencies drawn at random, so that lengths go from 1 to 16 bits."""
    skew = rng.choice((0.0, 0.5, 2.0, 6.0))
    while True:
        heap = [(rng.random() ** skew + 1e-6, order, [symbol]) for order, symbol in enumerate(symbols)]
        heap.append((0.0, -1, [-1]))  # gets the longest code, which is all ones and is left out
        heapq.heapify(heap)
        lengths, order = dict.fromkeys([*symbols, -1], 0), itertools.count(len(heap))
        while len(heap) > 1:
            (a, _, left), (b, _, right) = heapq.heappop(heap), heapq.heappop(heap)
            for symbol in left + right:
                lengths[symbol] += 1
            heapq.heappush(heap, (a + b, next(order), left + right))
        if max(lengths.values()) <= 16:
            break
        skew /= 2
    ordered = sorted((length, symbol) for symbol, length in lengths.items() if symbol >= 0)
    codes, code, before = {}, 0, ordered[0][0]
    for length, symbol in ordered:
        code <<= length - before
        codes[symbol], code, before = (code, length), code + 1, length
    counts = [sum(length == each for each, _ in ordered) for length in range(1, 17)]
    return Table(counts, [symbol for _, symbol in ordered], codes)


def _scan(rng: random.Random, mcus: int, plan: list[tuple[Table, Table, int]], restart: int) -> bytes:
    """Random coefficients of all MCUs, with restart markers."""
    busy, largest = rng.choice((0.0, 0.1, 0.5, 0.9)), rng.choice((1, 3, 6, 10))
    out, bits, markers = [], Bits(), itertools.cycle(range(0xD0, 0xD8))
    for mcu in range(mcus):
        if restart and mcu and mcu % restart == 0:
            out += [bits.bytes(rng.choice((1, 1, 0))), bytes([0xFF, next(markers)])]
            bits = Bits()
        for dc, ac, blocks in plan:
            for _ in range(blocks):
                _put(rng, bits, dc, 0, rng.randint(0, min(largest, 11)))
                _put_ac(rng, bits, ac, busy, largest)
    return b"".join([*out, bits.bytes(1)])


def _put_ac(rng: random.Random, bits: Bits, table: Table, busy: float, largest: int) -> None:
    index = 0
    while rng.random() < busy and index < 63:
        run = min(rng.choice((0, 0, 1, rng.randrange(63))), 62 - index)
        for _ in range(run // 16):
            _put(rng, bits, table, 0xF, 0)
        _put(rng, bits, table, run % 16, rng.randint(1, largest))
        index += run + 1
    if index < 63:
        _put(rng, bits, table, 0, 0)  # EOB


def _put(rng: random.Random, bits: Bits, table: Table, run: int, size: int) -> None:
    bits.put(*table.codes[run << 4 | size])
    bits.put(rng.getrandbits(size), size)
