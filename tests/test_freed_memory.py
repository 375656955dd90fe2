"""Memory that a command keeps for its next tensor."""

import subprocess
import sys

import pytest

from dnamdlm.freed_memory import keep_freed_memory

FAULTS_OF_TEN_LISTS = """
import resource, sys
from dnamdlm.freed_memory import keep_freed_memory
if sys.argv[1] == "kept" and not keep_freed_memory({}):
    print("nothing")
    sys.exit()
bytearray(32 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    for number in (8, 16, 24, 32):
        block = bytearray(number << 20)
        block[::4096] = bytes(len(block[::4096]))
        del block
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="page faults as Linux counts them")
def test_freed_blocks_are_used_again_without_page_faults():
    faults = {}
    for name in ("kept", "returned"):
        done = subprocess.run(
            [sys.executable, "-c", FAULTS_OF_TEN_LISTS, name],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        if done.stdout.strip() == "nothing":
            pytest.skip("this C library has no mallopt")
        faults[name] = int(done.stdout)
    assert faults["kept"] < faults["returned"] / 4


@pytest.mark.parametrize(
    "environment",
    [
        {"MALLOC_ARENA_MAX": "2"},
        {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=1000"},
        {"LD_PRELOAD": "/usr/lib/libjemalloc.so.2"},
    ],
    ids=str,
)
def test_the_choice_of_the_user_stands(environment):
    assert not keep_freed_memory(environment)


KEPT_AND_RETURNED = """
from pathlib import Path
from dnamdlm.freed_memory import keep_freed_memory, return_freed_memory
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20
if not keep_freed_memory({}):
    print("nothing")
else:
    blocks = [bytearray(b"x" * (1 << 20)) for _ in range(100)]
    # one that is still in use above them.
    last = bytearray(b"x" * 4096)
    del blocks
    before = resident()
    return_freed_memory()
    print(before - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory as Linux counts it")
def test_what_is_kept_is_returned_when_asked_for():
    done = subprocess.run(
        [sys.executable, "-c", KEPT_AND_RETURNED], capture_output=True, text=True, check=True
    )
    if done.stdout.strip() == "nothing":
        pytest.skip("this C library has no mallopt")
    assert int(done.stdout) > 90
