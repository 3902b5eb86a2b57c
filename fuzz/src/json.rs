//! JSON documents with edits: a value somewhere is another one.

use crate::choices::Choices;
use serde_json::{Value, json};

/// The most edits of one document.
const MOST: usize = 12;
/// A document that has become longer than this, in bytes, is left as it is: what doubles twelve times is no manifest.
const LARGE: usize = 1 << 18;

/// Applies edits to a document: one each for every few bytes.
pub fn edit(document: &mut Value, choices: &mut Choices) {
    for _ in 0..MOST {
        if choices.is_over() || document.to_string().len() > LARGE {
            break;
        }
        let mut places = Vec::new();
        walk(document, String::new(), &mut places);
        let place = choices.one(&places).clone();
        let how = choices.byte();
        let new = match how % 8 {
            0..=3 => nasty(choices),
            4 => {
                let other = choices.one(&places).clone();
                document.pointer(&other).cloned().unwrap_or_default()
            }
            5 => splice(document.pointer(&place), choices),
            6 => repeated(document.pointer(&place)),
            _ => {
                remove(document, &place);
                continue;
            }
        };
        if let Some(old) = document.pointer_mut(&place) {
            *old = new;
        }
    }
}

/// The pointers of all values.
fn walk(value: &Value, here: String, places: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                walk(value, format!("{here}/{}", key.replace('~', "~0").replace('/', "~1")), places);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate().take(16) {
                walk(item, format!("{here}/{index}"), places);
            }
        }
        _ => {}
    }
    places.push(here);
}

fn nasty(choices: &mut Choices) -> Value {
    const TEXTS: [&str; 40] = [
        "", ".", "..", "/", "../x", "/abs/evil", "a,b", "a=b", "x\u{0}y", "\u{1b}[2J", "\u{202e}x", "a b", "a\nb", "\"", "'", "%s",
        "@127.0.0.1:1/", "//x", "/\\x", "http://x/", "-x", "--", "0", "-1", "00", "1e9", "0.0.0.0", "0.0.0.0/0", "255.255.255.255/32",
        "255.255.255.255/0", "10.0.0.1/33", "127.0.0.1/8", "::/0", "::1/128", "fe80::1%eth0/64", "224.0.0.1/24", "ü", "{secret}", "{", "eth0*",
    ];
    const LENGTHS: [usize; 8] = [15, 16, 63, 64, 255, 256, 4096, 70_000];
    match choices.byte() % 12 {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(choices.number()),
        3 => json!((choices.number() as i64).wrapping_neg()),
        4 => json!(1e308),
        5 => json!([]),
        6 => json!({}),
        7 => json!({ String::from_utf8_lossy(choices.bytes()): 1 }),
        8 => Value::String("a".repeat(*choices.one(&LENGTHS))),
        9 => Value::String(String::from_utf8_lossy(choices.bytes()).into_owned()),
        _ => json!(choices.one(&TEXTS)),
    }
}

/// A text with something put into it, or a number that is a little off.
fn splice(old: Option<&Value>, choices: &mut Choices) -> Value {
    match old {
        Some(Value::String(text)) => {
            let at = usize::from(choices.byte()) % (text.len() + 1);
            let (Some(front), Some(back)) = (text.get(..at), text.get(at..)) else { return nasty(choices) };
            json!(format!("{front}{}{back}", String::from_utf8_lossy(choices.bytes())))
        }
        Some(Value::Number(number)) => json!(number.as_i64().unwrap_or_default().wrapping_add(i64::from(choices.byte() as i8))),
        _ => nasty(choices),
    }
}

/// More of what is there.
fn repeated(old: Option<&Value>) -> Value {
    match old {
        Some(Value::Array(items)) => Value::Array(items.iter().cycle().take(items.len() * 64).cloned().collect()),
        Some(Value::Object(map)) => {
            let again = map.iter().flat_map(|(key, value)| (0..32).map(move |n| (format!("{key}{n}"), value.clone())));
            Value::Object(again.collect())
        }
        Some(Value::String(text)) => json!(text.repeat(64)),
        other => json!([other]),
    }
}

fn remove(document: &mut Value, place: &str) {
    let Some((parent, key)) = place.rsplit_once('/') else { return };
    match document.pointer_mut(parent) {
        Some(Value::Object(map)) => drop(map.remove(&key.replace("~1", "/").replace("~0", "~"))),
        Some(Value::Array(items)) => {
            let index: usize = key.parse().unwrap_or_default();
            if index < items.len() {
                items.remove(index);
            }
        }
        _ => {}
    }
}
