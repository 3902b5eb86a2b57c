//! Values of QEMU's options: `first,key=value,…`.
//!
//! Source: qemu(1), "a comma in a value is written twice"; QEMU `util/qemu-option.c` (`get_opt_value`), `util/keyval.c`.

use std::fmt::{self, Display, Write as _};

/// The value of one option. The keys are ours; the values may be anybody's, and a comma in one begins nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OptionList(String);

impl OptionList {
    /// A list whose first value goes without its key: the kind of a device, of a backend, of a machine.
    pub fn of(first: impl Display) -> Self {
        let mut list = Self::default();
        list.quote(&first.to_string());
        list
    }

    /// Adds `key=value`.
    pub fn with(mut self, key: &'static str, value: impl Display) -> Self {
        let comma = if self.0.is_empty() { "" } else { "," };
        let _ = write!(self.0, "{comma}{key}=");
        self.quote(&value.to_string());
        self
    }

    /// Adds `key=value` if there is a value.
    pub fn with_some(self, key: &'static str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    fn quote(&mut self, value: &str) {
        self.0 += &value.replace(',', ",,");
    }
}

impl Display for OptionList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_in_a_value_begins_no_option() {
        let list = OptionList::default().with("guest", "evil,process=pwn").with_some("x", None::<u8>).with("debug", 1);
        assert_eq!(list.to_string(), "guest=evil,,process=pwn,debug=1");
        assert_eq!(OptionList::of("a,b").with("file", "/a,b=c/,").to_string(), "a,,b,file=/a,,b=c/,,");
    }
}
