//! From parser events to nodes.

use super::{Error, Lines, MAX_TEXT, Node, Span, Value};
use granit_parser::{Event, Parser, ScalarStyle, ScanError};
use std::collections::{BTreeMap, BTreeSet};

/// How much a document may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of its text. What scalars hold, with what aliases repeat, may be twice as much.
    pub text: usize,
    /// Nodes, with those that anchors keep and aliases repeat.
    pub nodes: usize,
}

/// What no hand-written document comes near.
const USUAL: Limits = Limits { text: MAX_TEXT, nodes: 100_000 };

/// How deep nodes may nest.
const MAX_DEPTH: usize = 64;

/// Parses one document. No document at all is a null scalar.
pub fn parse(text: &str) -> Result<Node, Error> {
    read(text, USUAL, false)
}

/// The same with other limits.
pub fn parse_within(text: &str, limits: Limits) -> Result<Node, Error> {
    read(text, limits, false)
}

/// The same, but a key may be there more than once: libyaml's event reader, which netplan uses, hands out both.
pub fn parse_repeating(text: &str) -> Result<Node, Error> {
    read(text, USUAL, true)
}

fn read(text: &str, limits: Limits, repeating: bool) -> Result<Node, Error> {
    if text.len() > limits.text {
        let message = format!("the text has {} bytes; at most {} are read", text.len(), limits.text);
        return Err(Error { span: Span { line: 1, column: 1, length: 1 }, message });
    }
    let mut builder = Builder {
        lines: Lines::of(text),
        parser: Parser::new_from_str(text),
        anchors: BTreeMap::new(),
        limits,
        used: Size::default(),
        repeating,
    };
    builder.document()
}

struct Builder<'t> {
    lines: Lines<&'t str>,
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    anchors: BTreeMap<usize, (Node, Size)>,
    limits: Limits,
    used: Size,
    repeating: bool,
}

/// What a node takes.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    bytes: usize,
}

