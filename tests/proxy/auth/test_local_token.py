"""The token's file: whose it is, who may read it, when it is made anew."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.auth import local_token
from proxy.auth.local_token import NAME, LocalToken, open_token, read_token
from proxy.core.errors import CallerFault
from proxy.core.types import Headers


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_it_is_made_for_its_owner_alone(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        token = open_token(tmp_path / "data")
    finally:
        os.umask(before)
    assert token.path == tmp_path / "data" / NAME
    assert mode(token.path) == 0o600
    assert mode(token.path.parent) == 0o700
    assert token.path.read_text() == f"{token.value}\n"
    assert len(token.value) >= 43
    assert [path.name for path in token.path.parent.iterdir()] == [NAME]


def test_it_is_kept_over_restarts(tmp_path: Path) -> None:
    assert open_token(tmp_path) == open_token(tmp_path)


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    assert mode(open_token(folder).path) == 0o600
    assert mode(folder) == 0o755


def readable_by_others(path: Path) -> None:
    path.chmod(0o644)


def empty(path: Path) -> None:
    path.write_text("")


def short(path: Path) -> None:
    path.write_text("guess-me\n")


def link(path: Path) -> None:
    elsewhere = path.with_name("elsewhere")
    path.rename(elsewhere)
    path.symlink_to(elsewhere)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


@pytest.mark.parametrize("spoil", [readable_by_others, empty, short, link, pipe])
def test_what_is_not_safe_is_made_anew(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    before = open_token(tmp_path)
    spoil(before.path)
    assert read_token(before.path) is None
    after = open_token(tmp_path)
    assert after.value != before.value
    assert mode(after.path) == 0o600
    assert not after.path.is_symlink()


def test_another_users_file_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = open_token(tmp_path)
    monkeypatch.setattr(local_token.os, "geteuid", lambda: os.getuid() + 1)
    assert read_token(token.path) is None
    with pytest.raises(PermissionError, match=NAME):
        open_token(tmp_path)


def test_of_many_that_start_at_once_all_have_the_same(tmp_path: Path) -> None:
    found: list[str] = []
    start = threading.Barrier(8)

    def open_() -> None:
        start.wait()
        found.append(open_token(tmp_path / "data").value)

    threads = [threading.Thread(target=open_) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_where_it_cannot_be_kept_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(OSError, match="data"):
        open_token(tmp_path / "data")


def test_the_right_one_is_let_in(tmp_path: Path) -> None:
    token = open_token(tmp_path)
    token.check(Headers([("authorization", f"Bearer {token.value}")]))
    token.check(Headers([("x-api-key", token.value)]))


@pytest.mark.parametrize(
    ("pairs", "code"),
    [
        ([], "missing_authorization"),
        ([("authorization", "Bearer wrong")], "invalid_token"),
        ([("authorization", "Bearer größer")], "invalid_token"),
    ],
)
def test_nobody_else_is(
    tmp_path: Path, pairs: list[tuple[str, str]], code: str
) -> None:
    token = open_token(tmp_path)
    with pytest.raises(CallerFault) as caught:
        token.check(Headers(pairs))
    assert (caught.value.code, caught.value.status) == (code, 401)
    assert token.value not in caught.value.message


def test_its_value_is_not_shown() -> None:
    assert "secret-value" not in repr(LocalToken(Path("f"), "secret-value"))
