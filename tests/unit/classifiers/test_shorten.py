"""What is left of a text that is too long to be sent: the lines that say what went wrong, whatever the language."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from etl.classifiers.shorten import MAX_ITEM_CHARS, shorten

FILLER = "".join(f"step {n}: compiled module number {n} of the many that there are\n" for n in range(400))
"""26,000 characters of a log in which nothing goes wrong."""


def frames(template: str, count: int = 120) -> str:
    return "".join(template.format(n=n) + "\n" for n in range(count))


ROWS = [
    (
        "a Python traceback keeps its exception and its last frames",
        "Traceback (most recent call last):\n"
        + frames('  File "/srv/app/layer_{n}.py", line {n}, in call_{n}\n    return self.inner_{n}(value)')
        + "  File \"/srv/app/codec.py\", line 88, in decode\n    return table[key]\nKeyError: 'alpha'\n",
        ["KeyError: 'alpha'", 'File "/srv/app/codec.py", line 88, in decode', "return table[key]", "in call_119"],
    ),
    (
        "a chained Python traceback keeps both exceptions",
        (
            'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\n'
            "ConnectionResetError: [Errno 104] reset\n"
            "\nThe above exception was the direct cause of the following exception:\n\n"
            'Traceback (most recent call last):\n  File "b.py", line 2, in h\n    f()\napp.errors.StoreLost: no store\n'
            "app.errors.StoreError: gone\n"
        ),
        [
            "ConnectionResetError: [Errno 104] reset",
            "The above exception was the direct",
            "app.errors.StoreError: gone",
        ],
    ),
    (
        "a Java trace keeps its exception, its first frames and every cause",
        'Exception in thread "main" org.acme.StartFailed: no bean\n'
        + frames("\tat org.acme.Layer{n}.call(Layer{n}.java:{n})")
        + "Caused by: java.io.IOException: No space left on device\n"
        + frames("\tat org.acme.Disk{n}.write(Disk{n}.java:{n})")
        + "\t... 12 more\n",
        [
            'Exception in thread "main" org.acme.StartFailed: no bean',
            "\tat org.acme.Layer0.call(Layer0.java:0)",
            "Caused by: java.io.IOException: No space left on device",
            "\tat org.acme.Disk0.write(Disk0.java:0)",
        ],
    ),
    (
        "a Go panic keeps its reason and the goroutine's first frames",
        "panic: runtime error: index out of range [5] with length 3\n\ngoroutine 1 [running]:\n"
        "main.pick(0xc000012345, 0x5)\n\t/go/src/app/pick.go:42 +0x1b4\n"
        + frames("main.layer{n}(0x{n})\n\t/go/src/app/layer{n}.go:7 +0x1b4")
        + "exit status 2\n",
        [
            "panic: runtime error: index out of range [5] with length 3",
            "goroutine 1 [running]:",
            "main.pick(0xc000012345, 0x5)",
            "\t/go/src/app/pick.go:42 +0x1b4",
        ],
    ),
    (
        "a Rust panic keeps its message and the frames that follow",
        "thread 'main' panicked at src/store.rs:118:17:\ncalled `Option::unwrap()` on a `None` value\n"
        "stack backtrace:\n" + frames("  {n:3}: app::layer::f{n}\n             at ./src/layer.rs:{n}:9"),
        [
            "thread 'main' panicked at src/store.rs:118:17:",
            "called `Option::unwrap()` on a `None` value",
            "app::layer::f0",
        ],
    ),
    (
        "a Rust diagnostic keeps the place and the marked line",
        (
            "error[E0308]: mismatched types\n  --> src/router/mod.rs:118:17\n   |\n118 |     let x: u32 = name;\n"
            "   |            ---   ^^^^ expected `u32`, found `&str`\n"
        ),
        [
            "error[E0308]: mismatched types",
            "--> src/router/mod.rs:118:17",
            "118 |     let x: u32 = name;",
            "^^^^ expected",
        ],
    ),
    (
        "a JavaScript error keeps its message and its first frames",
        "TypeError: Cannot read properties of undefined (reading 'map')\n    at render (src/App.tsx:42:17)\n"
        + frames("    at layer{n} (node_modules/lib/layer{n}.js:{n}:9)"),
        ["TypeError: Cannot read properties of undefined (reading 'map')", "at render (src/App.tsx:42:17)"],
    ),
    (
        "an uncaught JavaScript error in a browser is one too",
        "Uncaught (in promise) ReferenceError: config is not defined\n    at boot (main.js:3:1)\n",
        ["Uncaught (in promise) ReferenceError: config is not defined", "at boot (main.js:3:1)"],
    ),
    (
        "a C++ compiler error keeps the place, the source line and the note",
        (
            "src/core/io.cpp:118:17: error: no matching function for call to 'read(int&)'\n"
            "  118 |   auto x = read(n);\n      |            ~~~~^~~\n"
            "make[2]: *** [CMakeFiles/core.dir/build.make:76: io.cpp.o] Error 1\n"
        ),
        [
            "src/core/io.cpp:118:17: error: no matching function for call to 'read(int&)'",
            "  118 |   auto x = read(n);",
            "make[2]: *** [CMakeFiles/core.dir/build.make:76: io.cpp.o] Error 1",
        ],
    ),
    (
        "an error of a Microsoft compiler and a linker",
        r"C:\src\meta.h(89,5): error C2143: syntax error: missing ';'" + "\n"
        "/usr/bin/ld: main.o: in function `main':\nmain.c:(.text+0x1f): undefined reference to `pick'\n"
        "collect2: error: ld returned 1 exit status\n",
        ["error C2143: syntax error", "undefined reference to `pick'", "collect2: error: ld returned 1 exit status"],
    ),
    (
        "a summary of pytest keeps the assertion and every failed test",
        (
            "=================================== FAILURES ===================================\n"
            ">       assert total == 4\nE       assert 3 == 4\ntests/test_sum.py:12: AssertionError\n"
            "=========================== short test summary info ============================\n"
            "FAILED tests/test_sum.py::test_total - assert 3 == 4\n"
            "ERROR tests/test_db.py::test_open - OperationalError: gone\n"
            "============= 1 failed, 118 passed, 1 error in 61.23s =============\n"
        ),
        [
            "E       assert 3 == 4",
            "FAILED tests/test_sum.py::test_total - assert 3 == 4",
            "ERROR tests/test_db.py::test_open - OperationalError: gone",
            "1 failed, 118 passed, 1 error",
        ],
    ),
    (
        "tests of Go and Jest",
        (
            "--- FAIL: TestParse (0.03s)\n    parse_test.go:31: got 3, want 4\n"
            "  \u25cf Cart \u203a adds item\n\n"
            "    expect(received).toBe(expected)\n\n    Expected: 3\n    Received: 4\n"
        ),
        ["--- FAIL: TestParse (0.03s)", "parse_test.go:31: got 3, want 4", "Expected: 3", "Received: 4"],
    ),
    (
        "assertions, crashes and exit codes",
        (
            "app: src/heap.c:88: grow: Assertion `size > 0' failed.\nAborted (core dumped)\n"
            "==16211==ERROR: AddressSanitizer: heap-use-after-free\n    #0 0x55d0 in run src/a.cc:88:3\n"
            "##[error]Process completed with exit code 134.\n"
        ),
        ["Assertion `size > 0' failed.", "Aborted (core dumped)", "#0 0x55d0 in run src/a.cc:88:3", "exit code 134"],
    ),
    (
        "tools that say fatal and error",
        (
            "fatal: unable to access 'https://git.acme.test/r.git/': Could not resolve host\nnpm ERR! code ERESOLVE\n"
            "error: failed to push some refs\nE: nothing\nERROR: No matching distribution found for torch==2.9.0\n"
        ),
        [
            "fatal: unable to access",
            "npm ERR! code ERESOLVE",
            "error: failed to push",
            "ERROR: No matching distribution",
        ],
    ),
]


@pytest.mark.parametrize(("trace", "kept"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_lines_in_the_middle_that_say_what_went_wrong_are_kept(trace: str, kept: list[str]) -> None:
    shown, left_out = shorten(f"The title\n{FILLER}{trace}{FILLER}the last word", 6_000)
    assert not [line for line in kept if line not in shown]
    assert shown.startswith("The title\n")
    assert shown.endswith("the last word")
    assert left_out > 40_000


def test_frames_far_from_the_failure_give_way_to_those_beside_it() -> None:
    trace = ROWS[0][1]
    shown, _ = shorten(f"{FILLER}{trace}{FILLER}", 4_000)
    assert "in call_119" in shown
    assert "in call_50" not in shown


def test_a_failure_that_repeats_but_for_its_figures_takes_the_room_of_one() -> None:
    noise = "".join(f"2026-01-01 ERROR: retry {n} failed after {n} s\n" for n in range(2_000))
    shown, _ = shorten(f"{FILLER}{noise}ValueError: the cause\n{noise}{FILLER}", 4_000)
    assert "ValueError: the cause" in shown


def test_the_first_and_the_last_failures_are_kept_where_not_all_have_room() -> None:
    words = [f"{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(400)]
    errors = "".join(f"error: the part {word} of the engine does not fit at all\n" for word in words)
    shown, _ = shorten(FILLER + errors + FILLER, 4_000)
    assert f"the part {words[0]} of" in shown
    assert f"the part {words[-1]} of" in shown
    assert f"the part {words[200]} of" not in shown


def test_an_error_far_inside_a_line_without_end_is_found() -> None:
    shown, _ = shorten("x" * 20_000 + " " * 380 + "KeyError: 'alpha' " + "y" * 20_000, 4_000)
    assert "KeyError: 'alpha'" in shown


def test_a_text_that_fits_is_sent_as_it_is() -> None:
    text = "x" * MAX_ITEM_CHARS
    assert shorten(text) == (text, 0)


LINES = st.lists(
    st.sampled_from(
        ["error: a", "  at f(x.js:1)", "ok then", "", "ValueError: b" * 40, "x" * 900, "FAILED c", "panic: d"]
    ),
    max_size=120,
).map("\n".join)


@given(text=LINES | st.text(alphabet="ab E\nrror:", max_size=4_000), limit=st.integers(0, 3_000))
def test_a_shortened_text_fits_and_its_cut_is_counted_exactly(text: str, limit: int) -> None:
    shown, left_out = shorten(text, limit)
    assert len(shown) <= limit
    if len(text) <= limit:
        assert (shown, left_out) == (text, 0)
    else:
        kept = re.sub(r"\n\[\.\.\. \d+ characters left out \.\.\.\]\n", "", shown)
        assert len(kept) == len(text) - left_out


def test_beginning_end_and_the_traceback_in_the_middle_survive() -> None:
    filler = "lorem ipsum dolor sit amet\n" * 400
    trace = 'Traceback (most recent call last):\n  File "a.py", line 3, in f\nValueError: shape mismatch\n'
    shown, left_out = shorten(f"The title\n{filler}{trace}{filler}the last word", 4_000)
    assert shown.startswith("The title\n")
    assert shown.endswith("the last word")
    assert trace in shown
    assert left_out > 15_000
    assert sum(int(number) for number in re.findall(r"\[\.\.\. (\d+) characters", shown)) == left_out


def test_room_that_no_error_needs_goes_to_the_beginning() -> None:
    shown, _ = shorten("x" * 10_000, 4_000)
    assert len(shown) > 3_900


@pytest.mark.parametrize(
    "seed",
    [
        "error ",
        "\n",
        "a.",
        "a\n",
        "error: a\n",
        " a\n",
        "at a(",
        "Traceback ",
        'File "',
        "ErrorErrorError(",
        "A.",
        "a:1:",
        "(1,",
    ],
)
def test_a_hostile_megabyte_is_shortened_in_one_pass(seed: str) -> None:
    shown, left_out = shorten((seed * 1_000_000)[:1_000_000], 16_000)
    assert len(shown) <= 16_000
    assert left_out >= 984_000
