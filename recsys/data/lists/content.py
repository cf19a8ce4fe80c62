"""From the bytes of an upload to text, within bounds that are checked before memory is taken."""

import gzip
import io
import json
import re
import zlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NoReturn

from recsys.exceptions import WatchListError, WatchListTooLargeError

MAX_COMPRESSED_BYTES: Final = 10 << 20
MAX_BYTES: Final = 60 << 20
# A hundred thousand entries of AniList stay below; `[[],[],…` in 60 MB would take gigabytes.
MAX_JSON_CONTAINERS: Final = 1_000_000
MAX_JSON_VALUES: Final = 4_000_000

_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_BYTE_ORDER_MARKS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_WITHOUT_MARK = ((b"<\x00", "utf-16-le"), (b"{\x00", "utf-16-le"), (b"\x00<", "utf-16-be"), (b"\x00{", "utf-16-be"))
_DECLARED = re.compile(rb"""<\?xml[^>]{0,200}encoding=["']([A-Za-z0-9_.:-]{1,40})["']""")
# Of what an XML declaration may name, what some list may really be in.
_ENCODINGS = frozenset(
    {"big5", "euc-jp", "euc-kr", "gb18030", "gb2312", "gbk", "iso-2022-jp", "koi8-r", "latin-1", "shift_jis"}
    | {f"iso-8859-{number}" for number in range(1, 16)}
    | {f"windows-{number}" for number in range(1250, 1259)}
)
_FALLBACK = "windows-1252"


@dataclass(frozen=True)
class ListContent:
    """The text of a file without its byte order mark, and the encoding that it was read in."""

    text: str
    encoding: str

    @cached_property
    def first(self) -> str:
        """The first character that is no white space, "" if there is none."""
        return self.text[:10_000].lstrip()[:1]

    @cached_property
    def document(self) -> Any:
        """The text as JSON; None where it begins like something else.

        Raises
        ------
        WatchListError
            If it is no JSON after all, or nests too deeply or holds too much.
        """
        return parse_json(self.text) if self.first in ("{", "[") else None


def read_content(content: bytes) -> ListContent:
    """Unpack and decode a file.

    Raises
    ------
    WatchListTooLargeError
        If more than 10 MB come compressed, or more than 60 MB come out or are there.
    WatchListError
        If it is empty, a damaged gzip file or another kind of archive.
    """
    if content.startswith(_GZIP):
        content = _unpack(content)
    if len(content) > MAX_BYTES:
        raise WatchListTooLargeError(f"the list is larger than {MAX_BYTES >> 20} MB; split it")
    if content.startswith((_GZIP, _ZIP)):
        raise WatchListError("this is an archive within an archive or a zip file; unpack it and give the list itself")
    if not content.strip():
        raise WatchListError("the file is empty")
    encoding, text = _decode(content)
    return ListContent(text.removeprefix("\ufeff"), encoding)


def _unpack(content: bytes) -> bytes:
    if len(content) > MAX_COMPRESSED_BYTES:
        raise WatchListTooLargeError(f"the list is larger than {MAX_COMPRESSED_BYTES >> 20} MB compressed; split it")
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as handle:
            return handle.read(MAX_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise WatchListError(f"the gzip file is damaged ({error}); export the list again") from error


def _decode(content: bytes) -> tuple[str, str]:
    for mark, encoding in (*_BYTE_ORDER_MARKS, *_WITHOUT_MARK):
        if content.startswith(mark):
            return encoding, content.decode(encoding, "replace")
    try:
        return "utf-8", content.decode("utf-8")
    except UnicodeDecodeError:
        pass
    declared = _DECLARED.match(content[:400])
    encoding = declared[1].decode().lower() if declared else ""
    if encoding in _ENCODINGS:
        return encoding, content.decode(encoding, "replace")
    return _FALLBACK, content.decode(_FALLBACK, "replace")


def parse_json(text: str) -> Any:
    """Parse JSON whose number of values is bounded; see `ListContent.document`."""
    n_containers = text.count("{") + text.count("[")
    if n_containers > MAX_JSON_CONTAINERS or text.count(",") > MAX_JSON_VALUES:
        raise WatchListTooLargeError("the JSON file holds more values than any list of anime; split it")
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise WatchListError("the JSON file nests too deeply for a list of anime") from None
    except ValueError as error:
        raise WatchListError(f"the JSON file is damaged: {error}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
