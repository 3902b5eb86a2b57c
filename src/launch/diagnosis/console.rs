//! What a guest's console says of what failed. Pure.
//!
//! Source: systemd `src/core/job.c` (`job_print_done_status_message`), `src/shared/output-mode.c`; measured with 252: a
//! line is cut in its middle (`…`) so that it fits the console, and nothing is printed once the boot is over.

/// The kernel's last words.
pub const PANIC: &str = "Kernel panic - not syncing";
/// What the kernel says after a panic when it stays as it is: nothing will follow.
const STAYS: &str = "end Kernel panic";
const ROOT: [&str; 4] = [
    "initrd: the root device",
    "initrd: the kernel arguments name no root",
    "Unable to mount root fs",
    "VFS: Cannot open root device",
];
/// What the initrd lists where the kernel has found no disk at all.
const NO_DISK: &str = "initrd:   none";
/// What the kernel says when userspace ends the machine.
const DOWN: [&str; 3] = ["reboot: Power down", "reboot: Restarting system", "reboot: System halted"];
const KINDS: [&str; 9] =
    [".service", ".socket", ".mount", ".automount", ".swap", ".target", ".path", ".timer", ".device"];

/// A line of the console and its number.
pub type Line<'a> = (usize, &'a str);

/// The first line that has one of the words.
fn find<'a>(console: &'a str, words: &[&str]) -> Option<Line<'a>> {
    console
        .lines()
        .enumerate()
        .find(|(_, line)| words.iter().any(|word| line.contains(word)))
        .map(|(number, line)| (number, line.trim()))
}

/// Where the root filesystem was not found.
pub fn root(console: &str) -> Option<Line<'_>> {
    find(console, &ROOT)
}

/// Whether the kernel had no driver for any disk, as far as the console says.
pub fn no_disk(console: &str) -> bool {
    find(console, &ROOT[2..]).is_some() || find(console, &[NO_DISK]).is_some()
}

/// Where the kernel panicked.
pub fn panic(console: &str) -> Option<Line<'_>> {
    find(console, &[PANIC])
}

/// Whether the kernel has panicked for good: it will not even reboot.
pub fn is_dead(console: &str) -> bool {
    find(console, &[STAYS]).is_some()
}

/// Where userspace ended the machine.
pub fn down(console: &str) -> Option<Line<'_>> {
    find(console, &DOWN)
}

/// Whether systemd says what it starts, and has not come to the end of it.
pub fn is_booting(console: &str) -> bool {
    let reached = |line: &str| {
        let target = line.split_once("Reached target ").map_or("", |(_, target)| target);
        ["network.target", "multi-user.target", "graphical.target"].iter().any(|one| target.starts_with(one))
    };
    find(console, &["[  OK  ] "]).is_some() && !console.lines().any(reached)
}

/// What stands before a unit that has failed and is not started again, and before what it said last. goldsmith's images print
/// it (`tree`), also once the boot is over.
const LAST: &str = "goldsmith: failed: ";

/// A unit that did not start, by what systemd printed while it booted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// The unit.
    pub name: String,
    /// Whether it was not even tried, because a unit that it needs failed.
    pub dependent: bool,
    /// Whether it is not started again.
    pub last: bool,
    /// The TCP ports that its file in the image names where it says what runs or listens.
    pub ports: Vec<u16>,
    /// The console's line.
    pub line: usize,
    label: String,
}

/// The units that have failed and were not started later, in order.
pub fn failed(console: &str) -> Vec<Failed> {
    let mut failed: Vec<Failed> = Vec::new();
    let lines: Vec<&str> = console.lines().map(str::trim).collect();
    for (number, line) in lines.iter().enumerate() {
        if let Some((_, name)) = line.split_once(LAST) {
            failed.retain(|unit| unit.name != name);
            // Whatever comes after the name in other lines.
            let (name, label) = (name.to_owned(), format!("{name}…"));
            failed.push(Failed { name, dependent: false, last: true, ports: Vec::new(), line: number, label });
            continue;
        }
        let Some((word, text)) = line.strip_prefix('[').and_then(|line| line.split_once(']')) else { continue };
        let text = text.trim();
        if word.trim() == "OK" {
            failed.retain(|unit| !started(text).is_some_and(|label| is_same(&unit.label, label)));
            continue;
        }
        let Some(label) = ended(word.trim(), text) else { continue };
        let mut after = lines.iter().skip(number + 1).take(3);
        let Some(name) = name(label).or_else(|| after.find_map(|line| status(line))) else { continue };
        if !failed.iter().any(|unit| unit.name == name) {
            let (dependent, label) = (word.trim() == "DEPEND", label.to_owned());
            failed.push(Failed { name, dependent, last: false, ports: Vec::new(), line: number, label });
        }
    }
    failed
}

/// The unit's part of a message about a failure.
fn ended<'a>(word: &str, text: &'a str) -> Option<&'a str> {
    let verbs: &[&str] = match word {
        "FAILED" => &["Failed to start ", "Failed to listen on ", "Failed to mount ", "Failed to activate swap "],
        "TIME" => &["Timed out starting ", "Timed out waiting for device ", "Timed out mounting "],
        "DEPEND" => &["Dependency failed for "],
        _ => &[],
    };
    verbs.iter().find_map(|verb| text.strip_prefix(verb))
}

/// The unit's part of a message about a start.
fn started(text: &str) -> Option<&str> {
    ["Started ", "Finished ", "Listening on ", "Mounted ", "Found device ", "Activated swap "]
        .iter()
        .find_map(|verb| text.strip_prefix(verb))
}

