"""Rules for names of databases that several engines share."""

from __future__ import annotations


def too_long(name: str, limit: int) -> str:
    """Return what is wrong with a name of more than `limit` bytes in UTF-8, or an empty text."""
    size = len(name.encode(errors="surrogatepass"))
    return f"is {size} bytes long in UTF-8; the longest allowed is {limit}" if size > limit else ""
