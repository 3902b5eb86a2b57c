//! What programs say when they want something that a build step does not have, and what to do about it.

use super::Package;
use super::step::Failure;
use crate::debian::Templates;

/// Words (in lower case) of programs that fail for want of something, and what helps.
const WANTS: [(&[&str], &str); 5] = [
    (
        &[
            "temporary failure in name resolution",
            "network is unreachable",
            "could not resolve host",
            "unable to resolve host address",
            "name or service not known",
            "temporary failure resolving",
            "name does not resolve",
            "no address associated with hostname",
            "dial tcp: lookup",
        ],
        "build steps have no network, only a loopback: let packages, overlays or artifacts of the recipe bring what it fetches",
    ),
    (
        &[
            "has not been booted with systemd",
            "failed to connect to bus",
            "connect to system message bus",
            "connect to system scope bus",
            "unable to connect to upstart",
        ],
        "no service runs in a build: let a unit do it at the guest's first start",
    ),
    (
        &["no space left on device"],
        "the disk is full: make room or put the cache elsewhere (GOLDSMITH_CACHE); /tmp and /dev/shm are bounded by --step-memory",
    ),
    (
        &["/dev/tty", "not a tty", "inappropriate ioctl for device", "eof when reading a line", "is not a terminal"],
        "nobody types in a build: there is no terminal and the standard input is empty; give the answers in the recipe's files",
    ),
    (
        &["modprobe: fatal", "read-only file system", "operation not permitted", "mount: "],
        "a build step has no devices, mounts or kernel settings of the machine: do this in the guest, by a unit",
    ),
];

/// Exit status of a debconf command whose question was not asked. Source: debconf-devel(7).
const NOT_ASKED: i32 = 30;

/// Adds what may help to a failure of a package's script, or of a `run:` command.
pub(super) fn add(failure: &mut Failure, package: Option<&Package>) {
    if failure.help.is_some() {
        return;
    }
    let asked = failure.status == Some(NOT_ASKED) || failure.words.iter().any(|line| line.contains("debconf"));
    let questions = || package.and_then(questions);
    let first = if asked { questions() } else { None };
    failure.help = first.or_else(|| wanted(&failure.words)).or_else(|| silent(failure, package)).or_else(questions);
}

/// The last line that says what is wanting decides.
fn wanted(words: &[String]) -> Option<String> {
    let help = |line: &String| {
        let line = line.to_lowercase();
        WANTS.iter().find(|(words, _)| words.iter().any(|word| line.contains(word))).map(|(_, help)| (*help).to_owned())
    };
    words.iter().rev().find_map(help)
}

/// The questions of a package that nothing answers.
fn questions(package: &Package) -> Option<String> {
    let mut templates = Templates::default();
    templates.add(package.name(), &package.text("templates")?);
    let names: Vec<_> = templates.without_default().take(4).map(|name| format!("`{name}`")).collect();
    (!names.is_empty()).then(|| {
        let names = names.join(", ");
        format!("nobody answers debconf's questions in a build but the recipe, under `debconf:`; without a default are {names}")
    })
}

/// A script that says nothing and reads what nobody gives it.
fn silent(failure: &Failure, package: Option<&Package>) -> Option<String> {
    let script = package?.text(failure.script.split(' ').next().unwrap_or_default())?;
    let reads = script.lines().any(|line| line.trim_start().starts_with("read "));
    (reads && failure.words.is_empty()).then(|| {
        "it reads its standard input, which is empty in a build; give the answer in the recipe's files".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_lead_to_what_helps() {
        let help = |line: &str| wanted(&["before".to_owned(), line.to_owned()]).unwrap_or_default();
        for line in [
            "curl: (6) Could not resolve host: example.org",
            "ping: connect: Network is unreachable",
            "socket.gaierror: [Errno -3] Temporary failure in name resolution",
            "wget: unable to resolve host address 'example.org'",
        ] {
            assert!(help(line).contains("no network"), "{line}");
        }
        assert!(help("sh: 1: cannot open /dev/tty: No such device or address").contains("nobody types"));
        assert!(help("Failed to connect to bus: No such file or directory").contains("no service"));
        assert_eq!(help("syntax error"), "");
    }
}
