"""The command line as a person runs it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from policy import HANG
from weft.cli import COMMANDS, main


def weft(*words, **env):
    """(exit code, stdout, stderr) of the command in a process of its own."""
    run = subprocess.run(
        [sys.executable, "-m", "weft", *words], capture_output=True, text=True, env={**os.environ, **env}, timeout=HANG
    )
    return run.returncode, run.stdout, run.stderr


def test_help_names_every_command():
    code, out, _ = weft("--help")
    assert code == 0
    assert all(name in out for name in COMMANDS)


def test_version():
    import weft as package

    assert weft("--version")[:2] == (0, f"weft {package.__version__}\n")


def test_no_command_and_an_unknown_one_are_misuse():
    assert weft()[0] == 2
    code, _, err = weft("tarin")
    assert code == 2
    assert "expected one of train, predict, generate" in err and "'tarin'" in err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main([name, "--help"])
    assert stop.value.code == 0
    assert f"weft {name}" in capsys.readouterr().out


def test_help_imports_only_the_command_line():
    code = "from weft.cli import main; main(['--help']); import sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"weft.train", "weft.nn", "weft.cli.train", "safetensors", "tqdm", "matplotlib"} & set(loaded)


def test_a_fault_is_a_sentence_and_its_stack_is_one_variable_away():
    code, _, err = weft("bench", "nosuch")
    assert code == 1 and err.startswith("weft bench: expected") and "Traceback" not in err
    assert "Traceback" in weft("bench", "nosuch", WEFT_TRACE="1")[2]


def test_data_get_names_what_there_is():
    code, _, err = weft("data", "get", "imagenet")
    assert code == 1
    assert "expected one of mnist, fashion" in err and "'imagenet'" in err


def test_data_says_where_it_looked(tmp_path):
    code, out, _ = weft("data", WEFT_DATA=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert code == 0
    assert str(tmp_path) in out and "weft data get mnist" in out
