//! What peers wrote, made safe to show on a terminal.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_general_category::{GeneralCategory, get_general_category};

/// `text` with every character that could move the cursor, reorder the line or hide from the eye written as `\u{…}`.
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

/// JSON that says the same as `json`, in one line and safe to show: what peers wrote stands in it as they wrote it.
pub(crate) fn escape_json(json: &str) -> Cow<'_, str> {
    if !json.chars().any(is_unsafe) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len() + 16);
    for character in json.chars() {
        match character {
            // Outside of strings, for inside JSON has them escaped already.
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

/// Control characters, line and paragraph separators, and Unicode's format characters, among them those that turn the direction
/// of writing; and what Unicode has not assigned yet, which is drawn as nothing or as anything.
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
    fn what_could_steer_a_terminal_is_written_out() {
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
    fn json_stays_one_line_of_the_same_json_and_steers_no_terminal() {
        let json = "{\n\t\"a\":\r\"\u{9b}2J\u{7f}\u{202e}\u{e0041}é\",\"b\":[\"\\n\"]}";
        let shown = escape_json(json);
        assert_eq!(shown, r#"{  "a": "\u009b2J\u007f\u202e\udb40\udc41é","b":["\n"]}"#);
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&shown), read(json));
    }

    #[test]
    fn every_script_is_shown_as_it_is() {
        for text in ["pepino", "ética", "研究", "🐹", "עברית", "two words", r#"{"a":"\\u001b"}"#] {
            assert_eq!(escape(text), text);
        }
    }
}
