"""What hostile code tries, by name. Each sets `result` to ESCAPED if it got through.

`{port}` is a listener on loopback, `{secret}` a file that must not be read, `{target}`
one that must not be made, `{victim}` and `{gateway}` processes that must go on.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

ESCAPED = "ESCAPED"


def _tried(body: str, *, but: str = "BaseException") -> str:
    """Code that has escaped when `body` runs to its end."""
    lines = "".join(f"    {line}\n" for line in body.strip().splitlines())
    return (
        f"result = 'contained'\ntry:\n{lines}    result = 'ESCAPED'\n"
        f"except {but} as error:\n    result = 'contained by ' + type(error).__name__\n"
    )


_CALL = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
"""


def _call(call: str) -> str:
    """Code that has escaped when a function of the C library answers no error."""
    return _tried(f"{_CALL}answer = libc.{call}\nif answer < 0:\n    raise OSError")


ATTACKS: Mapping[str, str] = MappingProxyType({
    # time
    "infinite loop": "while True: pass",
    "infinite loop in a comprehension": "def f():\n    return [1 for _ in iter(int, 1)]",
    "infinite generator": "import itertools\nresult = list(itertools.count())",
    "a generator of its own": "def g():\n    while True: yield 1\nresult = sum(g())",
    "sleep past the limit": "import time\ntime.sleep(3600)",
    "catching everything for ever": (
        "while True:\n    try:\n        while True: pass\n"
        "    except BaseException:\n        pass"
    ),
    "ignoring signals": (
        "import signal\nfor n in range(1, 65):\n    try:\n"
        "        signal.signal(n, signal.SIG_IGN)\n    except (OSError, ValueError):\n"
        "        pass\nwhile True: pass"
    ),
    "a power that takes for ever": "result = len(str(9 ** 9 ** 9))",
    "a pattern that takes for ever": "import re\nre.match('(a+)+$', 'a' * 60 + 'b')",
    "threads that never end": (
        "import threading\nfor _ in range(500):\n"
        "    threading.Thread(target=lambda: [0 for _ in iter(int, 1)]).start()"
    ),
    "an exit handler that never ends": (
        "import atexit\n@atexit.register\ndef forever():\n    while True: pass\n"
        "result = 1"
    ),
    # memory
    "memory bomb": (
        "x = []\nwhile len(x) < 40:\n    x.append(bytearray(10_000_000))\n"
        "result = 'ESCAPED'"
    ),
    "memory bomb of a string": _tried("x = 'x' * 1_000_000_000"),
    "memory bomb by doubling": "x = [0]\nwhile True: x += x",
    "memory outside the heap": _tried(
        "import mmap\nx = mmap.mmap(-1, 1 << 30)\nx.write(b'x' * 1000)"
    ),
    "memory in a file without a name": _tried("import os\nos.memfd_create('bomb')"),
    "memory in temporary files": _tried(
        "for n in range(40):\n    with open('/tmp/%d' % n, 'wb') as file:\n"
        "        file.write(b'x' * 10_000_000)"
    ),
    "memory in System V's segments": _call("shmget(0, 1 << 28, 0o1600)"),
    "zip bomb": _tried(
        "import zlib\npart = zlib.compress(b'0' * 50_000_000)\n"
        "x = [zlib.decompress(part) for _ in range(8)]"
    ),
    "deep recursion": "def f(): return f()",
    "deep recursion beyond the limit": (
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(): return f()"
    ),
    "nesting too deep to parse": "result = " + "(" * 3000 + ")" * 3000,
    "nesting that overflows a parser": "result = " + "-" * 200_000 + "1",
    "deeply nested result": "result = []\nfor _ in range(100_000): result = [result]",
    "result that holds itself": "result = []\nresult.append(result)",
    # output
    "huge output": "while True: print('x' * 100_000)",
    "huge result": "result = 'x' * 50_000_000",
    "huge exception": "raise ValueError('x' * 50_000_000)",
    "output past Python": "import os\nwhile True: os.write(1, b'x' * 65536)",
    "replies of its own": (
        "import os\nfor n in range(3, 200):\n    try:\n"
        "        os.write(n, b'\\xff' * 70_000)\n    except OSError:\n        pass"
    ),
    "a forged reply that tells a secret way out": (
        "import os\nfor n in range(3, 200):\n    try:\n"
        "        os.write(n, b'\\0\\0\\0\\x14{{\"kind\": \"lacks\", 1}}')\n"
        "    except OSError:\n        pass"
    ),
    # processes
    "fork bomb": "import os\nwhile True: os.fork()",
    "one fork": _tried("import os\nif os.fork() == 0: os._exit(0)"),
    "a shell": _tried("import os\nif os.system('true') != 0: raise OSError"),
    "a program": _tried("import subprocess\nsubprocess.run(['/bin/true'], check=True)"),
    "another Python": _tried(
        "import subprocess, sys\nsubprocess.run([sys.executable, '-c', ''], check=True)"
    ),
    "multiprocessing": _tried(
        "import multiprocessing\n"
        "p = multiprocessing.get_context('fork').Process(target=print)\np.start()"
    ),
    "signal to a process": _tried("import os\nos.kill({victim}, 9)"),
    "signal to the gateway": _tried("import os\nos.kill({gateway}, 9)"),
    "signal to all": "import os\nos.kill(-1, 9)",
    "signal to its group": "import os\nos.killpg(0, 9)",
    "trace a process": _call("ptrace(16, {victim}, 0, 0)"),
    "read another's memory": _tried("open('/proc/{gateway}/mem', 'rb').read(1)"),
    "a process beside it": _call("process_vm_readv({gateway}, None, 0, None, 0, 0)"),
    # namespaces and privileges
    "new user namespace": _call("unshare(0x10000000)"),
    "new mount namespace": _call("unshare(0x00020000)"),
    "mount": _call("mount(b'none', b'/tmp', b'tmpfs', 0, None)"),
    "change of root": _tried("import os\nos.chroot('/tmp')"),
    "become root": _tried("import os\nos.setuid(0)"),
    "a device": _tried("import os\nos.mknod('/tmp/mem', 0o20666, os.makedev(1, 1))"),
    "load a module of the kernel": _call("syscall(175, 0, 0, b'')"),
    "a program for the kernel": _call("syscall(321, 0, 0, 0)"),
    "keys of the kernel": _call("syscall(250, 0, -3, 0)"),
    "rings of the kernel": _call("syscall(425, 1, 0)"),
    # files
    "read a file outside": _tried("print(open({secret!r}).read())"),
    "read the passwords": _tried("print(open('/etc/passwd').read())"),
    "list the root's own": (
        "import os\nfound = set(os.listdir('/')) & {{'etc', 'proc', 'var', 'run'}}\n"
        "result = 'ESCAPED' if found else 'contained'"
    ),
    "write a file outside": _tried("open({target!r}, 'w').write('x')"),
    "write beside Python": _tried("import os\nopen(os.__file__, 'a').write('#')"),
    "write into the root": _tried("open('/escaped', 'w').write('x')"),
    "write over its own code": _tried(
        "import glob\nopen(glob.glob('/gateway/**/*.py', recursive=True)[0], 'w')"
    ),
    "a link to a file outside": _tried(
        "import os\nos.symlink({secret!r}, '/tmp/link')\nprint(open('/tmp/link').read())"
    ),
    "a path of many dots": _tried("print(open('../' * 20 + {secret!r}).read())"),
    "a path with a character of none": _tried("print(open({secret!r} + '\\0').read())"),
    "descriptors left open": _tried(
        "import os\nfor n in range(3, 1000):\n    try:\n"
        "        print(os.pread(n, 1000, 0))\n    except OSError:\n        pass\n"
        "raise OSError"
    ),
    "a file handle by number": _call("syscall(304, -100, b'x' * 16, 0)"),
    # secrets
    "its environment": "import os\nresult = dict(os.environ)",
    "the environment of the first process": _tried(
        "print(open('/proc/1/environ').read())"
    ),
    "the environment of the gateway": _tried(
        "print(open('/proc/{gateway}/environ').read())"
    ),
    "the command line": "import sys\nresult = sys.argv + sys.orig_argv",
    # network
    "call a listener": _tried(
        "import socket\nsocket.create_connection(('127.0.0.1', {port}), 1)"
    ),
    "fetch a page": _tried(
        "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:{port}/', None, 1)"
    ),
    "call by asyncio": _tried(
        "import asyncio\nasync def call():\n"
        "    await asyncio.open_connection('127.0.0.1', {port})\nasyncio.run(call())"
    ),
    "send a datagram": _tried(
        "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
        ".sendto(b'x', ('127.0.0.1', {port}))"
    ),
    "a raw socket": _tried("import socket\nsocket.socket(17, socket.SOCK_RAW)"),
    "the machine below": _tried("import socket\nsocket.socket(40, socket.SOCK_STREAM)"),
    # Python's own insides
    "walk the subclasses": _tried(
        "for c in ().__class__.__base__.__subclasses__():\n"
        "    if c.__name__ == 'Popen' or 'os' in getattr(c.__init__, '__globals__', {{}}):\n"
        "        print(c.__init__.__globals__['os'].listdir('/etc'))\nraise OSError"
    ),
    "walk the frames": _tried(
        "import sys\nframe = sys._getframe()\nwhile frame:\n"
        "    print(frame.f_globals.get('SECRET'))\n    frame = frame.f_back\nraise OSError"
    ),
    "delete the builtins": "import builtins\nfor n in list(vars(builtins)):\n"
    "    delattr(builtins, n)",
    "replace the builtins": (
        "import builtins\nbuiltins.len = builtins.isinstance = lambda *_: 1 / 0\n"
        "builtins.str = builtins.repr = None\nresult = {{1}}"
    ),
    "replace the library": (
        "import json, sys\njson.dumps = lambda *_, **__: 'ESCAPED_not_json'\n"
        "sys.stdout = None\nresult = [1]"
    ),
    "a pickle that runs": _tried(
        "import pickle\npickle.loads(b\"cos\\nsystem\\n(S'touch {target}'\\ntR.\")\n"
        "open({target!r})"
    ),
    "a crash": "import ctypes\nctypes.string_at(0)",
    "code of its own making": (
        "def f(): pass\nf.__code__ = f.__code__.replace(co_code=b'\\x64\\xff' * 50)\n"
    ),
    "exit": "import os\nos._exit(0)",
    "eval of an import": _tried("eval(\"__import__('os').listdir('/etc')\")"),
    "an odd import": _tried("ｉｍｐｏｒｔ_ = __builtins__\nprint(open({secret!r}).read())"),
    "unicode that reads otherwise": "x = 'a\u202e\u2066'\nresult = x * 10",
    "half a character": "result = '\\ud800' * 10\nprint(ascii(result))",
    "a repr that is hostile": (
        "class A:\n    def __repr__(self):\n        while True: pass\nresult = A()"
    ),
    "a repr that is huge": (
        "class A:\n    def __repr__(self): return 'x' * 30_000_000\nresult = A()"
    ),
    "a repr that raises": (
        "class A:\n    def __repr__(self): raise SystemExit\nresult = A()"
    ),
    "a value that claims to be JSON": (
        "class A:\n    def __json__(self): return 'ESCAPED'\n"
        "    def __repr__(self): return '}}'\nresult = A()"
    ),
    "an exception that is hostile": (
        "class A(Exception):\n    def __str__(self):\n        while True: pass\n"
        "raise A()"
    ),
})  # fmt: skip
