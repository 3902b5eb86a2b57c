use super::*;
use crate::network::NetworkMode;
use std::fs;

const BASE: &str = "schema: goldsmith/v1
distribution: { name: debian, suite: bookworm, security: 'http://deb.debian.org/debian-security' }
image: { size: 1G }
kernel: { package: linux-image-cloud-amd64 }
packages: [systemd-sysv, dbus]
network: { interface: eth0, mode: dhcp }
boot: { args: [console=ttyS0] }
";

fn write(folder: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, text).unwrap();
    path
}

fn rules(result: Result<Recipe, Vec<Finding>>) -> Vec<(&'static str, usize, String)> {
    let line = |finding: &Finding| finding.evidence.first().map_or(0, |evidence| evidence.line);
    let row = |finding: Finding| (finding.rule, line(&finding), finding.help.unwrap_or(finding.message));
    result.unwrap_err().into_iter().map(row).collect()
}

#[test]
fn includes_merge_maps_append_lists_and_let_this_file_win() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("overlay")).unwrap();
    write(folder.path(), "base/base.yaml", &format!("{BASE}overlays: [../overlay]\n"));
    let path = write(
        folder.path(),
        "recipes/a.yaml",
        "schema: goldsmith/v1\nname: a\ninclude: [../base/base.yaml]\npackages: [openssh-server]\nimage: { size: 8G }\nboot: { args: [quiet] }\n",
    );
    let recipe = load(&path, &[]).unwrap();
    assert_eq!(recipe.packages, ["dbus", "openssh-server", "systemd-sysv"]);
    assert_eq!(recipe.image.size.0, 8 << 30);
    assert_eq!(recipe.boot_args.to_string(), "console=ttyS0 quiet");
    assert_eq!(recipe.overlays, [folder.path().join("overlay")]);
    let suites: Vec<_> = recipe.distribution.archives.iter().map(|archive| archive.suite.as_str()).collect();
    assert_eq!(suites, ["bookworm", "bookworm-security"]);
    assert_eq!(recipe.network.mode, NetworkMode::Dhcp);
}

#[test]
fn parameters_decide_about_entries_and_fill_texts() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "{}name: a\nparameters:\n  browser: {{ type: bool, default: true }}\n  port: {{ type: port, default: 22 }}\nprobes:\n  - {{ name: ssh, tcp: ':${{port}}' }}\n",
        BASE.replace(
            "[systemd-sysv, dbus]",
            "[dbus, { when: browser, then: [chromium] }, { when: not browser, then: [lynx] }]"
        )
    );
    let path = write(folder.path(), "a.yaml", &text);
    assert_eq!(load(&path, &[]).unwrap().packages, ["chromium", "dbus"]);
    let set = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    let other = load(&path, &set("browser", "false")).unwrap();
    assert_eq!(other.packages, ["dbus", "lynx"]);
    assert_ne!(other.packages_digest, load(&path, &[]).unwrap().packages_digest);
    assert!(
        matches!(load(&path, &set("port", "80")).unwrap().probes[0].check, ProbeCheck::Tcp { port, .. } if port.get() == 80)
    );
    assert_eq!(rules(load(&path, &set("browsr", "false")))[0].2, "did you mean `browser`?");
    assert_eq!(rules(load(&path, &set("port", "0")))[0].0, "REC-008");
}

#[test]
fn every_problem_is_reported_in_one_run_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/etc", folder.path().join("link")).unwrap();
    let text = "schema: goldsmith/v1
name: Bad
distribution: { name: debian, suite: bookworm }
image: { size: 8X }
kernel: { pakage: linux-image-cloud-amd64 }
packages: Xvfb
network: { interface: eth0, mode: static, address: 10.0.0.2/24, gateway: 10.0.1.1 }
overlays: [missing, link]
unit: { enable: [ssh] }
probes: [{ name: a, http: ':80' }, { name: a }]
";
    let found = rules(load(&write(folder.path(), "a.yaml", text), &[]));
    let expected = [
        ("REC-004", 2, "did you mean `bad`?"),
        ("REC-004", 4, "is not a size"),
        ("REC-002", 5, "did you mean `package`?"),
        ("REC-005", 5, "add `package:`"),
        ("REC-003", 6, "write `[Xvfb]`"),
        ("REC-012", 7, "kernel refuses"),
        ("REC-009", 8, "does not exist"),
        ("REC-010", 8, "name the real folder"),
        ("REC-002", 9, "did you mean `units`?"),
        ("REC-004", 10, "`:PORT/PATH`"),
        ("REC-011", 10, "already"),
        ("REC-013", 10, "either"),
    ];
    for (rule, line, part) in expected {
        assert!(
            found.iter().any(|(id, at, text)| *id == rule && *at == line && text.contains(part)),
            "{rule} {line} {part}: {found:#?}"
        );
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn what_cannot_be_a_recipe_is_refused_with_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let rule = |name: &str, text: &[u8]| {
        fs::write(folder.path().join(name), text).unwrap();
        rules(load(&folder.path().join(name), &[]))
    };
    assert_eq!(rule("empty.yaml", b"")[0].0, "REC-003");
    assert_eq!(rule("list.yaml", b"- a\n- b\n")[0].0, "REC-003");
    assert_eq!(rule("huge.yaml", &vec![b'#'; 10 << 20])[0].0, "REC-006");
    assert_eq!(rule("latin.yaml", b"name: \xff\n")[0].0, "REC-006");
    assert_eq!(rule("twice.yaml", b"name: a\nname: b\n")[0].0, "REC-001");
    assert_eq!(rules(load(folder.path(), &[]))[0].0, "REC-006");
    assert_eq!(rules(load(&folder.path().join("absent.yaml"), &[]))[0].0, "REC-006");
    rustix::fs::mknodat(rustix::fs::CWD, folder.path().join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    assert_eq!(rules(load(&folder.path().join("pipe"), &[]))[0].0, "REC-006");
}

#[test]
fn circles_of_includes_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.yaml", "include: [b.yaml]\n");
    write(folder.path(), "b.yaml", "include: [a.yaml]\n");
    let findings = load(&folder.path().join("a.yaml"), &[]).unwrap_err();
    assert_eq!(findings[0].rule, "REC-007");
    assert!(findings[0].message.contains("a.yaml → b.yaml → a.yaml"), "{}", findings[0].message);
}

#[test]
fn comments_and_order_do_not_change_the_digest() {
    let folder = tempfile::tempdir().unwrap();
    let digest = |text: &str| load(&write(folder.path(), "a.yaml", text), &[]).unwrap().digest;
    let first = digest(&format!("{BASE}name: a\n"));
    assert_eq!(digest(&format!("# comment\nname: a\n{BASE}")), first);
    assert_ne!(digest(&format!("{BASE}name: b\n")), first);
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(name|network|packages|boot|probes|users|include)?: ?[-a-z:&*\\[\\]{},#'\"|> \n0-9]{0,120}") {
        let folder = tempfile::tempdir().unwrap();
        let _ = load(&write(folder.path(), "a.yaml", &text), &[]);
    }
}
