//! A command's output in lines, however long it makes them.

use std::io::{self, BufRead as _, BufReader, Read};

/// Bytes of a line that are kept.
const LONGEST: usize = 4096;

/// Calls `each` with every line, cut off after [`LONGEST`] bytes.
pub(super) fn each(output: impl Read, mut each: impl FnMut(String)) -> io::Result<()> {
    let mut output = BufReader::with_capacity(1 << 16, output);
    let mut line = Vec::new();
    loop {
        let piece = output.fill_buf()?;
        if piece.is_empty() {
            break;
        }
        let end = piece.iter().position(|byte| *byte == b'\n');
        let words = piece.get(..end.unwrap_or(piece.len())).unwrap_or_default();
        let room = LONGEST.saturating_sub(line.len()).min(words.len());
        line.extend(words.iter().take(room));
        let used = words.len() + usize::from(end.is_some());
        output.consume(used);
        if end.is_some() {
            each(text(&line));
            line.clear();
        }
    }
    if !line.is_empty() {
        each(text(&line));
    }
    Ok(())
}

/// A line without its colours, and of a progress bar the last state.
fn text(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    let line = anstream::adapter::strip_str(line.trim_end()).to_string();
    line.rsplit('\r').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(output: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        each(output, |line| lines.push(line)).unwrap();
        lines
    }

    #[test]
    fn lines_are_split_and_cut() {
        assert_eq!(lines(b"one\n\ntwo \r\nlast"), ["one", "", "two", "last"]);
        assert_eq!(lines(b"\x1b[31mred\x1b[0m\n 10%\r100%"), ["red", "100%"]);
        let long = [vec![b'x'; 1 << 20], b"\nnext\n".to_vec()].concat();
        let found = lines(&long);
        assert_eq!((found[0].len(), found[1].as_str()), (LONGEST, "next"));
    }
}
