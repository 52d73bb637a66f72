"""Texts that would do harm on a page that showed them as they are, and the check that none of them does."""

import re

MARKUP = "</title></textarea></pre><script>alert(1)</script><img src=x onerror=alert(1)>\"'"
INVISIBLE = "\u202e\u2066\u200b\u2028\ufeff\x1b\x07"


def assert_harmless(text: str) -> None:
    """No markup of a client's, and no character that would not be seen (but in what a form sends back)."""
    text = re.sub(r'<input type="hidden"[^>]*>', "", text)
    for markup in ("<script>x", "<script>alert", "<img", "</textarea></pre>", "</title></"):
        assert markup not in text, text[text.index(markup) - 300 :][:600]
    bad = [character for character in INVISIBLE + "\0\ud800" if character in text]
    assert not bad, (bad, text[text.index(bad[0]) - 300 :][:600])
    for tag in re.findall(r"<[a-zA-Z][^>]*>", text):
        assert not re.search(r"\son\w+\s*=", tag), tag
