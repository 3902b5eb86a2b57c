//! `[Match]` sections, of `.network` and `.link` files alike: which interfaces a file is for.
//!
//! Source: systemd.network(5) and systemd.link(5) "[MATCH] SECTION OPTIONS", `src/shared/condition.c`.

use crate::boot::KernelArgs;

/// The `[Match]` section. An empty one matches nothing: systemd ignores such files since v245 (NEWS).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Match {
    /// `Name=` (or `OriginalName=`) globs; one with a leading `!` in front inverts all.
    pub names: Vec<String>,
    /// `MACAddress=`, `PermanentMACAddress=`, lower case.
    pub macs: Vec<String>,
    /// `Driver=` globs.
    pub drivers: Vec<String>,
    /// `Type=` values.
    pub types: Vec<String>,
    /// `Kind=` values.
    pub kinds: Vec<String>,
    /// Conditions this model does not decide.
    pub unmodelled: Vec<String>,
    /// Conditions that hold on this machine (`Virtualization=`, `KernelCommandLine=`).
    pub met: Vec<String>,
    /// A condition that does not hold on this machine.
    pub unmet: Option<String>,
}

/// Whether something holds, as far as it can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// It depends on what is not known here.
    Unknown,
}

/// What is known of an interface before anything matches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// Its name; a trailing `*` when only the beginning is known (`en*`).
    pub name: String,
    /// Its MAC address in lower case, when somebody fixed it.
    pub mac: Option<String>,
}

impl Match {
    /// Whether an interface is matched.
    pub fn answers(&self, nic: &Nic) -> Answer {
        if self.unmet.is_some() || self.is_empty() {
            return Answer::No;
        }
        let name = (!self.names.is_empty()).then(|| any_name(&self.names, &nic.name));
        let mac = (!self.macs.is_empty()).then(|| match &nic.mac {
            Some(mac) => yes(self.macs.contains(mac)),
            None => Answer::Unknown,
        });
        let driver = (!self.drivers.is_empty()).then(|| any_name(&self.drivers, "virtio_net"));
        let kind = (!self.types.is_empty()).then(|| any_name(&self.types, "ether"));
        let virtual_kind = (!self.kinds.is_empty()).then(|| yes(self.kinds.iter().any(|kind| kind.starts_with('!'))));
        let other = (!self.unmodelled.is_empty()).then_some(Answer::Unknown);
        let answers = [name, mac, driver, kind, virtual_kind, other];
        let mut answers = answers.into_iter().flatten();
        answers
            .try_fold(Answer::Yes, |all, one| match (all, one) {
                (_, Answer::No) => Err(Answer::No),
                (Answer::Unknown, _) | (_, Answer::Unknown) => Ok(Answer::Unknown),
                _ => Ok(Answer::Yes),
            })
            .unwrap_or_else(|no| no)
    }

    /// No condition at all: the file is ignored.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Adds one condition of a `[Match]` section.
    pub(super) fn add(&mut self, key: &str, value: &str, args: &KernelArgs) {
        let list = match key {
            "Name" | "OriginalName" => &mut self.names,
            "MACAddress" | "PermanentMACAddress" => {
                self.macs.extend(value.split_whitespace().map(|mac| mac.to_ascii_lowercase().replace('-', ":")));
                return;
            }
            "Driver" => &mut self.drivers,
            "Type" => &mut self.types,
            "Kind" => &mut self.kinds,
            "Virtualization" | "KernelCommandLine" => return self.condition(key, value, args),
            _ => {
                self.unmodelled.push(format!("{key}={value}"));
                return;
            }
        };
        if value.is_empty() {
            list.clear();
        }
        list.extend(value.split_whitespace().map(str::to_owned));
    }

    /// A condition on the machine rather than on the interface.
    fn condition(&mut self, key: &str, value: &str, args: &KernelArgs) {
        let (negated, wanted) = value.strip_prefix('!').map_or((false, value), |wanted| (true, wanted));
        let holds = match (key, wanted) {
            ("KernelCommandLine", wanted) => {
                let set = |arg: &crate::boot::KernelArg| {
                    if wanted.contains('=') { arg.text == wanted } else { arg.key() == wanted }
                };
                Some(args.iter().any(set))
            }
            (_, "yes" | "true" | "1" | "on" | "vm") => Some(true),
            (_, "no" | "false" | "0" | "off" | "container" | "private-users") => Some(false),
            _ => None,
        };
        let text = format!("{key}={value}");
        match holds.map(|holds| holds != negated) {
            Some(true) => self.met.push(text),
            Some(false) => self.unmet = Some(text),
            None => self.unmodelled.push(text),
        }
    }
}

fn yes(holds: bool) -> Answer {
    if holds { Answer::Yes } else { Answer::No }
}

