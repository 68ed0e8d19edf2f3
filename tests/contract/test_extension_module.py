"""The extension modules as files: each exports its initialiser alone, and nothing in it is both written and run.

Of ELF files, read here rather than by nm and readelf, which are not installed everywhere.
"""

import struct
from pathlib import Path

import pytest

from crossent import _core

CORE = Path(_core.__file__)
MODULES = [CORE, *CORE.parent.glob("jax/_xla.*.so")]  # the second where it was built
FILES = {path.name.partition(".")[0]: path.read_bytes() for path in MODULES}
IS_ELF = FILES["_core"].startswith(b"\x7fELF\x02\x01")
pytestmark = [pytest.mark.skipif(not IS_ELF, reason="not ELF of 64 bits, little-endian"),
              pytest.mark.parametrize(("name", "file"), FILES.items(), ids=FILES)]

PT_DYNAMIC, PT_GNU_STACK, PT_GNU_RELRO = 2, 0x6474E551, 0x6474E552
PF_X = 1
SHT_DYNSYM = 11
DT_FLAGS, DT_FLAGS_1, DF_BIND_NOW, DF_1_NOW = 30, 0x6FFFFFFB, 8, 1


def unpacked(file, layout, offset, size):
    return list(struct.iter_unpack(layout, file[offset:offset + size]))


def segments(file):
    """(flags, offset, size) in the file by type: those looked for here occur once at most."""
    offset, size, count = *struct.unpack_from("<Q", file, 0x20), *struct.unpack_from("<HH", file, 0x36)
    return {kind: (flags, start, length)
            for kind, flags, start, _, _, length, _, _ in unpacked(file, "<IIQQQQQQ", offset, size * count)}


def sections(file):
    """(type, offset, size, index of the linked section) of each."""
    offset, size, count = *struct.unpack_from("<Q", file, 0x28), *struct.unpack_from("<HH", file, 0x3A)
    return [(kind, start, length, link)
            for _, kind, _, _, start, length, link, _, _, _ in unpacked(file, "<IIQQQQIIQQ", offset, size * count)]


def exported(file):
    """Names of the dynamic symbols that are defined here and not local."""
    [(_, start, length, link)] = [section for section in sections(file) if section[0] == SHT_DYNSYM]
    names = sections(file)[link][1]
    return [file[names + name:file.index(b"\0", names + name)].decode()
            for name, info, _, section, _, _ in unpacked(file, "<IBBHQQ", start, length) if section and info >> 4]


def test_only_the_initialiser_is_exported(name, file):
    assert exported(file) == [f"PyInit_{name}"]


def test_what_the_dynamic_linker_wrote_is_read_only(name, file):
    """It binds every symbol at once (BIND_NOW) and then protects its tables (RELRO)."""
    _, start, length = segments(file)[PT_DYNAMIC]
    dynamic = dict(unpacked(file, "<qQ", start, length))
    assert dynamic.get(DT_FLAGS, 0) & DF_BIND_NOW or dynamic.get(DT_FLAGS_1, 0) & DF_1_NOW
    assert PT_GNU_RELRO in segments(file)


def test_the_stack_is_not_executable(name, file):
    assert not segments(file)[PT_GNU_STACK][0] & PF_X
