"""Archives from strangers: none of them writes anywhere but where it should, or more than it may."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from affetto.data.corpora import archives
from affetto.data.corpora.archives import DAMAGED, TOO_BIG, UNSAFE, ArchiveError, unpack

WANTED = ("etc", "wav")


def _member(name: str, content: bytes = b"x", **facts: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    info.mtime = 1_200_000_000
    for key, value in facts.items():
        setattr(info, key, value)
    return info, content


def _tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return content.getvalue()


@pytest.fixture
def archive(tmp_path: Path) -> Callable[..., Path]:
    def write(*members: tuple[tarfile.TarInfo, bytes]) -> Path:
        (tmp_path / "in").mkdir(exist_ok=True)
        path = tmp_path / "in" / "a.tgz"
        path.write_bytes(gzip.compress(_tar(*members)))
        return path

    return write


def _files(folder: Path) -> dict[str, bytes]:
    """Everything that lies below a folder, links not followed."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix(): b"" if path.is_symlink() else path.read_bytes() for path in found}


def test_only_what_is_wanted_comes_out(archive: Callable[..., Path], tmp_path: Path) -> None:
    path = archive(
        _member("ann/LICENSE"),
        _member("ann/etc/README", b"User Name:ann"),
        _member("./etc/PROMPTS", b"a1 ONE"),
        _member("ann/wav/a1.wav", b"sound"),
        _member("ann/wav/._a1.wav"),
        _member("ann/wav/deep/a1.wav"),
        _member("ann/mfc/a1.mfc"),
        _member("ann/wav", type=tarfile.DIRTYPE, content=b""),
    )
    unpack(path, tmp_path / "out" / "ann", WANTED)
    assert _files(tmp_path / "out") == {
        "ann/etc/README": b"User Name:ann",
        "ann/etc/PROMPTS": b"a1 ONE",
        "ann/wav/a1.wav": b"sound",
    }


HOSTILE = {
    "upwards": _member("ann/../../evil/etc/x"),
    "upwards at the end": _member("ann/etc/.."),
    "absolute": _member("/tmp/etc/x"),
    "of another system": _member("ann/etc/..\\..\\x"),
    "a drive": _member("ann/etc/C:x"),
    "a stream": _member("ann/etc/x:y"),
    "a line feed": _member("ann/etc/x\ny"),
    "endless": _member("ann/etc/" + "x" * 250),
    "symbolic link": _member("ann/etc/x", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"),
    "linked folder": _member("ann/wav", b"", type=tarfile.SYMTYPE, linkname="/tmp"),
    "hard link": _member("ann/etc/x", b"", type=tarfile.LNKTYPE, linkname="../../secret"),
    "device": _member("ann/etc/x", b"", type=tarfile.CHRTYPE),
    "pipe": _member("ann/etc/x", b"", type=tarfile.FIFOTYPE),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_the_hostile_are_refused_whole(name: str, archive: Callable[..., Path], tmp_path: Path) -> None:
    path = archive(_member("ann/etc/README", b"harmless"), HOSTILE[name], _member("ann/etc/x", b"through the link"))
    before = _files(tmp_path)
    with pytest.raises(ArchiveError, match=UNSAFE) as refused:
        unpack(path, tmp_path / "out" / "ann", WANTED)
    assert refused.value.reason == UNSAFE
    assert _files(tmp_path) == before


def test_a_name_twice_is_refused(archive: Callable[..., Path], tmp_path: Path) -> None:
    path = archive(_member("ann/etc/x", b"one"), _member("bob/etc/x", b"two"))
    with pytest.raises(ArchiveError, match="twice"):
        unpack(path, tmp_path / "out", WANTED)


@pytest.mark.parametrize("place", ["ann/etc/x", "ann/elsewhere/x"])
def test_bombs_are_stopped(place: str, archive: Callable[..., Path], tmp_path: Path) -> None:
    """A thousandfold of zeros, whether it would be written or only passed over."""
    path = archive(_member(place, bytes(2**24)))
    assert path.stat().st_size < 2**24 // archives.MOST_EXPANSION
    with pytest.raises(ArchiveError, match=TOO_BIG) as refused:
        unpack(path, tmp_path / "out", WANTED)
    assert refused.value.reason == TOO_BIG
    assert list(tmp_path.glob("*out*")) == []


def test_headers_that_never_end_are_stopped(tmp_path: Path) -> None:
    header = tarfile.TarInfo("long")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 2**33
    path = tmp_path / "a.tgz"
    path.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(2**24)))
    with pytest.raises(ArchiveError, match=TOO_BIG):
        unpack(path, tmp_path / "out", WANTED)


