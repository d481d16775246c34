"""The store of files: a folder and a bucket keep the same promises, and a bucket that fails says so
without a secret."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from avsafe import objects
from avsafe.errors import ObjectsError, UsageError
from avsafe.home import Home
from avsafe.objects import NotThere, Store, open_store
from tests import s3_kit

BYTES = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def s3() -> Iterator[s3_kit.Server]:
    with s3_kit.server() as made:
        if made is None:
            pytest.skip(s3_kit.LACKING)
        yield made


@pytest.fixture
def bucket(
    s3: s3_kit.Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[s3_kit.Server]:
    """Named in the environment, with a prefix for this test alone; patience is short."""
    monkeypatch.setattr(objects, "RETRIES", 1)
    objects._bucket.cache_clear()
    for name, value in s3.environment(tmp_path.name).items():
        monkeypatch.setenv(name, value)
    yield s3
    s3.fault = None


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, home: Home) -> Store:
    if request.param == "s3":
        request.getfixturevalue("bucket")
    return open_store(home)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(BYTES)
    return path


def keys(store: Store, prefix: str = "jobs") -> list[str]:
    return sorted(one.key for one in store.list(prefix))


def test_what_is_put_can_be_had_again(store: Store, file: Path, tmp_path: Path) -> None:
    store.put(file, "jobs/a/out-1.mp4")
    store.fetch("jobs/a/out-1.mp4", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == BYTES
    found = store.about("jobs/a/out-1.mp4")
    assert found is not None
    assert (found.key, found.size_bytes) == ("jobs/a/out-1.mp4", len(BYTES))
    assert [one.size_bytes for one in store.list("jobs")] == [len(BYTES)]
    file.write_bytes(b"other")
    store.put(file, "jobs/a/out-1.mp4")
    assert b"".join(store.stream("jobs/a/out-1.mp4")) == b"other"


@pytest.mark.parametrize(("start", "end"), [(0, None), (0, 1), (4095, 4098), (9000, 99999)])
def test_ranges_over_the_bounds_of_pieces(
    store: Store, file: Path, monkeypatch: pytest.MonkeyPatch, start: int, end: int | None
) -> None:
    monkeypatch.setattr(objects, "PIECE", 1024)
    store.put(file, "jobs/a/x")
    pieces = list(store.stream("jobs/a/x", start, end))
    assert b"".join(pieces) == BYTES[start:end]
    assert max(map(len, pieces)) <= 1024


def test_an_empty_file_is_a_file(store: Store, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch()
    store.put(empty, "jobs/a/x")
    assert b"".join(store.stream("jobs/a/x")) == b""
    found = store.about("jobs/a/x")
    assert found is not None
    assert found.size_bytes == 0


def test_deleting_leaves_the_neighbours(store: Store, file: Path) -> None:
    for key in ("jobs/a/in-image", "jobs/a/out-1.mp4", "jobs/ab/out-1.mp4"):
        store.put(file, key)
    store.delete(["jobs/a/in-image", "jobs/a/never"])
    assert keys(store, "jobs/a") == ["jobs/a/out-1.mp4"]
    store.delete_all("jobs/a")
    store.delete_all("jobs/a")
    assert keys(store) == ["jobs/ab/out-1.mp4"]


def test_what_is_not_there(store: Store, tmp_path: Path) -> None:
    assert store.about("jobs/a/x") is None
    assert keys(store) == []
    for ask in (
        lambda: store.fetch("jobs/a/x", tmp_path / "back"),
        lambda: list(store.stream("jobs/a/x")),
    ):
        with pytest.raises(NotThere):
            ask()


def test_what_others_put_there_is_not_listed(
    store: Store, file: Path, home: Home, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    store.put(file, "jobs/a/x")
    if store.folder is not None:
        (home.objects / "jobs" / "a" / "of somebody else").write_bytes(b"x")
        (home.objects / "jobs" / "b c").mkdir()
    else:
        import boto3

        server = request.getfixturevalue("bucket")
        boto3.client("s3", endpoint_url=server.url, region_name="eu-south-1").put_object(
            Bucket="box", Key=f"{tmp_path.name}/jobs/a/of somebody else", Body=b"x"
        )
    assert keys(store) == ["jobs/a/x"]


@pytest.mark.parametrize("key", ["", "/x", "x/", "a//b", "../x", "a/../b", "a/./b", "a\0b", "a b"])
def test_a_key_names_nothing_else(store: Store, file: Path, key: str) -> None:
    with pytest.raises(UsageError):
        store.put(file, key)
    with pytest.raises(UsageError):
        store.about(key)
    with pytest.raises(UsageError):
        store.delete([key])


def test_a_folder_is_private(home: Home, file: Path) -> None:
    store = open_store(home)
    store.put(file, "jobs/a/x")
    path = home.objects / "jobs" / "a" / "x"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [p.name for p in path.parent.iterdir()] == ["x"]  # nothing half made beside it


# ---------------------------------------------------------------- what a bucket may do


def test_a_bucket_that_stumbles_is_asked_again(
    bucket: s3_kit.Server, home: Home, file: Path
) -> None:
    store = open_store(home)
    bucket.failing("PUT", times=1)
    store.put(file, "jobs/a/x")
    bucket.failing("GET", status="cut", times=1)
    assert b"".join(store.stream("jobs/a/x")) == BYTES


def test_a_bucket_that_gives_back_something_else(
    bucket: s3_kit.Server, home: Home, file: Path
) -> None:
    store = open_store(home)
    bucket.failing("GET", status="garble")
    with pytest.raises(ObjectsError, match="reads back as something else"):
        store.put(file, "jobs/a/x")
    bucket.fault = None
    assert store.about("jobs/a/x") is None


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"AWS_ACCESS_KEY_ID": "SOMEBODYELSE"}, "refuses (403 InvalidAccessKeyId)"),
        ({"AVSAFE_OBJECTS_URL": "s3://nobody/x"}, "refuses (404 NoSuchBucket)"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "does not answer"),
    ],
)
def test_what_goes_wrong_is_told_without_a_secret(
    bucket: s3_kit.Server,
    home: Home,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    said: str,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    store = open_store(home)
    for ask in (store.check, lambda: store.put(file, "jobs/a/x"), lambda: list(store.list("jobs"))):
        with pytest.raises(ObjectsError) as caught:
            ask()
        assert not isinstance(caught.value, NotThere)
        assert str(caught.value).endswith(f"{said}.")
        assert s3_kit.SECRET not in repr(caught.value)
        assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "url",
    ["box", "file:///etc", "https://box", "s3://?box", "s3://box/../x", "s3://KEY:SECRET@box/x",
     "s3://box/x?y=SECRET"],
)  # fmt: skip
def test_an_address_that_is_none_is_not_repeated(home: Home, url: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_store(home, {"AVSAFE_OBJECTS_URL": url})
    assert url not in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_an_endpoint_without_tls_is_asked_for(bucket: s3_kit.Server, home: Home) -> None:
    environment = dict(os.environ)
    del environment["AVSAFE_OBJECTS_HTTP"]
    with pytest.raises(UsageError, match="without TLS"):
        open_store(home, environment)


def test_credentials_lie_in_a_file(
    bucket: s3_kit.Server, home: Home, tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    credentials = tmp_path / "credentials"
    credentials.write_text(
        f"[team]\naws_access_key_id = {s3_kit.KEY_ID}\naws_secret_access_key = {s3_kit.SECRET}\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    with pytest.raises(UsageError, match="profile 'default'"):
        open_store(home)
    monkeypatch.setenv("AWS_PROFILE", "team")
    store = open_store(home)
    store.put(file, "jobs/a/x")
    assert keys(store) == ["jobs/a/x"]


def test_encryption_is_the_providers_to_do(
    bucket: s3_kit.Server, home: Home, tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boto3

    monkeypatch.setenv("AWS_SERVER_SIDE_ENCRYPTION", "AES256")
    open_store(home).put(file, "jobs/a/x")
    found = boto3.client("s3", endpoint_url=bucket.url, region_name="eu-south-1").head_object(
        Bucket="box", Key=f"{tmp_path.name}/jobs/a/x"
    )
    assert found["ServerSideEncryption"] == "AES256"


# ---------------------------------------------------------------- the command line


def test_files_move_into_a_bucket(
    bucket: s3_kit.Server, home: Home, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is interrupted is taken up again; what somebody still makes is left to him."""
    folder = objects.FolderStore(home.objects)
    for key in ("jobs/a/in-image", "jobs/a/out-1.mp4", "jobs/b/.avsafe-1.mp4"):
        folder.put(file, key)
    store = open_store(home)
    moving = objects.moved(folder, store)
    first = next(moving).key
    moving.close()
    assert keys(store) == [first]
    assert _examined("objects") == (False, f"{store.shown}, reached")
    assert _run("objects", "move") == 0
    assert "1 files" in capsys.readouterr().out
    assert keys(store) == ["jobs/a/in-image", "jobs/a/out-1.mp4"]
    assert keys(folder) == ["jobs/b/.avsafe-1.mp4"]


def test_move_needs_a_bucket() -> None:
    assert _run("objects", "move") == 2


def test_the_doctor_says_whether_it_is_reached(
    bucket: s3_kit.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = os.environ["AVSAFE_OBJECTS_URL"]
    assert _examined("objects") == (True, f"{url}, reached")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "SOMEBODYELSE")
    ok, said = _examined("objects")
    assert (ok, "403" in said, s3_kit.SECRET in said) == (False, True, False)
    monkeypatch.delenv("AVSAFE_OBJECTS_URL")
    assert _examined("objects") == (True, "files of jobs, in the home")


def _examined(name: str) -> tuple[bool, str]:
    from avsafe.cli.doctor import _objects

    found = _objects(Home.default())
    assert found.name == name
    return found.ok, found.value


def _run(*words: str) -> int:
    from avsafe.cli import main

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["avsafe", *words])
        with pytest.raises(SystemExit) as ended:
            main()
    return int(ended.value.code or 0)
