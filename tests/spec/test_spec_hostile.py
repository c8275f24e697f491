"""Files that want to hurt: refused in under a second and 100 MB, measured in a process of their own."""

import json
import subprocess
import sys

import pytest

_SIZE = 255_000
_HEAD = """study: s
task: {env: E}
algorithm: {name: a}
seeds: {tuning: 0:3, test: 9}
budget: {trials: 1, steps_per_run: 1}
"""
_SPACE = f"{_HEAD}search_space:\n  parameters:\n"
_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9)
)
_CASES: dict[str, tuple[str | bytes, str]] = {
    "50,000 levels of flow": ("[" * 50_000 + "]" * 50_000, "nested deeper than 32 levels"),
    "50,000 levels of flow mappings": ("{a: " * 50_000, "nested deeper than 32 levels"),
    "50,000 levels of block": ("- " * 50_000 + "x", "nested deeper than 32 levels"),
    "700 levels of block mappings": ("".join(" " * i + "a:\n" for i in range(700)), "nested deeper than 32 levels"),
    "billion laughs": (_BOMB, "aliases are not allowed"),
    "a tag that runs code": ('study: !!python/object/apply:os.system ["exit 1"]\n', "tags are not allowed"),
    "NUL": ("study: s\ntask: a\0b\n", ":2: contains the control character"),
    "escape sequence": ("study: \x1b[31m\n", ":1: contains the control character"),
    "not UTF-8": (b"study: s\ntask: \xff\n", ":2: not UTF-8 text"),
    "UTF-16": ("study: s\n".encode("utf-16"), "not UTF-8 text"),
    "half a surrogate pair": ('study: "\\ud800"\n', ":1: "),
    "large": ("a" * 300_000, "larger than 256 KB"),
    "a number of 250,000 digits": ("study: " + "9" * 250_000, "a whole number of at most 64 bits is meant"),
    "a number of 200,000 hexadecimal digits": ("study: 0x" + "f" * 200_000, "at most 64 bits"),
    "nearly a number": ("study: " + "1_1" * 80_000 + "x", "study: '1_11"),
    "a key of 200,000 letters": ("k" * 200_000 + ": 1\n", "not valid YAML"),
    "a quoted key of 1,000 letters": ('"' + "k" * 1_000 + '": 1\n', "unknown key"),
    "256 KB of - a: b": ("- a: b\n" * (_SIZE // 7), "holds no keys"),
    "duplicate keys": ("a: 1\n" * (_SIZE // 5), "mistakes so far"),
    "24,000 unknown keys": ("".join(f"k{i}: 1\n" for i in range(24_000)), "more mistakes"),
    "60,000 bad wrappers": ("task:\n  env: x\n  wrappers:\n" + "  - 3\n" * 41_000, "at most 10,000 are allowed"),
    "60,000 bad seeds": (f"seeds: {{tuning: [{','.join(['x'] * 60_000)}]}}", "at most 10,000 are allowed"),
    "19,000 bad parameters": (_SPACE + "".join(f"    p{i}: 3\n" for i in range(19_000)), "more mistakes"),
    "40,000 choices": (_SPACE + f"    a: {{values: [{','.join(map(str, range(40_000)))}]}}\n", "no longer than 1000"),
    "a circle of 1,000": (
        _SPACE + "".join(f"    p{i}: {{values: [1], when: {{p{(i + 1) % 1000}: 1}}}}\n" for i in range(1000)),
        "go round in a circle",
    ),
    "a chain of 1,000 that sets one key": (
        _SPACE
        + "".join(f"    p{i}: {{values: [1], sets: a, when: {{p{i + 1}: 1}}}}\n" for i in range(999))
        + "    p999: {values: [1]}\n",
        "sets 'a'",
    ),
    "2,300 hyperparameters of ConfigSpace": (
        json.dumps({"hyperparameters": [{"type": "constant", "name": f"a{i}", "value": 1} for i in range(2_300)]}),
        "at most 1,000 are allowed",
    ),
}
_MEASURE = """
import sys, time
from pathlib import Path
from autorl.errors import SpecError
from autorl.spec.load import load_space, load_study
for name in sys.argv[2:]:
    start = time.process_time()
    try:
        (load_space if "ConfigSpace" in name else load_study)(Path(sys.argv[1], name))
    except SpecError as error:
        shown = str(error)
        assert shown.isascii() or "…" in shown or "→" in shown
        assert all(len(line) < 2_000 for line in shown.splitlines())
        print(shown)
    seconds = time.process_time() - start
    # Not getrusage: its peak is inherited from the process that started this one.
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    megabytes = int(peak.split()[1]) / 1024
    print(f"\\0{name}\\0{seconds}\\0{megabytes}")
"""


# One process measures them all, imports included: the peak of the worst is the peak of the process.
@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, float, float]]:
    folder = tmp_path_factory.mktemp("hostile")
    for name, (text, _) in _CASES.items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(folder), *_CASES], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    fields = done.stdout.split("\0")
    found = {}
    said = fields[0]
    for at in range(1, len(fields), 3):
        megabytes, _, following = fields[at + 2].partition("\n")
        found[fields[at]] = (said, float(fields[at + 1]), float(megabytes))
        said = following
    return found


@pytest.mark.parametrize("name", _CASES)
@pytest.mark.xdist_group("hostile")
def test_a_hostile_file_is_refused_quickly_and_in_little_memory(name, measured):
    said, cpu_seconds, megabytes = measured[name]
    assert _CASES[name][1] in said
    assert cpu_seconds < 2  # of the processor, which others on the machine do not add to; a bomb takes half a minute
    assert megabytes < 100
