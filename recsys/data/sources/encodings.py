"""Tell what encoding a row is in that was read as UTF-8 with `surrogateescape`."""


def holds_foreign_bytes(text: str) -> bool:
    """Tell whether bytes that are no UTF-8 were smuggled into the text by `surrogateescape`."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def decode_cp1252(text: str) -> str:
    """Decode a row that is no UTF-8 but may be Windows-1252; any other is returned as it is.

    A row with proper UTF-8 beside the foreign bytes is damaged and not of another encoding.
    """
    if not holds_foreign_bytes(text) or any(
        "\x80" <= character < "\udc80" or character > "\udcff" for character in text
    ):
        return text
    try:
        return text.encode("utf-8", "surrogateescape").decode("cp1252")
    except UnicodeDecodeError:
        return text