def test_too_many_files_are_stopped(
    archive: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MOST_FILES", 3)
    members = [_member(f"ann/etc/{number}") for number in range(4)]
    unpack(archive(*members[:3]), tmp_path / "out", WANTED)
    with pytest.raises(ArchiveError, match=TOO_BIG):
        unpack(archive(*members), tmp_path / "more", WANTED)


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", gzip.compress(b""), gzip.compress(b"no tar" * 200), _tar(_member("ann/etc/x"))],
    ids=["empty", "text", "nothing packed", "packed text", "not compressed"],
)
def test_what_is_no_archive_is_damaged(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.tgz").write_bytes(content)
    with pytest.raises(ArchiveError, match=DAMAGED):
        unpack(tmp_path / "a.tgz", tmp_path / "out", WANTED)
    assert not (tmp_path / "out").exists()


def test_a_missing_archive_is_damaged(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="No such file"):
        unpack(tmp_path / "a.tgz", tmp_path / "out", WANTED)


def test_the_same_archive_is_not_unpacked_twice_but_another_is(archive: Callable[..., Path], tmp_path: Path) -> None:
    path, out = archive(_member("ann/etc/x", b"old"), _member("ann/etc/y", b"old")), tmp_path / "out"
    unpack(path, out, WANTED)
    made = out.stat().st_ino
    unpack(path, out, WANTED)
    assert out.stat().st_ino == made
    path = archive(_member("ann/etc/x", b"new"))
    os.utime(path, (2_000_000_000, 2_000_000_000))
    unpack(path, out, WANTED)
    assert _files(out) == {"etc/x": b"new"}


def test_what_a_killed_run_left_is_cleared_away(archive: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / ".out.partial" / "etc").mkdir(parents=True)
    (tmp_path / ".out.partial" / "etc" / "x").write_bytes(b"half")
    unpack(archive(_member("ann/etc/x", b"whole")), tmp_path / "out", WANTED)
    assert _files(tmp_path / "out") == {"etc/x": b"whole"}
    assert not (tmp_path / ".out.partial").exists()


def test_times_are_those_packed(archive: Callable[..., Path], tmp_path: Path) -> None:
    unpack(archive(_member("ann/etc/x")), tmp_path / "out", WANTED)
    assert (tmp_path / "out" / "etc" / "x").stat().st_mtime == 1_200_000_000


WHOLE = _tar(_member("ann/etc/README", b"User Name:ann"), _member("ann/wav/a1.wav", bytes(600)))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.dictionaries(st.integers(0, 1100), st.integers(0, 255), min_size=1, max_size=6),
    end=st.one_of(st.just(len(WHOLE)), st.integers(0, len(WHOLE))),
)
def test_damage_of_any_kind_is_refused_or_harmless(changes: dict[int, int], end: int, tmp_path: Path) -> None:
    content = bytearray(WHOLE)
    for place, value in changes.items():
        content[place] = value
    (tmp_path / "in.tgz").write_bytes(gzip.compress(bytes(content[:end]), compresslevel=1))
    out = tmp_path / "deep" / "er" / "out"
    out.parent.mkdir(parents=True, exist_ok=True)
    assert _reason(tmp_path / "in.tgz", out) in {None, *archives.FAULTS}
    inside = {"in.tgz", *(f"deep/er/out/{folder}/" for folder in WANTED)}
    assert all(any(name.startswith(place) for place in inside) for name in _files(tmp_path))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), cut=st.integers(0, 400))
def test_damage_of_the_compression_is_refused_or_harmless(content: bytes, cut: int, tmp_path: Path) -> None:
    packed = gzip.compress(WHOLE)
    (tmp_path / "in.tgz").write_bytes(packed[:cut] + content + packed[cut + len(content) :])
    assert _reason(tmp_path / "in.tgz", tmp_path / "out") in {None, *archives.FAULTS}


def _reason(archive: Path, folder: Path) -> str | None:
    """Why an archive is refused; any other exception goes through."""
    try:
        unpack(archive, folder, WANTED)
    except ArchiveError as error:
        return error.reason
    return None
