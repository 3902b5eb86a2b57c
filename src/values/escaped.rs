//! Text from outside, on its way to a terminal.

use std::borrow::Cow;

/// Whether a character moves the cursor, drives the terminal, or changes how its neighbours read without being seen:
/// control characters, those that turn the direction of writing (Unicode TR 9, 2.1 to 2.7; "Trojan Source",
/// CVE-2021-42574), line separators, and what has no width.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The text with every hidden character written out: `\u{1b}[31m`, `\n`.
pub fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|c| if is_hidden(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// The same for a text of several lines: its line feeds stay.
pub fn escaped_lines(text: &str) -> String {
    text.split('\n').map(escaped).collect::<Vec<_>>().join("\n")
}

/// The text with one visible character for each hidden one, so that columns stay what they are.
pub fn masked(text: &str) -> String {
    let mask = |c| match c {
        '\t' => ' ',
        c if is_hidden(c) => '·',
        c => c,
    };
    text.chars().map(mask).collect()
}

/// JSON with hidden characters as escapes. They only stand in strings, except the line feeds between values.
pub fn escaped_json(document: &str) -> Cow<'_, str> {
    if !document.contains(|c| c != '\n' && is_hidden(c)) {
        return Cow::Borrowed(document);
    }
    let escape = |c: char| -> String {
        if c == '\n' || !is_hidden(c) {
            return c.to_string();
        }
        c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect()
    };
    document.chars().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hidden_is_left_and_everything_else_is() {
        let text = "a\u{1b}[31m\u{9b}2J\u{202e}b\u{e0041}\tü 字\n";
        assert_eq!(escaped(text), "a\\u{1b}[31m\\u{9b}2J\\u{202e}b\\u{e0041}\\tü 字\\n");
        assert_eq!(masked(text), "a·[31m·2J·b· ü 字·");
        assert_eq!(escaped_lines("a\n\r\u{1b}b"), "a\n\\r\\u{1b}b");
        let json = serde_json::to_string_pretty(&[text]).unwrap();
        let escaped = escaped_json(&json);
        assert!(!escaped.contains(|c| c != '\n' && is_hidden(c)), "{escaped}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&escaped).unwrap(), [text]);
    }
}
