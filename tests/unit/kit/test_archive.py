"""Archives: what goes in comes out, and what a sandbox made cannot write anywhere else."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

import pytest

from offload_core.abc import Download, Upload
from offload_core.errors import DownloadFailed, RemoteFileMissing
from offload_core.kit import members, pack, unpack

Member = tuple[str, bytes | None, dict[str, object]]


def _tar(members: Iterable[Member]) -> io.BytesIO:
    """An archive as a hostile sandbox could make it; content None makes a member without data."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content, attributes in members:
            info = tarfile.TarInfo(name)
            info.size = len(content or b"")
            for key, value in attributes.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(content) if content is not None else None)
    archive.seek(0)
    return archive


def _files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def test_round_trip(tmp_path: Path) -> None:
    """Files, bytes, directories, empty and oddly named ones, and hard links come out as they went in."""
    tree = tmp_path / "tree"
    (tree / "empty").mkdir(parents=True)
    (tree / "-odd\n'name").write_bytes(b"odd")
    (tree / "twin").hardlink_to(tree / "-odd\n'name")
    (tree / "link").symlink_to("/etc/passwd")
    archive = io.BytesIO()
    pack([Upload(tree, PurePosixPath("/in/tree")), Upload(b"raw", PurePosixPath("/in/raw"))], archive)
    archive.seek(0)
    out = tmp_path / "out"
    unpack(archive, [Download(PurePosixPath("/in/tree"), out / "t"), Download(PurePosixPath("/in/raw"), out / "r")])
    assert _files(out) == {"t", "t/empty", "t/-odd\n'name", "t/twin", "r"}
    assert (out / "t" / "twin").read_bytes() == b"odd"
    assert (out / "r").read_bytes() == b"raw"


def test_pack_takes_a_link_for_what_it_points_to(tmp_path: Path) -> None:
    """A link that is named itself is uploaded as the file it points to; a missing file is an OSError."""
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    archive = io.BytesIO()
    pack([Upload(tmp_path / "link", PurePosixPath("/target"))], archive)
    archive.seek(0)
    unpack(archive, [Download(PurePosixPath("/target"), tmp_path / "out")])
    assert (tmp_path / "out").read_bytes() == b"content"
    with pytest.raises(FileNotFoundError):
        pack([Upload(tmp_path / "missing", PurePosixPath("/target"))], io.BytesIO())


