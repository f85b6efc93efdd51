"""What the text of a compiled program says: bytes from and to memory, bytes between devices.

Each instruction counts once; the body of a loop, too, whose turns the text does not tell.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

# bytes that a device sends, over those of the result (of a reduce-scatter: of what it is given)
SENT = {
    'all-reduce': 2, 'all-gather': 1, 'reduce-scatter': 1, 'all-to-all': 1, 'collective-permute': 1
}  # fmt: skip
BITS = {'pred': 8, 's8': 8, 'u8': 8, 'bf16': 16, 'f16': 16, 's16': 16, 'u16': 16, 'f32': 32}
BITS |= {'s32': 32, 'u32': 32, 'f64': 64, 's64': 64, 'u64': 64}
# these move nothing themselves; what ends another, as copy-done, has been counted at its start
STILL = ('parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast', 'while', 'conditional')
STILL += ('call', 'after-all')
COPIES = ('copy-start', 'slice-start')  # from one memory to another, while other work goes on


def exchanged(text: str) -> dict[str, tuple[int, float]]:
    """What a program sends between devices: kind -> how often, bytes sent by a device.

    One exchange may be cut in many instructions, so that other work goes on meanwhile: these have
    one channel, and count once.
    """
    sums: dict[str, tuple[int, float]] = {}
    channels = set()
    kinds = '|'.join(SENT)
    for line in text.splitlines():
        match = re.search(rf'= (.*?) ({kinds})(-start)?\(', line)
        if not match:
            continue
        result, kind, started = match.groups()
        if channel := re.search(r'channel_id=\d+', line):
            if (kind, channel[0]) in channels:
                continue
            channels.add((kind, channel[0]))
        volumes = volume(result)
        if started and kind != 'all-reduce':  # its operands stand before its results
            volumes = volumes[len(volumes) // 2 :]
        sent = SENT[kind] * sum(volumes) * (members(line) if kind == 'reduce-scatter' else 1)
        count, total = sums.get(kind, (0, 0.0))
        sums[kind] = count + 1, total + sent
    return sums


def volume(shape: str) -> list[float]:
    """Bytes of each array in '(f32[8,128]{1,0}, bf16[2])'; counters, which are u32[], are none."""
    arrays = [pair for pair in re.findall(r'(\w+)\[([\d,]*)\]', shape) if pair != ('u32', '')]
    return [
        BITS.get(dtype, 0) / 8 * math.prod(int(side) for side in sides.split(',') if side)
        for dtype, sides in arrays
    ]


def members(line: str) -> int:
    """How many devices take part in a group."""
    if match := re.search(r'replica_groups=\[(\d+),(\d+)\]', line):
        return int(match[2])
    if match := re.search(r'replica_groups=\{\{([\d,]+)\}', line):
        return len(match[1].split(','))
    return 1


def moved(text: str) -> float:
    """Bytes that pass between a device and its main memory.

    Operands and results of each instruction, but for those in a memory of the chip itself, which
    the text marks by a space: S(1), on a TPU. A table counts whole where rows of it are looked up.
    """
    total = 0.0
    for one in executed(text):
        if one.kind in COPIES:  # the smaller of source and result: a slice of a large array
            total += min(sum(volume(array)) for array in one.results[:2])
            continue
        far = [array for array in (*one.operands, *one.results) if 'S(' not in array]
        if one.split:  # a part of an exchange: its buffers are handed on, and counted at its start
            through = set(map(bare, one.operands)) & set(map(bare, one.results))
            far = [array for array in far if bare(array) not in through]
        total += sum(sum(volume(array)) for array in far)
    return total


class Instruction(NamedTuple):
    kind: str  # fusion, copy-start, ...
    results: Sequence[str]  # arrays with their layouts: 'bf16[8,128]{1,0:T(8,128)S(1)}'
    operands: Sequence[str]
    split: bool  # whether it carries a part of an exchange


def executed(text: str) -> Iterator[Instruction]:
    """The instructions that run: none of those inside of fusions and of reductions."""
    inner = set(re.findall(r' fusion\(.*?calls=%?([\w.\-]+)', text))
    inner |= {
        name
        for line in text.splitlines()
        if ' call(' not in line
        for name in re.findall(r'to_apply=%?([\w.\-]+)', line)
    }
    runs, shapes = False, {}
    for line in text.splitlines():
        if begun := re.match(r'(?:ENTRY )?%?([\w.\-]+) \(.*\{$', line):
            runs, shapes = begun[1] not in inner, {}
        made = re.match(r'\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)', line)
        if not (runs and made):
            continue
        name, shape, kind, rest = made.groups()
        shapes[name] = shape
        if kind in STILL or kind.endswith('-done'):
            continue
        names = re.findall(r'%([\w.\-]+)', rest.partition('),')[0])
        operands = [array for name in names for array in arrays(shapes.get(name, ''))]
        split = bool(re.search(r'async[_-]collective', line))
        yield Instruction(kind, arrays(shape), operands, split)


def arrays(shape: str) -> list[str]:
    """'(f32[8]{0}, u32[])' -> ['f32[8]{0}', 'u32[]']."""
    return re.findall(r'\w+\[[\d,]*\](?:\{[^}]*\})?', shape)


def bare(array: str) -> str:
    """Without its layout."""
    return array.partition('{')[0]