/// systemd's list semantics: any glob matches; a `!` before the first inverts the whole list.
fn any_name(globs: &[String], name: &str) -> Answer {
    let inverted = globs.first().is_some_and(|glob| glob.starts_with('!'));
    let mut answer = Answer::No;
    for glob in globs {
        match glob_matches(glob.trim_start_matches('!'), name) {
            Answer::Yes => {
                answer = Answer::Yes;
                break;
            }
            Answer::Unknown => answer = Answer::Unknown,
            Answer::No => {}
        }
    }
    match (inverted, answer) {
        (true, Answer::Yes) => Answer::No,
        (true, Answer::No) => Answer::Yes,
        (_, answer) => answer,
    }
}

/// Whether a glob (`*`, `?`, `[…]`) matches a name; a name that ends in `*` is known only in its beginning.
pub fn glob_matches(glob: &str, name: &str) -> Answer {
    match name.strip_suffix('*') {
        None => yes(fits(glob.as_bytes(), name.as_bytes())),
        Some(start) => prefix_fits(glob.as_bytes(), start.as_bytes()),
    }
}

/// The classic glob matcher with one point to come back to: never more than `glob × name` steps, whatever an image says.
fn fits(mut glob: &[u8], mut name: &[u8]) -> bool {
    let mut again: Option<(&[u8], &[u8])> = None;
    loop {
        let step = match (glob.split_first(), name.split_first()) {
            (None, None) => return true,
            (Some((b'*', rest)), _) => {
                again = Some((rest, name));
                Some((rest, name))
            }
            (Some((b'[', rest)), Some((byte, tail))) => {
                class(rest, *byte).filter(|(holds, _)| *holds).map(|(_, rest)| (rest, tail))
            }
            (Some((b'?', rest)), Some((_, tail))) => Some((rest, tail)),
            (Some((expected, rest)), Some((byte, tail))) if expected == byte => Some((rest, tail)),
            _ => None,
        };
        match (step, &mut again) {
            (Some(next), _) => (glob, name) = next,
            (None, Some((rest, from))) => {
                let Some((_, tail)) = from.split_first() else { return false };
                *from = tail;
                (glob, name) = (*rest, tail);
            }
            (None, None) => return false,
        }
    }
}

/// A bracket expression: whether the byte is in it, and what follows it.
fn class(glob: &[u8], byte: u8) -> Option<(bool, &[u8])> {
    let end = glob.iter().skip(1).position(|other| *other == b']')? + 1;
    let (set, rest) = (glob.get(..end)?, glob.get(end + 1..)?);
    let (inverted, set) = match set.split_first() {
        Some((b'!' | b'^', set)) => (true, set),
        _ => (false, set),
    };
    let mut holds = set.contains(&byte);
    for range in set.windows(3) {
        if let [low, b'-', high] = range {
            holds |= (low..=high).contains(&&byte);
        }
    }
    Some((holds != inverted, rest))
}

/// A glob against a name of which only the beginning is known.
fn prefix_fits(glob: &[u8], start: &[u8]) -> Answer {
    match (glob.split_first(), start.split_first()) {
        (Some((b'*', [])), _) => Answer::Yes,
        (Some((b'*' | b'[', _)), _) => Answer::Unknown,
        (None, _) => Answer::No,
        (Some(_), None) => Answer::Unknown,
        (Some((b'?', rest)), Some((_, tail))) => prefix_fits(rest, tail),
        (Some((expected, rest)), Some((byte, tail))) if expected == byte => prefix_fits(rest, tail),
        _ => Answer::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::networkd::assignments;

    #[test]
    fn globs_match_as_fnmatch_does_and_say_when_they_cannot_know() {
        for (glob, name, answer) in [
            ("eth0", "eth0", Answer::Yes),
            ("e*", "eth0", Answer::Yes),
            ("eth[0-2]", "eth1", Answer::Yes),
            ("eth[!0]", "eth0", Answer::No),
            ("en*", "eth0", Answer::No),
            ("en*", "en*", Answer::Yes),
            ("eth0", "en*", Answer::No),
            ("enp0s3", "en*", Answer::Unknown),
            ("*t*0", "eth0", Answer::Yes),
            ("*t*1", "eth0", Answer::No),
        ] {
            assert_eq!(glob_matches(glob, name), answer, "{glob} {name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_file_panics(text in "(\\[|\\]|Match|Name|=|!|\\*|eth0|\\\\|\n| |é){0,60}", glob in "\\PC{0,30}") {
            let mut matches = Match::default();
            for one in assignments(&text) {
                matches.add(&one.key, &one.value, &KernelArgs::default());
            }
            let _ = matches.answers(&Nic { name: "eth0".into(), mac: None });
            let _ = glob_matches(&glob, "eth0");
        }
    }
}
