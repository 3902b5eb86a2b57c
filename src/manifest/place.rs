//! Where in a JSON text something stands: JSON pointers (RFC 6901) ↔ byte offsets. Used for messages only, on texts
//! that may be broken, so nothing here fails.

use std::collections::BTreeSet;

enum Frame {
    Object { key: String, keys: BTreeSet<String>, expects_key: bool },
    Array(usize),
}

/// Walks a text up to `end`. `key` sees every object key with the pointer to it and its offset, and stops the walk with
/// `true`.
fn walk(text: &str, end: usize, mut key: impl FnMut(&str, usize, bool) -> bool) -> (String, Option<usize>) {
    let bytes = text.as_bytes();
    let mut stack: Vec<Frame> = Vec::new();
    let mut at = 0;
    while at < end.min(bytes.len()) {
        match bytes.get(at) {
            Some(b'"') => {
                let close = string_end(bytes, at);
                if let Some(Frame::Object { key: name, keys, expects_key: expects @ true }) = stack.last_mut() {
                    let raw = text.get(at..close).unwrap_or_default();
                    *name = serde_json::from_str(raw).unwrap_or_default();
                    *expects = false;
                    let repeated = !keys.insert(name.clone());
                    if key(&pointer_of(&stack), at, repeated) {
                        return (pointer_of(&stack), Some(at));
                    }
                }
                at = close;
                continue;
            }
            Some(b'{') => {
                stack.push(Frame::Object { key: String::new(), keys: BTreeSet::new(), expects_key: true });
            }
            Some(b'[') => stack.push(Frame::Array(0)),
            Some(b'}' | b']') => drop(stack.pop()),
            Some(b',') => match stack.last_mut() {
                Some(Frame::Object { expects_key, .. }) => *expects_key = true,
                Some(Frame::Array(index)) => *index += 1,
                None => {}
            },
            _ => {}
        }
        at += 1;
    }
    (pointer_of(&stack), None)
}

/// Behind the closing quote of the string that begins at `at`.
fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    loop {
        match bytes.get(at) {
            Some(b'\\') => at += 2,
            Some(b'"') => return at + 1,
            Some(_) => at += 1,
            None => return bytes.len(),
        }
    }
}

fn pointer_of(stack: &[Frame]) -> String {
    let part = |frame: &Frame| match frame {
        Frame::Object { key, .. } if key.is_empty() => String::new(),
        Frame::Object { key, .. } => format!("/{}", escape(key)),
        Frame::Array(index) => format!("/{index}"),
    };
    stack.iter().map(part).collect()
}

/// A key as it is written in a pointer.
pub fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The pointer to the value or key at a byte offset.
pub fn pointer(text: &str, offset: usize) -> String {
    walk(text, offset.saturating_add(1), |_, _, _| false).0
}

/// The offset of the key that a pointer names; the end of the text when there is none.
pub fn of(text: &str, pointer: &str) -> usize {
    walk(text, usize::MAX, |key, _, _| key == pointer).1.unwrap_or(text.len())
}

/// The offset of the first key that its object already has.
pub fn repeated(text: &str) -> Option<usize> {
    walk(text, usize::MAX, |_, _, repeated| repeated).1
}

/// The byte offset of a line and a column (1-based, in bytes: as `serde_json` counts).
pub fn offset(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    // A column is that of the last byte that was read; what stands there is not taken into the pointer.
    (before + column).saturating_sub(2)
}

/// 1-based line and column (in characters) of a byte offset.
pub fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pointers_lead_to_keys_and_back() {
        let text = "{\"a\": [{\"b\": 1}, {\"c/d\": \"}\", \"e\\\"\": {}}], \"a\": 2}";
        let key = of(text, "/a/1/c~1d");
        assert!(text[key..].starts_with("\"c/d\""));
        assert_eq!(pointer(text, key), "/a/1/c~1d");
        assert_eq!(repeated(text).map(|at| pointer(text, at)).as_deref(), Some("/a"));
        assert_eq!(repeated("{\"a\": {\"a\": 1}}"), None);
        assert_eq!(line_column("{\n  \"ä\": 1}", 10), (2, 8));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[\\[\\]{},:\"\\\\ab\nä]{0,40}", offset_ in 0usize..60) {
            let _ = (pointer(&text, offset_), repeated(&text), of(&text, "/a"), line_column(&text, offset_));
            let _ = offset(&text, offset_, offset_);
        }
    }
}