/// A label's unit: its first word, or what is left of that where it shows at least where its kind begins.
fn name(label: &str) -> Option<String> {
    let word = label.split_whitespace().next()?.trim_end_matches('.');
    let (head, cut) = word.split_once('…').map_or((word, false), |(head, _)| (head, true));
    let (stem, kind) = head.rsplit_once('.').map(|(stem, kind)| (stem, format!(".{kind}")))?;
    let fits = |whole: &&&str| if cut { kind.len() > 1 && whole.starts_with(&kind) } else { **whole == kind };
    KINDS.iter().find(fits).map(|whole| format!("{stem}{whole}"))
}

/// The unit in systemd's hint, which is never cut: `See 'systemctl status NAME' for details.`
fn status(line: &str) -> Option<String> {
    let (name, _) = line.strip_prefix("See 'systemctl status ")?.split_once('\'')?;
    Some(name.to_owned())
}

/// Whether two labels, cut at different places, are those of one unit.
fn is_same(one: &str, other: &str) -> bool {
    let halves = |label: &str| {
        let (head, tail) = label.split_once('…').unwrap_or((label, label));
        (head.to_owned(), tail.to_owned())
    };
    let ((head, tail), (other_head, other_tail)) = (halves(one), halves(other));
    let heads = head.starts_with(&other_head) || other_head.starts_with(&head);
    heads && (tail.ends_with(&other_tail) || other_tail.ends_with(&tail))
}

/// The port numbers in a unit's file, in the lines that say what runs and what is listened on.
pub fn ports(unit: &str) -> Vec<u16> {
    let lines = unit.lines().map(str::trim).filter(|line| line.starts_with("Exec") || line.starts_with("Listen"));
    lines
        .flat_map(|line| line.split(|letter: char| !letter.is_ascii_digit()))
        .filter_map(|word| word.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(console: &str) -> Vec<String> {
        failed(console).into_iter().map(|unit| unit.name).collect()
    }

    /// As Debian 12's systemd 252 prints it on a console of 80 columns, colours taken out.
    #[test]
    fn failed_units_are_found_however_their_lines_are_cut() {
        let console = "[  OK  ] Started systemd-udevd.serv…nager for Device Events and Files.\n\
             [FAILED] Failed to start oauth-agen…P whether this guest is really up.\n\
             See 'systemctl status oauth-agent.service' for details.\n\
             [DEPEND] Dependency failed for x11vnc.ser…C server for the display :0.\n\
             [FAILED] Failed to listen on ssh.socket - OpenBSD Secure Shell server socket.\n\
             [ TIME ] Timed out waiting for device dev-vdb.device - /dev/vdb.\n\
             [  OK  ] Reached target multi-user.target - Multi-User System.";
        assert_eq!(names(console), ["oauth-agent.service", "x11vnc.service", "ssh.socket", "dev-vdb.device"]);
        let found = failed(console);
        assert_eq!(
            found.iter().map(|unit| (unit.line, unit.dependent)).collect::<Vec<_>>()[..2],
            [(1, false), (3, true)]
        );
        // Without unit names (systemd before 249, or `StatusUnitFormat=description`).
        let old = "[FAILED] Failed to start Health agent.\nSee 'systemctl status oauth-agent.service' for details.\n";
        assert_eq!(names(old), ["oauth-agent.service"]);
        assert_eq!(names("[FAILED] Failed to start Health agent.\n[FAILED]\n[\n"), [""; 0]);
    }

    #[test]
    fn a_unit_that_starts_in_the_end_has_not_failed() {
        let fails = "[FAILED] Failed to start systemd-ne…rvice - Network Configuration.\n\
             See 'systemctl status systemd-networkd.service' for details.\n\
             [  OK  ] Stopped systemd-networkd.service - Network Configuration.\n";
        assert_eq!(names(&[fails, fails].concat()), ["systemd-networkd.service"]);
        let starts = "[  OK  ] Started systemd-networkd.service - Network Configuration.\n";
        assert_eq!(names(&[fails, starts].concat()), [""; 0]);
        assert_eq!(names(&[fails, starts, fails].concat()), ["systemd-networkd.service"]);
        let other = "[  OK  ] Started systemd-network-gen…work units from Kernel command line.\n";
        assert_eq!(names(&[fails, other].concat()), ["systemd-networkd.service"]);
    }

    #[test]
    fn a_unit_that_is_given_up_is_told_from_one_that_is_started_again() {
        let fails = "[FAILED] Failed to start ssh.service - OpenBSD Secure Shell server.\n";
        let given_up = "goldsmith: failed: ssh.service\n  | sshd: no hostkeys available -- exiting.\n";
        let last = |console: &str| failed(console).iter().map(|unit| (unit.last, unit.line)).collect::<Vec<_>>();
        assert_eq!(last(fails), [(false, 0)]);
        assert_eq!(last(&[fails, fails, given_up].concat()), [(true, 2)]);
        assert_eq!(last(given_up), [(true, 0)]);
        let starts = "[  OK  ] Started ssh.service - OpenBSD Secure Shell server.\n";
        assert_eq!(last(&[given_up, starts].concat()), []);
    }

    #[test]
    fn a_units_file_names_its_ports() {
        let unit =
            "[Service]\nEnvironment=CHECKS=rfb:5900\nExecStart=/usr/bin/agent --listen 0.0.0.0:8080 --x 99999999\n";
        assert!(ports(unit).contains(&8080) && !ports(unit).contains(&5900));
        assert_eq!(ports("[Socket]\nListenStream=22\n"), [22]);
    }

    proptest::proptest! {
        #[test]
        fn no_console_panics(text in "(\\[FAILED\\] Failed to start |\\[  OK  \\] Started |\\[|\\]|…|\\.|a|\n|See 'systemctl status |'){0,40}") {
            failed(&text);
        }
    }
}
