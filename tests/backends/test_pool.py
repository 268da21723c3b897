"""The thread pool and the caching allocator: callers at once, forks, settings, memory given back."""

import gc
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from policy import HANG, needs
from weft.backends import reference as K

pytestmark = needs("native")


def inputs(n=300):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, n)).astype("f"), rng.standard_normal((n, n)).astype("f")


def test_callers_at_once():
    """Python threads that compute at the same time get the results that each gets alone."""
    from weft import _cpu

    a, b = inputs()
    product, sums, failures = K.matmul(a, b), _cpu.sum(a, 0, False), []

    def work():
        for _ in range(40):
            if not (K.matmul(a, b) == product).all() or not (_cpu.sum(a, 0, False) == sums).all():
                failures.append(threading.get_ident())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def in_fork(work):
    """Whether `work` returns True in a forked child; a child that hangs is killed."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(0 if work() else 1)
        except BaseException:
            os._exit(2)
    killer = threading.Timer(HANG, os.kill, (pid, 9))
    killer.start()
    status = os.waitpid(pid, 0)[1]
    killer.cancel()
    return os.waitstatus_to_exitcode(status) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork():
    """A child computes with a pool of its own, also when it was forked in the middle of a parallel region."""
    a, b = inputs()
    product = K.matmul(a, b)

    def same():
        return all((K.matmul(a, b) == product).all() for _ in range(5))

    assert in_fork(same)
    busy = True

    def keep_busy():
        while busy:
            K.matmul(a, b)

    other = threading.Thread(target=keep_busy)
    other.start()
    try:
        assert all(in_fork(same) for _ in range(10))
    finally:
        busy = False
        other.join()
    assert same()


@pytest.mark.parametrize("setting, expected", [("1", 1), ("3", 3), ("100000", 256), ("0", None), ("many", None)])
def test_number_of_threads(setting, expected):
    code = "from weft import _cpu; print(_cpu.num_threads())"
    environment = os.environ | {"WEFT_NUM_THREADS": setting, "PYTHONPATH": os.pathsep.join(sys.path)}
    out = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert int(out.stdout) == expected if expected else 1 <= int(out.stdout) <= available


def test_large_arrays_reuse_memory():
    from weft import _cpu

    gc.collect()  # what earlier tests left in cycles would go in the middle of this one
    shape = (517, 613)  # a size that no other test leaves in the cache
    _cpu.release_cached()
    before = _cpu.memory()
    a = _cpu.empty(shape)
    taken = _cpu.memory()["live"] - before["live"]
    assert a.nbytes <= taken <= a.nbytes * 1.125 and a.ctypes.data % 64 == 0
    address = a.ctypes.data
    view = a[3:7]
    del a
    assert _cpu.memory()["live"] - before["live"] == taken  # the view keeps it
    del view
    assert _cpu.memory()["live"] == before["live"] and _cpu.memory()["cached"] >= taken
    assert _cpu.empty(shape).ctypes.data == address
    _cpu.release_cached()
    assert _cpu.memory()["cached"] == 0


def test_cache_is_bounded():
    """What is kept for reuse never exceeds what was once in use, by more than 64 MiB."""
    from weft import _cpu

    _cpu.release_cached()
    for n in range(100, 3000, 100):
        _cpu.empty((n, n))
        use = _cpu.memory()
        assert use["live"] + use["cached"] <= use["peak"] + (64 << 20)


def test_memory_that_does_not_exist():
    from weft import _cpu

    with pytest.raises(MemoryError):
        _cpu.empty((1 << 30, 1 << 30))