def test_nothing_is_written_outside(tmp_path: Path) -> None:
    """Absolute names, `..`, links and devices in an archive write nothing; nor does what was not asked for."""
    hostile: list[Member] = [
        ("/wanted/absolute", b"x", {}),
        ("wanted/../../escaped", b"x", {}),
        ("wanted/link", None, {"type": tarfile.SYMTYPE, "linkname": str(tmp_path / "outside")}),
        ("wanted/link/through", b"x", {}),
        ("wanted/hard", None, {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"}),
        ("wanted/device", None, {"type": tarfile.CHRTYPE}),
        ("wanted/pipe", None, {"type": tarfile.FIFOTYPE}),
        ("other", b"x", {}),
        ("wanted/good", b"good", {}),
    ]
    out = tmp_path / "out"
    unpack(_tar(hostile), [Download(PurePosixPath("/wanted"), out / "wanted")])
    assert _files(tmp_path) == {"out", "out/wanted", "out/wanted/link", "out/wanted/link/through", "out/wanted/good"}
    assert not (out / "wanted" / "link").is_symlink()


def test_links_in_the_target_are_not_followed(tmp_path: Path) -> None:
    """A link that stands where a file or a directory belongs is replaced, never written through."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_bytes(b"untouched")
    target = tmp_path / "target"
    target.mkdir()
    (target / "directory").symlink_to(outside)
    (target / "file").symlink_to(outside / "file")
    archive = _tar([("d/directory/file", b"new", {}), ("d/file", b"new", {})])
    unpack(archive, [Download(PurePosixPath("/d"), target)])
    assert (outside / "file").read_bytes() == b"untouched"
    assert (target / "directory" / "file").read_bytes() == b"new"
    assert (target / "file").read_bytes() == b"new"


def test_wanted_twice(tmp_path: Path) -> None:
    """One source for two targets, and a directory together with a file in it, all arrive."""
    archive = _tar([("./d", None, {"type": tarfile.DIRTYPE}), ("./d/f", b"f", {})])
    targets = [tmp_path / name for name in ("one", "two", "file")]
    sources = [PurePosixPath("/d"), PurePosixPath("/d"), PurePosixPath("/d/f")]
    unpack(archive, [Download(source, target) for source, target in zip(sources, targets, strict=True)])
    assert [(tmp_path / path).read_bytes() for path in ("one/f", "two/f", "file")] == [b"f"] * 3


def test_missing(tmp_path: Path) -> None:
    """What the archive does not hold is named."""
    with pytest.raises(RemoteFileMissing, match="/no/such"):
        unpack(_tar([("other", b"", {})]), [Download(PurePosixPath("/no/such"), tmp_path / "x")])


@pytest.mark.parametrize("cut", [0, 100, 700, 2000])
def test_cut_archive(tmp_path: Path, cut: int) -> None:
    """An archive that ends early is DownloadFailed, wherever it ends: not a short file, and no other error."""
    whole = _tar([("file", b"x" * 4000, {})]).getvalue()
    with pytest.raises(DownloadFailed, match="tar archive"):
        unpack(io.BytesIO(whole[:cut]), [Download(PurePosixPath("/file"), tmp_path / "file")])


def test_not_an_archive(tmp_path: Path) -> None:
    """Bytes that are no archive are DownloadFailed."""
    with pytest.raises(DownloadFailed):
        unpack(io.BytesIO(b"\xff" * 5000), [Download(PurePosixPath("/file"), tmp_path / "file")])


def test_too_big(tmp_path: Path) -> None:
    """What would unpack to more than the bound is refused before it is written."""
    archive = _tar([("d/one", b"x" * 600, {}), ("d/two", b"x" * 600, {})])
    with pytest.raises(DownloadFailed, match="more than 1000 bytes"):
        unpack(archive, [Download(PurePosixPath("/d"), tmp_path / "d")], limit=1000)
    assert _files(tmp_path) == {"d", "d/one"}


def test_cannot_be_written(tmp_path: Path) -> None:
    """A directory in the place of a file is DownloadFailed, not a bare OSError."""
    (tmp_path / "file").mkdir()
    with pytest.raises(DownloadFailed, match="cannot be written"):
        unpack(_tar([("file", b"x", {})]), [Download(PurePosixPath("/file"), tmp_path / "file")])


def _joined() -> io.BytesIO:
    """Two archives one after the other, and something hostile in the second."""
    first = _tar([("./a", b"first", {}), ("d/b", b"", {})])
    second = _tar([("./c", b"third", {}), ("../up", b"x", {}), ("/abs", b"x", {}), ("l", None, {"type": b"2"})])
    return io.BytesIO(first.getvalue() + second.getvalue())


def test_members_of_archives_one_after_the_other() -> None:
    """All files of all of them, by their names as `unpack` takes them; what it would leave out is left out."""
    told = [(str(member.name), member.size, member.digest) for member in members(_joined())]
    assert told == [("a", 5, ""), ("d/b", 0, ""), ("c", 5, "")]


def test_members_with_digests(tmp_path: Path) -> None:
    """The same content has the same digest, under every name, and second names of one file have it, too."""
    (tmp_path / "one").write_bytes(b"content")
    (tmp_path / "two").write_bytes(b"content")
    (tmp_path / "three").write_bytes(b"other")
    (tmp_path / "twin").hardlink_to(tmp_path / "three")
    archive = io.BytesIO()
    pack([Upload(tmp_path, PurePosixPath("/in"))], archive)
    archive.seek(0)
    digests = {member.name.name: member.digest for member in members(archive, digests=True)}
    assert digests.keys() == {"one", "two", "three", "twin"}
    assert digests["one"] == digests["two"] != digests["three"] == digests["twin"]
    assert len(digests["one"]) == 64


def test_members_of_what_is_no_archive() -> None:
    """Cut in a file, or something else: an error, not an end."""
    whole = _tar([("file", b"x" * 5000, {})]).getvalue()
    with pytest.raises(DownloadFailed):
        list(members(io.BytesIO(whole[:2000])))
    with pytest.raises(DownloadFailed):
        list(members(io.BytesIO(b"")))


def test_unpack_archives_one_after_the_other(tmp_path: Path) -> None:
    """Each file goes where it was asked for, and nothing else is written; without `joined` only the first is read."""
    files = [Download(PurePosixPath("/", name), tmp_path / "out" / name) for name in ("a", "c")]
    with pytest.raises(RemoteFileMissing):
        unpack(_joined(), files)
    unpack(_joined(), files, joined=True)
    assert _files(tmp_path) == {"out", "out/a", "out/c"}
    assert (tmp_path / "out/c").read_bytes() == b"third"


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_huge_header_is_not_read(kind: bytes, tmp_path: Path) -> None:
    """What an archive says about a member is held in memory: more than a MiB of it is refused, unread."""
    info = tarfile.TarInfo("header")
    info.type, info.size = kind, (1 << 20) + 1
    archive = io.BytesIO(info.tobuf())  # it ends where the rest would be read
    with pytest.raises(DownloadFailed, match="a header in the archive has more than"):
        list(members(archive))
    archive.seek(0)
    with pytest.raises(DownloadFailed, match="a header in the archive has more than"):
        unpack(archive, [Download(PurePosixPath("/a"), tmp_path / "a")])
