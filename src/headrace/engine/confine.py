"""Taking rights away from this process for good: the child does it to itself before it reads foreign bytes.

Everywhere: limits of memory, CPU, files. On Linux also: no network, no other programs or processes, no tracing
(seccomp), no privileges of root's beyond its own files (capabilities), and no writing outside given folders (Landlock).
Each part says whether the system granted it; `headrace doctor` shows that. No library: three system calls by ctypes.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
import sys
from collections.abc import Sequence

LINUX = sys.platform == "linux"

# seccomp(2), seccomp_data in linux/seccomp.h, opcodes in linux/bpf_common.h
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_CLONE_THREAD = 0x00010000
_NO_NEW_PRIVS = 38

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_COLUMN = {"x86_64": 0, "aarch64": 1}

# Numbers on (x86_64, aarch64); None where the architecture lacks the call. Sources: the kernel's syscall tables.
_DENIED: dict[str, tuple[int | None, int | None]] = {
    "socket": (41, 198),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "io_uring_setup": (425, 425),  # would open sockets past this filter
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, None),
    "vfork": (58, None),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434),
    "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424),
    "rt_sigqueueinfo": (129, 138),
    "perf_event_open": (298, 241),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsmount": (432, 432),
    "open_by_handle_at": (304, 265),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "setns": (308, 268),
    "unshare": (272, 97),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
}
_OWN = {"kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131)}  # allowed towards this process only
_LIMIT = (302, 261)  # prlimit64: allowed for this process only
_CLONE, _CLONE3, _SECCOMP = (56, 220), (435, 435), (317, 277)

# landlock(7): rights over files that change something; bit 13 since ABI 2, bit 14 since ABI 3
_WRITES = 0b1_1111_1111_0010
_CREATE_RULESET, _ADD_RULE, _RESTRICT = 444, 445, 446
_CAP_DAC_OVERRIDE, _CAP_FOWNER = 1 << 1, 1 << 3


def limit(memory: int, file_size: int) -> None:
    """Bound private memory (Linux; elsewhere the kernel does not enforce it), the size of a file, and core dumps.

    Memory is RLIMIT_DATA, not the address space: DuckDB and Arrow reserve far more addresses than they use.
    """
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, file_size)
    _lower(resource.RLIMIT_DATA, memory)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = 4096 if hard == resource.RLIM_INFINITY else min(hard, 4096)  # a partitioned write opens hundreds
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


def limit_cpu(seconds: float) -> None:
    """From now on this process may use so much CPU time before SIGXCPU ends it: a net below the parent's timeout."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(spent.ru_utime + spent.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def drop_privileges() -> bool:
    """As root on Linux keep only the right to its own kind of files. Call it while there is one thread."""
    if not LINUX:
        return os.geteuid() != 0
    libc = ctypes.CDLL(None, use_errno=True)
    kept = _CAP_DAC_OVERRIDE | _CAP_FOWNER if os.geteuid() == 0 else 0
    header = struct.pack("Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this thread
    return bool(libc.capset(header, struct.pack("6I", kept, kept, 0, 0, 0, 0)) == 0)


def forbid_writing_outside(folders: Sequence[str]) -> bool:
    """Landlock: nothing is created, changed or deleted but below `folders` (which must exist) and in /dev/null.

    Call it while there is one thread: later ones inherit it, existing ones would not. False where the kernel has none.
    """
    if not LINUX or platform.machine() not in _ARCHITECTURES:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    rights = _WRITES | (1 << 13 if version >= 2 else 0) | (1 << 14 if version >= 3 else 0)
    ruleset = libc.syscall(_CREATE_RULESET, struct.pack("Q", rights), ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return False
    try:
        for folder in folders:
            _allow_beneath(libc, ruleset, folder, rights)
        _allow_beneath(libc, ruleset, os.devnull, rights & (1 << 1 | 1 << 14))
        return _without_new_privileges(libc) and libc.syscall(_RESTRICT, ruleset, 0) == 0
    finally:
        os.close(ruleset)


def forbid_leaving() -> bool:
    """Seccomp for all threads: no network, programs, processes, mounts or signals to others. For good.

    What is refused fails with EPERM, so libraries report it as any other error. False where the kernel or the
    architecture has no filter.
    """
    if not LINUX or platform.machine() not in _ARCHITECTURES:
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    program = _filter(platform.machine(), os.getpid())
    code = ctypes.create_string_buffer(program)
    prog = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    number = _SECCOMP[_COLUMN[platform.machine()]]
    all_threads = 1
    return _without_new_privileges(libc) and libc.syscall(number, 1, all_threads, prog) == 0


def _filter(machine: str, pid: int) -> bytes:
    """The BPF program. Conditional blocks end the program either way, so each may overwrite the accumulator."""
    column = _COLUMN[machine]
    refuse, allow = _RETURN, _RETURN
    steps: list[tuple[int, int, int, int]] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_EQUAL, 1, 0, _ARCHITECTURES[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":  # the x32 numbers are other names for the same calls
        steps += [(_AT_LEAST, 0, 1, 0x40000000), (refuse, 0, 0, _REFUSE | errno.EPERM)]
    for numbers in _DENIED.values():
        number = numbers[column]
        if number is not None:
            steps += [(_EQUAL, 0, 1, number), (refuse, 0, 0, _REFUSE | errno.EPERM)]
    # glibc falls back to clone, whose flags a filter can read
    steps += [(_EQUAL, 0, 1, _CLONE3[column]), (refuse, 0, 0, _REFUSE | errno.ENOSYS)]
    tests = [(_CLONE[column], _ANY_BIT, _CLONE_THREAD), (_LIMIT[column], _EQUAL, 0)]
    tests += [(numbers[column], _EQUAL, pid) for numbers in _OWN.values()]
    for number, test, value in tests:
        steps += [
            (_EQUAL, 0, 4, number),
            (_LOAD, 0, 0, _FIRST_ARGUMENT),
            (test, 0, 1, value),
            (allow, 0, 0, _ALLOW),
            (refuse, 0, 0, _REFUSE | errno.EPERM),
        ]
    steps.append((allow, 0, 0, _ALLOW))
    return b"".join(struct.pack("HBBI", *step) for step in steps)


def _allow_beneath(libc: ctypes.CDLL, ruleset: int, folder: str, rights: int) -> None:
    descriptor = os.open(folder, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", rights, descriptor)  # landlock_path_beneath_attr is packed
        if libc.syscall(_ADD_RULE, ruleset, 1, rule, 0) != 0:
            raise OSError(ctypes.get_errno(), "landlock_add_rule", folder)
    finally:
        os.close(descriptor)


def _without_new_privileges(libc: ctypes.CDLL) -> bool:
    return bool(libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)


def _lower(what: int, to: int) -> None:
    _, hard = resource.getrlimit(what)
    bound = to if hard == resource.RLIM_INFINITY else min(to, hard)
    try:
        resource.setrlimit(what, (bound, bound))
    except (ValueError, OSError):
        if LINUX:
            raise  # macOS refuses some limits outright; `doctor` says that they are not enforced there
