//! The command line: its help teaches, its exit statuses mean something, its completions and manual pages work.

mod common;

use common::workshop::{Run, Workshop, names};
use common::{goldsmith, image, need, succeed};
use std::path::Path;
use std::process::Command;

fn run(arguments: &[&str]) -> Run {
    goldsmith().args(arguments).output().unwrap().into()
}

/// The verbs that `goldsmith --help` lists.
fn verbs() -> Vec<String> {
    let help = run(&["--help"]).stdout;
    let list = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let verb =
        |line: &str| line.strip_prefix("  ")?.split(' ').next().filter(|word| !word.is_empty()).map(str::to_owned);
    list.lines().filter_map(verb).filter(|verb| verb != "help").collect()
}

#[test]
fn every_verb_says_what_it_does_and_how_it_is_typed() {
    assert!(verbs().len() >= 12, "{:?}", verbs());
    for verb in verbs() {
        let help = run(&[&verb, "--help"]).stdout;
        let first = help.lines().next().unwrap();
        assert!(!first.ends_with('.') && first.len() > 20, "{verb}: {first}");
        let word = first.split(' ').next().unwrap().trim_end_matches(':');
        assert!(!word.ends_with('s'), "{verb}: `{word}` is no imperative");
        assert!(help.contains(&format!("Example: goldsmith {verb}")), "{verb} has no example:\n{help}");
        // An option without a text stands alone on its line, with an empty one behind it.
        let lines: Vec<_> = help.lines().collect();
        for (line, next) in lines.iter().zip(&lines[1..]) {
            let line = line.trim_start();
            assert!(!line.starts_with("--") || !next.trim().is_empty(), "{verb}: {line} has no text");
        }
    }
}

#[test]
fn examples_in_the_help_are_accepted() {
    for verb in verbs() {
        let help = run(&[&verb, "--help"]).stdout;
        let unwrapped = help.replace("\nip=", " ip=");
        let example = unwrapped.lines().find_map(|line| line.strip_prefix("Example: goldsmith ")).unwrap();
        let words: Vec<_> = example.split(" > ").next().unwrap().split(' ').collect();
        // Parsed, not obeyed: nothing of the kind is in an empty folder.
        let workshop = Workshop::empty();
        let output = workshop.goldsmith(&words).env("HOME", workshop.path("home")).output().unwrap();
        assert_ne!(output.status.code(), Some(2), "{example}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn the_help_of_the_verbs_that_build() {
    for verb in ["build", "check", "clean", "lock", "schema", "shell"] {
        insta::assert_snapshot!(format!("help_{verb}"), run(&[verb, "--help"]).stdout);
    }
}

#[test]
fn exit_statuses_are_those_that_are_documented() {
    let folder = image("minimal");
    let image = folder.to_str().unwrap();
    let status = |arguments: &[&str]| run(arguments).status;
    assert_eq!(status(&["verify", image]), Some(0));
    assert_eq!(status(&["explain"]), Some(0));
    assert_eq!(status(&["--version"]), Some(0));
    assert_eq!(status(&["check", "no-such-recipe.yaml"]), Some(1));
    assert_eq!(status(&["inspect", "cat", image, "/no/such/file"]), Some(1));
    assert_eq!(status(&[]), Some(2));
    assert_eq!(status(&["biuld"]), Some(2));
    assert_eq!(status(&["build"]), Some(2));
    assert_eq!(status(&["build", "--no-such-option", "a.yaml"]), Some(2));
    assert_eq!(status(&["explain", "NET-K999"]), Some(2));
    let refused = run(&["verify", image, "--append", "ip=192.168.100.12::192.168.100.1:255.255.255.0::eth0:on"]);
    refused.failed(3, &["NET-K002", "192.168.100.12", "/etc/netplan/01-netcfg.yaml"]);
    run(&["biuld"]).failed(2, &["build"]);
    run(&["explain", "net-k02"]).failed(2, &["there is no rule `net-k02`", "did you mean `NET-K0"]);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    for verb in ["explain", "schema", "completions bash", "man"] {
        let mut shell = Command::new("bash");
        let binary = env!("CARGO_BIN_EXE_goldsmith");
        shell.args(["-c", &format!("set -o pipefail; {binary} {verb} | head -c 10 >/dev/null")]);
        succeed(&mut shell);
    }
}

#[test]
fn completions_know_every_verb() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&["completions", shell]).stdout;
        for verb in verbs() {
            assert!(script.contains(&verb), "{shell}: {verb}");
        }
        std::fs::write(folder.path().join(shell), script).unwrap();
    }
    // The shell itself completes `goldsmith bui`.
    let script = folder.path().join("bash");
    let ask = format!(
        "source '{}'; COMP_WORDS=(goldsmith bui); COMP_CWORD=1; _goldsmith goldsmith bui goldsmith; echo \"${{COMPREPLY[@]}}\"",
        script.display()
    );
    let output = succeed(Command::new("bash").args(["--norc", "-c", &ask]));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "build\n");
}

#[test]
fn manual_pages_are_what_groff_accepts() {
    need("groff", "apt-get install groff-base");
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("man1");
    run(&["man", place.to_str().unwrap()]).succeeded();
    let pages = names(&place);
    for verb in verbs() {
        assert!(pages.contains(&format!("goldsmith-{verb}.1")), "{verb}: {pages:?}");
    }
    for page in pages {
        let output = succeed(
            Command::new("groff").args(["-Kutf8", "-man", "-Tutf8", "-ww", "-Wbreak", "-P-c"]).arg(place.join(&page)),
        );
        assert!(output.stderr.is_empty(), "{page}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(!output.stdout.is_empty());
    }
    let page = run(&["man"]).stdout;
    assert!(page.contains(".TH goldsmith"), "{page}");
    run(&["man", Path::new("/proc/nowhere").to_str().unwrap()]).failed(1, &["/proc/nowhere"]);
}
