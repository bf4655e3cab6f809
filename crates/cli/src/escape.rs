//! Makes text from peers safe to show on a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_general_category::{GeneralCategory, get_general_category};

/// `text`, with every character that could move the cursor, reorder the line or be invisible
/// written as `\u{…}`.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_unsafe(character) {
            // Writing to a String never fails.
            let _ = write!(escaped, "\\u{{{:x}}}", u32::from(character));
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

/// Equivalent JSON on one line that is safe to show. The text from peers in `json` need not be
/// safe.
pub(crate) fn escape_json(json: &str) -> Cow<'_, str> {
    if !json.chars().any(is_unsafe) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        match character {
            // These characters occur only between tokens. In strings, JSON requires them to be
            // escaped.
            '\n' | '\r' | '\t' => escaped.push(' '),
            _ if is_unsafe(character) => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    // Writing to a String never fails.
                    let _ = write!(escaped, "\\u{unit:04x}");
                }
            }
            _ => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

/// Whether a character could change how a terminal shows the text. These are control characters,
/// line and paragraph separators, and Unicode's format characters, some of which change the
/// direction of text. Unassigned characters are included, because terminals differ in how they draw
/// them.
fn is_unsafe(character: char) -> bool {
    matches!(
        get_general_category(character),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
            | GeneralCategory::Unassigned
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_format_characters_are_escaped() {
        for (given, shown) in [
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("a\nb\r\t", "a\\u{a}b\\u{d}\\u{9}"),
            ("\u{7f}\u{9b}31m", "\\u{7f}\\u{9b}31m"),
            ("abc\u{202e}fed\u{2066}", "abc\\u{202e}fed\\u{2066}"),
            ("zero\u{200b}width\u{feff}", "zero\\u{200b}width\\u{feff}"),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(escape(given), shown);
        }
    }

    #[test]
    fn escaped_json_is_one_line_with_the_same_value() {
        let json = "{\n\t\"a\":\r\"\u{9b}2J\u{7f}\u{202e}\u{e0041}é\",\"b\":[\"\\n\"]}";
        let shown = escape_json(json);
        assert_eq!(shown, r#"{  "a": "\u009b2J\u007f\u202e\udb40\udc41é","b":["\n"]}"#);
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&shown), read(json));
    }

    #[test]
    fn text_in_any_script_is_unchanged() {
        for text in ["pepino", "ética", "研究", "🐹", "עברית", "two words", r#"{"a":"\\u001b"}"#] {
            assert_eq!(escape(text), text);
        }
    }
}
