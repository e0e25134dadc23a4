"""What is told of stored counts."""


def shown(text: str) -> str:
    r"""Text that cannot move a terminal's cursor or forge a line: odd characters are escaped.

    >>> shown("c-1\x1b[2J")
    'c-1\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
