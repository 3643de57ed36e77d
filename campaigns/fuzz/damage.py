"""Damaged inputs, each a pure function of seed, format and number."""

import random

from campaigns.fuzz.format import Format

NUMBERS = [0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 40]
"""Written over lengths, counts and offsets: where integer types end."""


def make_input(form: Format, examples: list[bytes], seed: int, number: int) -> bytes:
    """Input `number` of a format: one of its `examples`, or a new file, damaged."""
    rng = random.Random(f"{seed}/{form.name}/{number}")
    if form.make is not None:
        whole = form.make(rng)
        return whole if rng.random() < 0.5 else damage(whole, examples, rng)
    data = damage(rng.choice(examples), examples, rng)
    return form.repair(data) if form.repair is not None and rng.random() < 0.5 else data


def damage(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """`data` with one to eight changes."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5, 8))):
        at, length = rng.randrange(len(out) + 1), rng.choice((1, 2, 4, 8, 64, 512))
        match rng.randrange(9):
            case 0 if at < len(out):  # flip a bit
                out[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(out):  # replace a byte
                out[at] = rng.randrange(256)
            case 2:  # replace an integer
                size = rng.choice((1, 2, 4, 8))
                number = rng.choice(NUMBERS) % (1 << 8 * size)
                out[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
            case 3:  # delete
                del out[at : at + length]
            case 4:  # repeat
                out[at:at] = out[at : at + length]
            case 5:  # insert random bytes
                out[at:at] = rng.randbytes(length)
            case 6 if rng.random() < 0.3:  # truncate
                del out[at:]
            case 7 if rng.random() < 0.3:  # append the end of another file
                other = rng.choice(others)
                out[at:] = other[rng.randrange(len(other) + 1) :]
            case 8:  # copy elsewhere
                to = rng.randrange(len(out) + 1)
                out[to : to + length] = out[at : at + length]
    return bytes(out)
