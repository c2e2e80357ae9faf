"""The text of a snapshot: vectors made with the real snapdir 1.12, and every way to be wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.manifest import (
    Entry,
    Kind,
    Manifest,
    directory_checksum,
    parent_of,
    with_directories,
)
from ring.digest import Digest
from ring.errors import InvalidManifest, UnsafePath

EMPTY = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
FOO = "49dc870df1de7fd60794cebce449f5ccdae575affaa67a24b62acb03e039db92"  # "foo\n"
HELLO = "ea8f163db38682925e4491c5e58d4bb3506ef8c14eb78a86e908c5624a67200f"

TEXT = f"""\
D 700 4a0732cfb45ebe9d8d572fc4c77b759384bed029911e35f8859430b889427d4d 4 ./
F 600 {EMPTY} 0 ./bar.txt
F 600 {FOO} 4 ./foo.txt
""".encode()
TEXT_ID = "8af03a1bec09b1838d2c4f56c6940ed35ccdad1064243d2d775e8347ba82b9be"

LINE = f"F 644 {HELLO} 5 ./a\n".encode()


def file(path: str, checksum: str = HELLO, size_bytes: int = 5, mode: int = 0o644) -> Entry:
    return Entry(Kind.FILE, mode, checksum, size_bytes, path)


def directory(path: str) -> Entry:
    return Entry(Kind.DIRECTORY, 0o755, EMPTY, 0, path)


def line(
    kind: str = "F", mode: str = "644", checksum: str = HELLO, size: str = "5", path: str = "./a"
) -> bytes:
    return f"{kind} {mode} {checksum} {size} {path}\n".encode()


# --- vectors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "checksum"), [(b"", EMPTY), (b"foo\n", FOO), (b"hello", HELLO)]
)
def test_checksums_are_plain_blake3(content: bytes, checksum: str) -> None:
    assert checksum == Digest.of(content).hex


@pytest.mark.parametrize(
    ("mode", "files", "root_checksum", "snapshot_id"),
    [
        (0o755, [], EMPTY, "bb83e51d36a3ffa25011d1ea67419da2ca7609d3537b993286d9bec752519acc"),
        (
            0o755,
            [file("./a.txt")],
            "6cd17c61c7e42c50586ee5f3f54dbc4f809f71073fc176ed2ae865103dd33625",
            "5803426341cd88149ee1b981e8fa337b728d5cff9be5b92c3c4e1e214dc9d504",
        ),
        (
            0o700,
            [file("./foo.txt", EMPTY, 0, 0o600), file("./bar.txt", EMPTY, 0, 0o600)],
            "dba5865c0d91b17958e4d2cac98c338f85cbbda07b71a020ab16c391b5e7af4b",
            "c678a299380893769bd7795628b96147229b410a9d5a5b7cae563bcae3c27857",
        ),
        (
            0o700,
            [file("./foo.txt", FOO, 4, 0o600), file("./bar.txt", EMPTY, 0, 0o600)],
            "4a0732cfb45ebe9d8d572fc4c77b759384bed029911e35f8859430b889427d4d",
            TEXT_ID,
        ),
    ],
)
def test_a_tree_has_the_name_that_snapdir_gives_it(
    mode: int, files: list[Entry], root_checksum: str, snapshot_id: str
) -> None:
    manifest = with_directories(files, {"./": mode})

    assert root_checksum == manifest.entries[0].checksum
    assert snapshot_id == manifest.id.hex


def test_the_canonical_text_is_what_snapdir_stores() -> None:
    manifest = with_directories(
        [file("./foo.txt", FOO, 4, 0o600), file("./bar.txt", EMPTY, 0, 0o600)], {"./": 0o700}
    )

    assert manifest.render() == TEXT
    assert len(TEXT) == 242
    assert Manifest.parse(TEXT) == manifest


def test_no_entries_are_one_line_feed() -> None:
    name = "295192ea1ec8566d563b1a7587e5f0198580cdbd043842f5090a4c197c20c67a"

    assert Manifest(()).render() == b"\n"
    assert Manifest(()).id.hex == name
    assert Manifest.parse(b"") == Manifest.parse(b"\n") == Manifest.parse(b"# none\n")


def test_a_directory_sums_distinct_checksums_in_order_without_names() -> None:
    assert directory_checksum([]) == EMPTY
    assert directory_checksum([HELLO, FOO, HELLO]) == Digest.of((FOO + HELLO).encode()).hex


def test_directories_know_their_size_and_checksum_from_their_members() -> None:
    modes = {"./": 0o755, "./d/": 0o700, "./d/e/": 0o1777, "./none/": 0o755}
    manifest = with_directories([file("./d/e/x"), file("./d/y", FOO, 4)], modes)

    inner, outer = directory_checksum([HELLO]), directory_checksum
    assert [entry.line() for entry in manifest.entries] == [
        f"D 755 {outer([outer([inner, FOO]), EMPTY])} 9 ./",
        f"D 700 {outer([inner, FOO])} 9 ./d/",
        f"D 1777 {inner} 5 ./d/e/",
        f"F 644 {HELLO} 5 ./d/e/x",
        f"F 644 {FOO} 4 ./d/y",
        f"D 755 {EMPTY} 0 ./none/",
    ]


def test_order_is_bytewise_with_the_slash_of_directories() -> None:
    ascii_paths = ["./", "./Z", "./a-b", "./a.c", "./a/", "./a/x", "./b"]
    paths = [*ascii_paths, "./é", "./\uffff", "./\U00010000"]
    entries = [directory(path) if path.endswith("/") else file(path) for path in reversed(paths)]

    manifest = Manifest(tuple(entries))

    assert [entry.path for entry in manifest.entries] == paths
    assert paths == sorted(paths, key=str.encode)


# --- what a reader puts up with -------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        LINE[:-1],
        LINE.replace(b"\n", b"\r\n"),
        b"# a comment\n\n" + LINE + b"\n#F\n\r\n",
        line(size="+5"),
        line(size="0005"),
    ],
)
def test_variations_of_a_text_say_the_same(text: bytes) -> None:
    assert Manifest.parse(text).render() == LINE


def test_lines_may_come_in_any_order() -> None:
    shuffled = b"".join(sorted(TEXT.splitlines(keepends=True), reverse=True))

    assert shuffled != TEXT
    assert Manifest.parse(shuffled).id.hex == TEXT_ID


@pytest.mark.parametrize(
    "name",
    ["a b", " a", "a ", "-a", "#a", "a\\b", "a\tb", "a\rb", "\x0b", "\x85", "\u2028", "é", "..."],
)
def test_odd_names_are_names(name: str) -> None:
    text = line(path=f"./{name}")

    assert Manifest.parse(text).render() == text


@pytest.mark.parametrize("mode", ["0", "7", "644", "4755", "1777", "7777"])
def test_modes_are_octal_without_leading_zero(mode: str) -> None:
    assert Manifest.parse(line(mode=mode)).entries[0].mode == int(mode, 8)


def test_sizes_have_64_bits() -> None:
    assert Manifest.parse(line(size=str(2**64 - 1))).entries[0].size_bytes == 2**64 - 1


# --- what a reader refuses ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"hello\n", "not of the form TYPE PERM CHECKSUM SIZE PATH"),
        (b"   \n", "not of the form"),
        (b" # no comment\n", "not of the form"),
        (b" " + LINE, "type '' is neither F nor D"),
        (LINE.replace(b" ", b"\t"), "not of the form"),
        (line(kind="f"), "type 'f' is neither F nor D"),
        (line(kind="L"), "type 'L' is neither F nor D"),
        (b"\xef\xbb\xbf" + LINE, "is neither F nor D"),
        (line(mode=""), "mode ''"),
        (line(mode="0644"), "mode '0644'"),
        (line(mode="rw"), "mode 'rw'"),
        (line(mode="8"), "mode '8'"),
        (line(mode="10000"), "mode '10000' is not octal between 0 and 7777"),
        (line(mode="-1"), "mode '-1'"),
        (line(mode="\u0666"), "mode"),
        (line(checksum=""), "checksum ''"),
        (line(checksum="d41d8cd98f00b204e9800998ecf8427e"), "not 64 lower-case hex digits"),
        (line(checksum=HELLO.upper()), "not 64 lower-case hex digits"),
        (line(checksum=HELLO + "\v"), "not 64 lower-case hex digits"),
        (line(size=""), "size ''"),
        (line(size="-5"), "size '-5'"),
        (line(size="5_0"), "size '5_0'"),
        (line(size="\u0665"), "size"),
        (line(size=str(2**64)), "64 bits"),
        (line(size="9" * 5000), "size '999"),
        (line(path=""), "the path is empty"),
        (line(kind="F", path="./a/"), "ends with '/'"),
        (line(kind="D", path="./a"), "does not end with '/'"),
        (LINE[:-1] + b"\r", "carriage return"),
        (LINE.replace(b"\n", b"\r\r\n"), "carriage return"),
        (b"F 644 \xff\n", "not UTF-8"),
    ],
)
def test_a_malformed_line_is_refused_in_words_with_its_number(text: bytes, words: str) -> None:
    with pytest.raises(InvalidManifest) as refusal:
        Manifest.parse(b"# first\n" + line(path="./first") + text)

    assert refusal.value.detail.startswith("line 3: ")
    assert words in refusal.value.detail
    assert refusal.value.facts == {"line": 3}
    assert len(refusal.value.detail) < 400


@pytest.mark.parametrize(
    "path",
    [
        "./../evil",
        "./a/../../evil",
        "./..",
        "../evil",
        "..",
        "/etc/passwd",
        "/",
        "a",
        "a/b",
        ".",
        ".a",
        "./.",
        "././a",
        "./a/./b",
        ".//a",
        "./a//b",
        "./a\0b",
        "~/a",
    ],
)
def test_a_path_that_would_escape_is_refused(path: str) -> None:
    with pytest.raises(UnsafePath) as refusal:
        Manifest.parse(line(path=path))

    assert refusal.value.detail.startswith("line 1: ")


@pytest.mark.parametrize("path", ["./../", "././", ".//", "./a//", "./a/../", "/", "../", "./..//"])
def test_a_directory_that_would_escape_is_refused(path: str) -> None:
    with pytest.raises(UnsafePath):
        Manifest.parse(line(kind="D", path=path))


def test_a_path_without_utf8_or_with_a_line_feed_is_no_entry() -> None:
    for path in ("./\udcff", "./a\nb"):
        with pytest.raises(InvalidManifest):
            file(path)


def test_a_path_that_occurs_twice_is_refused_with_both_lines() -> None:
    with pytest.raises(InvalidManifest, match=r"line 3: '\./a' is listed already in line 1"):
        Manifest.parse(LINE + line(path="./b") + line(mode="600"))
    with pytest.raises(InvalidManifest, match="more than once"):
        Manifest((file("./a"), file("./a")))


@pytest.mark.parametrize("other", [line(kind="D", path="./a/"), line(path="./a/b/c")])
def test_a_path_that_is_both_file_and_directory_is_refused(other: bytes) -> None:
    with pytest.raises(InvalidManifest, match=r"line 2: '\./a' is both a file and a directory"):
        Manifest.parse(other + LINE)


@pytest.mark.parametrize(("mode", "size_bytes"), [(-1, 0), (0o10000, 0), (0, -1), (0, 2**64)])
def test_an_entry_with_impossible_numbers_is_refused(mode: int, size_bytes: int) -> None:
    with pytest.raises(InvalidManifest):
        file("./a", size_bytes=size_bytes, mode=mode)


# --- properties -----------------------------------------------------------------------------------

names = st.text(st.characters(exclude_characters="/\0\n\r", exclude_categories=["Cs"]), min_size=1)
paths = st.lists(names.filter(lambda name: name not in {".", ".."}), min_size=1, max_size=4)
entries = st.builds(
    Entry,
    st.just(Kind.FILE),
    st.integers(0, 0o7777),
    st.binary(min_size=32, max_size=32).map(bytes.hex),
    st.integers(0, 2**64 - 1),
    paths.map(lambda parts: "/".join([".", *parts])),
)


@given(st.lists(entries, max_size=6))
def test_what_is_rendered_is_read_again(files: list[Entry]) -> None:
    try:
        manifest = Manifest(tuple(files))
    except InvalidManifest:
        return  # the same path twice, or one below the other

    text = manifest.render()

    assert Manifest.parse(text) == manifest
    assert Manifest.parse(text.replace(b"\n", b"\r\n")).render() == text
    assert manifest.id == Digest.of(text)
    assert all(parent_of(path) in manifest.directories for path in manifest.directories)
    assert all(entry.parent in manifest.directories for entry in files)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_manifest_or_refused_in_words(data: bytes) -> None:
    for text in (data, LINE.replace(b"./a", data), LINE.replace(b"644", data)):
        try:
            manifest = Manifest.parse(text)
        except InvalidManifest as refusal:
            words = refusal.detail
        else:
            words = "line 0: none"
            assert Manifest.parse(manifest.render()) == manifest
        assert words.startswith("line ")
