use super::*;
use crate::findings::Severity;

const RULE: RuleDoc = RuleDoc {
    id: "NET-K002",
    slug: "static-ip-vs-dhcp",
    severity: Severity::Error,
    title: "A static address on the kernel command line meets DHCP in the guest.",
    text: "Drop `ip=`.",
};

fn conflict() -> Finding {
    let line = "console=ttyS0 reboot=k panic=1 root=/dev/vda rw rootfstype=ext4 rootwait net.ifnames=0 biosdevname=0 \
                random.trust_cpu=on gso_max_size=0 ip=192.168.100.12::192.168.100.1:255.255.255.0::eth0:on";
    let start = line.find("ip=").unwrap();
    Finding::new("NET-K002", Severity::Error, "eth0 is 192.168.100.12 by `ip=` but the guest runs DHCP")
        .at(Evidence {
            origin: Origin::Arguments,
            line: 1,
            column: start + 1,
            text: line.to_owned(),
            start: 1,
            length: line.len() - start,
            label: "sets a static address".to_owned(),
        })
        .at(Evidence {
            origin: Origin::Guest { image: "rootfs.ext4".into(), path: "/etc/netplan/01-netcfg.yaml".into() },
            line: 6,
            column: 7,
            text: "      dhcp4: yes".to_owned(),
            start: 1,
            length: 10,
            label: "asks for a lease".to_owned(),
        })
        .note("the guest would answer at the leased address, not at 192.168.100.12")
        .help("remove the `ip=` argument")
}

fn typo() -> Finding {
    Finding::new("REC-005", Severity::Warning, "50% of, it:\nfails").at(Evidence {
        origin: Origin::File("re,ci pe.yaml".to_owned()),
        line: 3,
        column: 1,
        text: "\tp\u{1b}[31m: 1".to_owned(),
        start: 1,
        length: 2,
        label: String::new(),
    })
}

#[test]
fn a_refusal_shows_both_places_with_carets() {
    insta::assert_snapshot!(human(&[conflict(), typo()], false));
}

#[test]
fn colour_appears_only_when_asked_and_the_terminal_is_never_driven_by_the_input() {
    assert!(!human(&[conflict(), typo()], false).contains('\u{1b}'));
    assert!(human(&[conflict()], true).contains('\u{1b}'));
}

#[test]
fn a_waived_finding_says_so_everywhere_and_does_not_refuse() {
    let finding = Finding { waived: Some("lab only".into()), ..conflict() };
    assert!(!finding.refuses());
    assert!(human(std::slice::from_ref(&finding), false).starts_with("waived[NET-K002]"));
    assert!(github(std::slice::from_ref(&finding)).starts_with("::notice "));
    let log: serde_json::Value = serde_json::from_str(&sarif(std::slice::from_ref(&finding), &[])).unwrap();
    assert_eq!(log["runs"][0]["results"][0]["suppressions"][0]["justification"], "lab only");
    let report: serde_json::Value = serde_json::from_str(&json(&[finding])).unwrap();
    assert_eq!((&report["errors"], &report["waived"]), (&0.into(), &1.into()));
}

#[test]
fn github_commands_are_one_line_each_and_escaped() {
    insta::assert_snapshot!(github(&[conflict(), typo()]));
}

#[test]
fn json_has_a_documented_stable_shape() {
    insta::assert_snapshot!(json(&[typo()]));
}

#[test]
fn sarif_names_rules_places_and_encodes_uris() {
    let log: serde_json::Value = serde_json::from_str(&sarif(&[conflict(), typo()], &[RULE])).unwrap();
    let run = &log["runs"][0];
    assert_eq!(log["version"], "2.1.0");
    assert_eq!(run["tool"]["driver"]["rules"][0]["name"], "static-ip-vs-dhcp");
    let physical = &run["results"][1]["locations"][0]["physicalLocation"];
    assert_eq!(physical["artifactLocation"]["uri"], "re%2Cci%20pe.yaml");
    assert_eq!(physical["region"]["endColumn"], 3);
    assert_eq!(run["results"][0]["relatedLocations"][0]["physicalLocation"]["artifactLocation"]["uri"], "rootfs.ext4");
}

#[test]
fn what_is_hidden_is_shown_in_every_form() {
    let evil = "a\u{1b}[2J\u{9b}31m\u{202e}b\u{2066}c\u{200b}\r";
    let finding = Finding::new("REC-001", Severity::Error, evil).note(evil).help(evil).at(Evidence::new(
        Origin::File(evil.to_owned()),
        (1, 2, 3),
        evil,
        evil,
    ));
    for format in [Format::Human, Format::Json, Format::Sarif, Format::Github] {
        let text = format.render(std::slice::from_ref(&finding), &[RULE], false);
        assert!(!text.contains(|c| c != '\n' && crate::values::is_hidden(c)), "{format:?}: {text:?}");
    }
}

#[test]
fn the_caret_of_a_cut_line_stands_where_it_did() {
    let line = format!("{}here{}", "x".repeat(5000), "y".repeat(5000));
    let finding = Finding::new("REC-001", Severity::Error, "long").at(Evidence::new(
        Origin::File("a".into()),
        (1, 5001, 4),
        &line,
        "this",
    ));
    let text = human(&[finding], false);
    let rows: Vec<_> = text.lines().collect();
    let at = rows[2].chars().position(|c| c == 'h').unwrap();
    assert_eq!(rows[3].chars().position(|c| c == '^'), Some(at), "{text}");
    assert!(text.len() < 600, "{text}");
}