impl<'t> Builder<'t> {
    fn document(&mut self) -> Result<Node, Error> {
        let mut document = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(..) if document.is_some() => {
                    return Err(Error { span, message: "a second document; one is expected".to_owned() });
                }
                Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
                event => document = Some(self.node(event, span, 0)?),
            }
        }
        let empty = Node {
            span: Span { line: 1, column: 1, length: 1 },
            value: Value::Scalar { text: String::new(), quoted: false },
        };
        Ok(document.unwrap_or(empty))
    }

    /// The next event that is not a comment.
    fn next(&mut self) -> Result<(Event<'t>, Span), Error> {
        loop {
            let next =
                self.parser.next_event().unwrap_or_else(|| Ok((Event::StreamEnd, granit_parser::Span::default())));
            let (event, span) = next.map_err(|error| Self::syntax(&error))?;
            if !matches!(event, Event::Comment(..) | Event::Anchor(..)) {
                return Ok((event, self.span(span)));
            }
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Error> {
        let before = self.used;
        self.count(Size { nodes: 1, bytes: 0 }, span)?;
        if depth > MAX_DEPTH {
            return Err(Error { span, message: format!("nested more than {MAX_DEPTH} deep") });
        }
        let (value, anchor) = match event {
            Event::Alias(anchor) => {
                let inside = || Error { span, message: "an alias inside the node it stands for".to_owned() };
                let size = self.anchors.get(&anchor).ok_or_else(inside)?.1;
                self.count(size, span)?;
                let value = self.anchors.get(&anchor).map(|(node, _)| node.value.clone()).ok_or_else(inside)?;
                return Ok(Node { span, value });
            }
            Event::Scalar(text, style, anchor, _) => {
                self.count(Size { nodes: 0, bytes: text.len() }, span)?;
                (Value::Scalar { text: text.into_owned(), quoted: style != ScalarStyle::Plain }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => (Value::Sequence(self.sequence(depth)?), anchor),
            Event::MappingStart(_, anchor, _) => (Value::Mapping(self.mapping(depth)?), anchor),
            _ => return Err(Error { span, message: "a value is expected here".to_owned() }),
        };
        let node = Node { span, value };
        if anchor != 0 {
            // What is kept for aliases takes as much again.
            let size = Size { nodes: self.used.nodes - before.nodes, bytes: self.used.bytes - before.bytes };
            self.count(size, span)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        Ok(node)
    }

    fn sequence(&mut self, depth: usize) -> Result<Vec<Node>, Error> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(items),
                (event, span) => items.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Vec<(Node, Node)>, Error> {
        let mut entries = Vec::new();
        let mut keys = BTreeSet::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => return Ok(entries),
                (event, span) => self.node(event, span, depth + 1)?,
            };
            let Value::Scalar { text, .. } = &key.value else {
                return Err(Error {
                    span: key.span,
                    message: format!("a key must be a single value, not {}", key.kind()),
                });
            };
            if !keys.insert(text.clone()) && !self.repeating {
                return Err(Error { span: key.span, message: format!("the key `{text}` is there twice") });
            }
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            entries.push((key, value));
        }
    }

    fn count(&mut self, more: Size, span: Span) -> Result<(), Error> {
        let (nodes, bytes) = (self.limits.nodes, self.limits.text.saturating_mul(2));
        self.used.nodes = self.used.nodes.saturating_add(more.nodes);
        self.used.bytes = self.used.bytes.saturating_add(more.bytes);
        if self.used.nodes > nodes {
            return Err(Error { span, message: format!("more than {nodes} nodes, counting what aliases repeat") });
        }
        if self.used.bytes > bytes {
            return Err(Error {
                span,
                message: format!("more than {bytes} bytes of text, counting what aliases repeat"),
            });
        }
        Ok(())
    }

    /// A span whose length is that of its first line.
    fn span(&self, span: granit_parser::Span) -> Span {
        let (start, end) = (span.start, span.end);
        let length = if end.line() == start.line() {
            end.col().saturating_sub(start.col())
        } else {
            self.lines.get(start.line()).trim_end().chars().count().saturating_sub(start.col())
        };
        Span { line: start.line().max(1), column: start.col() + 1, length: length.max(1) }
    }

    fn syntax(error: &ScanError) -> Error {
        let marker = error.marker();
        let span = Span { line: marker.line().max(1), column: marker.col() + 1, length: 1 };
        let text = error.to_string();
        let message = text.split(" at ").next().unwrap_or(&text).to_owned();
        Error { span, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_know_where_they_stand_and_what_was_written() {
        let root = parse("# c\nname: desktop\nlist: [no, '24.10', 0644]\nmap:\n  dhcp4: true\n").unwrap();
        let name = root.get("name").unwrap();
        assert_eq!((name.span, name.text()), (Span { line: 2, column: 7, length: 7 }, Some("desktop")));
        let list = root.get("list").unwrap().items().unwrap();
        assert_eq!(list.iter().map(|item| item.text().unwrap()).collect::<Vec<_>>(), ["no", "24.10", "0644"]);
        assert!(matches!(list[1].value, Value::Scalar { quoted: true, .. }));
        let (key, _) = &root.get("map").unwrap().entries().unwrap()[0];
        assert_eq!(key.span, Span { line: 5, column: 3, length: 5 });
        assert!(parse("a: ~\nb:\n").unwrap().get("b").unwrap().is_null());
        assert!(parse("").unwrap().is_null());
    }

    #[test]
    fn aliases_repeat_a_node_within_a_budget() {
        let root = parse("a: &x [1, 2]\nb: *x\n").unwrap();
        assert_eq!(root.get("b").unwrap().items().unwrap().len(), 2);
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let previous = format!("*a{}, ", level - 1).repeat(10);
            bomb += &format!("a{level}: &a{level} [{}]\n", previous.trim_end_matches(", "));
        }
        assert!(parse(&bomb).unwrap_err().message.contains("nodes"));
        // What is repeated may also be long, and an anchor alone keeps a copy.
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(60_000), "*a, ".repeat(40));
        assert!(parse(&long).unwrap_err().message.contains("bytes of text"));
        let anchors: String = (0..60).map(|level| format!("&a{level} [")).collect();
        assert!(parse(&format!("{anchors}{}", "x, ".repeat(40_000))).is_err());
        let closed = format!("{anchors}{}{}", "x, ".repeat(40_000), "]".repeat(60));
        assert!(parse(&closed).unwrap_err().message.contains("nodes"));
    }

    #[test]
    fn what_is_not_one_sound_document_is_refused_where_it_stands() {
        for (text, line, part) in [
            ("a: 1\nb: 2\na: 3\n", 3, "twice"),
            ("a: [1, 2\nb: 3\n", 2, ""),
            ("a: 1\n---\nb: 2\n", 2, "second document"),
            ("a: &a [*a]\n", 1, ""),
            ("? [x]\n: y\n", 1, "key"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.span.line, line, "{text:?}: {error}");
            assert!(error.message.contains(part), "{text:?}: {error}");
        }
        assert!(parse(&"[".repeat(10_000)).is_err());
        assert!(parse(&"a".repeat(MAX_TEXT + 1)).is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in "[-a-z:&*\\[\\]{},#'\"|>~ \n\t0-9!?%@]{0,200}") {
            let _ = parse(&text);
        }
    }
}
