//! The kernel command line as a list of arguments.

use std::fmt;

/// Kernel arguments in order, as the kernel splits them (`lib/cmdline.c` `next_arg`: white space outside double
/// quotes separates; quotes may stand around a value).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KernelArgs {
    args: Vec<KernelArg>,
}

/// One argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelArg {
    /// The text as written, quotes included.
    pub text: String,
    /// 1-based column in the line it was parsed from, or in the rendered list.
    pub column: usize,
}

impl KernelArg {
    /// The part before `=`.
    pub fn key(&self) -> &str {
        self.text.split_once('=').map_or(self.text.as_str(), |(key, _)| key).trim_matches('"')
    }

    /// The part after `=`, without surrounding quotes.
    pub fn value(&self) -> Option<&str> {
        self.text.split_once('=').map(|(_, value)| value.trim_matches('"'))
    }
}

impl KernelArgs {
    /// Splits a command line.
    pub fn parse(line: &str) -> Self {
        let mut args = Vec::new();
        let mut quoted = false;
        let mut current: Option<KernelArg> = None;
        for (index, character) in line.chars().enumerate() {
            if character == '"' {
                quoted = !quoted;
            }
            if character.is_ascii_whitespace() && !quoted {
                args.extend(current.take());
                continue;
            }
            current.get_or_insert_with(|| KernelArg { text: String::new(), column: index + 1 }).text.push(character);
        }
        args.extend(current);
        Self { args }
    }

    /// The arguments, in order.
    pub fn iter(&self) -> std::slice::Iter<'_, KernelArg> {
        self.args.iter()
    }

    /// Adds the arguments of another command line behind these.
    pub fn append(&mut self, line: &str) {
        *self = Self::parse(&format!("{self} {line}"));
    }

    /// The last argument of this name: for most parameters the last one wins.
    pub fn last(&self, key: &str) -> Option<&KernelArg> {
        self.args.iter().rev().find(|arg| arg.key() == key)
    }
}

impl<'a> IntoIterator for &'a KernelArgs {
    type Item = &'a KernelArg;
    type IntoIter = std::slice::Iter<'a, KernelArg>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for KernelArgs {
    /// The command line, one space between arguments.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, arg) in self.args.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(&arg.text)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_as_the_kernel_does() {
        let args = KernelArgs::parse("console=ttyS0  dyndbg=\"file a +p\" quiet");
        let texts: Vec<_> = args.iter().map(|arg| (arg.key(), arg.value(), arg.column)).collect();
        assert_eq!(texts, [("console", Some("ttyS0"), 1), ("dyndbg", Some("file a +p"), 16), ("quiet", None, 35)]);
        assert_eq!(args.to_string(), "console=ttyS0 dyndbg=\"file a +p\" quiet");
    }
}
