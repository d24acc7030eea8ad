"""What models and data say is shown as it is and cannot do anything."""

from tuningfork.report.untrusted import plain, show, show_change


def test_markup_is_escaped():
    assert show('<script>alert(1)</script> & "x"') == "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;x&#34;"


def test_hidden_characters_become_visible():
    shown = show("a\x1b[31mb\u202ec\u200bd\x00\ud800")
    for name in ("\\x1b", "U+202E", "U+200B", "\\x00", "U+D800"):
        assert f">{name}</span>" in shown
    assert not set(shown) & {"\x1b", "\u202e", "\u200b", "\x00", "\ud800"}
    shown.encode("utf-8")


def test_ordinary_text_of_any_script_stays():
    for text in ("naïve\n\tשלום 你好", "👩\u200d👩\u200d👧", "می\u200cخواهم"):
        assert show(text) == text


def test_long_texts_are_cut_and_say_so():
    assert "… 60 more characters" in show("x" * 100, limit=40)


def test_changed_words_are_marked_and_escaped():
    before, after = show_change("it is <red>.", "it is ruby.")
    assert before == "it is <del>&lt;red&gt;</del>." and after == "it is <ins>ruby</ins>."
    assert show_change("same", "same") == ("same", "same")
    assert "<del>" not in show_change("a " * 5000, "b")[0]


def test_plain_names_hidden_characters():
    assert plain("a\u202eb") == "a[U+202E]b"
