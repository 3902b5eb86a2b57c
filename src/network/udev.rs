//! udev rules that give a NIC its name.
//!
//! A rule's `NAME=` wins over every `.link` file: udev's own `80-net-setup-link.rules` sets a name only where none is set.
//! Source: udev(7); systemd 252 `80-net-setup-link.rules`; measured (docs/truth-table.md).

use super::matching::{Answer, Nic, glob_matches};
use super::{Place, Snapshot};

/// What the rules in `/etc/udev/rules.d` do to a NIC's name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Renames {
    /// The name that is set last, and where.
    pub name: Option<(String, Place)>,
    /// Rules that may name the NIC, and what they depend on.
    pub open: Vec<String>,
}

/// Reads them for a NIC that is still called as the kernel calls it.
pub(super) fn renames(snapshot: &Snapshot, nic: &Nic) -> Renames {
    let mut renames = Renames::default();
    for file in snapshot.names("/etc/udev/rules.d") {
        let path = format!("/etc/udev/rules.d/{file}");
        let text = snapshot.text(&path).flatten().unwrap_or_default();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with('#')) {
            let place = || Place::line(&snapshot.image, &path, &text, index + 1);
            let Some((name, answer)) = rule(line, nic) else { continue };
            match answer {
                Ok(true) => renames.name = Some((name, place())),
                Ok(false) => {}
                Err(key) => {
                    renames.open.push(format!("whether {} names the NIC {name}; it depends on `{key}`", place()));
                }
            }
        }
    }
    renames
}

/// The name that a rule sets, and whether it is for the NIC; else the condition on which that depends. None: it sets no
/// name, or what it is for is certainly no NIC.
fn rule(line: &str, nic: &Nic) -> Option<(String, Result<bool, String>)> {
    let parts: Vec<(&str, &str, &str)> = pairs(line);
    let name = parts.iter().find(|(key, operator, _)| *key == "NAME" && matches!(*operator, "=" | ":="))?.2;
    let mut open = None;
    for (key, operator, value) in parts.iter().filter(|(_, operator, _)| matches!(*operator, "==" | "!=")) {
        let is = |actual: &str| value.split('|').any(|glob| glob_matches(glob, actual) == Answer::Yes);
        let holds = match *key {
            "SUBSYSTEM" | "SUBSYSTEMS" => Some(is("net")),
            "ACTION" => Some(is("add")),
            "KERNEL" => Some(is(&nic.name)),
            "DRIVERS" => Some(is("virtio_net")),
            "ATTR{type}" => Some(is("1")),
            "ATTR{dev_id}" => Some(is("0x0")),
            "ATTR{address}" => nic.mac.as_ref().map(|mac| is(mac)),
            _ => None,
        };
        match holds {
            Some(holds) if holds != (*operator == "==") => return Some((name.to_owned(), Ok(false))),
            Some(_) => {}
            None => open = Some((*key).to_owned()),
        }
    }
    let found = !name.is_empty();
    // `%k`, `$env{…}` and the like are worked out by udev.
    let open = open.or_else(|| name.contains(['%', '$']).then(|| "NAME".to_owned()));
    found.then(|| (name.to_owned(), open.map_or(Ok(true), Err)))
}

/// `KEY op "value"` pairs of a line.
fn pairs(line: &str) -> Vec<(&str, &str, &str)> {
    let mut list = Vec::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('"') {
        let Some((value, after)) = after.split_once('"') else { break };
        let before = before.trim_start_matches([',', ' ', '\t']).trim_end();
        let key = before.trim_end_matches(['=', '!', '+', '-', ':']);
        list.push((key.trim_end(), before.get(key.len()..).unwrap_or_default(), value));
        rest = after;
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: &str = "52:54:00:00:00:01";

    #[test]
    fn rules_are_for_this_nic_for_another_or_cannot_be_decided() {
        let nic = Nic { name: "eth0".into(), mac: Some(MAC.into()) };
        let classic = |mac: &str| {
            format!(
                "SUBSYSTEM==\"net\", ACTION==\"add\", DRIVERS==\"?*\", ATTR{{address}}==\"{mac}\", ATTR{{dev_id}}==\"0x0\", \
                 ATTR{{type}}==\"1\", KERNEL==\"eth*\", NAME=\"lan0\""
            )
        };
        let lan0 = |answer| Some(("lan0".to_owned(), answer));
        assert_eq!(rule(&classic(MAC), &nic), lan0(Ok(true)));
        assert_eq!(rule(&classic("52:54:00:00:00:02"), &nic), lan0(Ok(false)));
        assert_eq!(rule(&classic(MAC), &Nic { mac: None, ..nic.clone() }), lan0(Err("ATTR{address}".into())));
        assert_eq!(rule("KERNEL!=\"eth0\", NAME:=\"lan0\"", &nic), lan0(Ok(false)));
        assert_eq!(rule("KERNEL==\"eth1|eth0\", NAME = \"lan0\"", &nic), lan0(Ok(true)));
        assert_eq!(rule("PROGRAM==\"x\", NAME=\"lan0\"", &nic), lan0(Err("PROGRAM".into())));
        assert_eq!(rule("SUBSYSTEM==\"net\", ENV{NAME}=\"x\"", &nic), None);
    }

    proptest::proptest! {
        #[test]
        fn no_line_panics(line in "(NAME|KERNEL|ATTR\\{address\\}|=|==|!=|\"|,| |\\*|\\[|é){0,30}") {
            let _ = rule(&line, &Nic { name: "eth0".into(), mac: None });
        }
    }
}
