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

fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
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

/// Rule ids in order, one for a row of the same.
fn ids(result: Result<Recipe, Vec<Finding>>) -> Vec<&'static str> {
    let mut ids: Vec<_> = rules(result).into_iter().map(|(rule, ..)| rule).collect();
    ids.dedup();
    ids
}

#[test]
fn a_thousand_problems_are_a_hundred_short_findings_and_a_count() {
    let folder = tempfile::tempdir().unwrap();
    let check = |list: String| {
        let text = format!("{BASE}name: a\nunits: {{ enable: {list} }}\n");
        load(&write(folder.path(), "a.yaml", &text), &[]).unwrap_err()
    };
    let names: Vec<_> = (0..90_000).map(|number| format!("x{number}")).collect();
    for (list, start) in [(format!("[{}]", names.join(",")), 2), (format!("[{}]", names.join(",\n")), 1)] {
        let findings = check(list);
        assert_eq!(findings.len(), 101);
        assert_eq!(findings[100].message, "… and 89900 more problems in this recipe");
        let (first, last) = (&findings[0].evidence[0], &findings[99].evidence[0]);
        assert!(first.text.len() <= 220 && first.start == 1, "{first:?}");
        assert!(last.text.len() <= 220 && last.start >= start, "{last:?}");
        let shown = last.text.chars().skip(last.column - last.start).take(3).collect::<String>();
        assert_eq!(shown, "x99");
    }
    let long = check(format!("[{}]", "x".repeat(900_000)));
    assert!(long.iter().all(|finding| finding.message.len() < 3000 && finding.evidence[0].text.len() <= 220));
}

#[test]
fn what_a_recipe_repeats_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let check =
        |text: String| ids(load(&write(folder.path(), "a.yaml", &format!("schema: goldsmith/v1\n{text}")), &[]));
    let value = "v".repeat(500);
    let users: String =
        (0..100).map(|number| format!("- {{ name: u{number}, comment: \"{}\" }}\n", "${a}".repeat(1000))).collect();
    let bomb = check(format!("name: a\nparameters: {{ a: {{ type: string, default: {value} }} }}\nusers:\n{users}"));
    assert_eq!(bomb, ["REC-018", "REC-005"]);
    assert_eq!(check(format!("a: &a {}\npackages: [{}]\n", "x".repeat(60_000), "*a,".repeat(9000))), ["REC-001"]);
    let whens = "{ when: nobody, then: [x] },".repeat(5000);
    let parameters: String =
        (0..5000).map(|number| format!("nobod{number}: {{ type: bool, default: true }},")).collect();
    assert_eq!(check(format!("parameters: {{ {parameters} }}\npackages: [{whens}]\n")), ["REC-008", "REC-016"]);
    assert_eq!(check(format!("overlays: [{}]\n", "'.',".repeat(1001))), ["REC-005", "REC-018"]);
}

#[test]
fn an_included_file_is_read_once_and_counts_each_time() {
    let folder = tempfile::tempdir().unwrap();
    // Each file includes the next one twice.
    let chain = |length: usize| {
        for number in 0..length {
            let next = number + 1;
            let include =
                if next < length { format!("include: [e{next}.yaml, ./e{next}.yaml]\n") } else { BASE.to_owned() };
            let name = if number == 0 { "name: a\n" } else { "" };
            let args = if next < length { "schema: goldsmith/v1\nboot: { args: [quiet] }\n" } else { "" };
            write(folder.path(), &format!("e{number}.yaml"), &format!("{args}{name}{include}"));
        }
        load(&folder.path().join("e0.yaml"), &[])
    };
    let small = chain(4).unwrap();
    // Eight times the last one's, and each other one as often as it is reached.
    assert_eq!(small.boot_args.iter().filter(|arg| arg.text == "console=ttyS0").count(), 8);
    assert_eq!(small.boot_args.iter().filter(|arg| arg.text == "quiet").count(), 7);
    assert_eq!(ids(chain(25)), ["REC-018"]);
    assert_eq!(ids(chain(60)), ["REC-018"]);
    let many: Vec<_> = (0..300).map(|number| format!("f{number}.yaml")).collect();
    many.iter().for_each(|name| drop(write(folder.path(), name, "schema: goldsmith/v1\n")));
    let wide = format!("{BASE}name: a\ninclude: [{}]\n", many.join(", "));
    assert_eq!(ids(load(&write(folder.path(), "wide.yaml", &wide), &[])), ["REC-018"]);
}

#[test]
fn nothing_of_a_file_that_is_no_recipe_is_repeated() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("shadow", "root:$6$hunter2:19000:0:99999:7:::\nhunter2:*:1:\n"),
        ("key", "-----BEGIN KEY-----\nhunter2\n-----END KEY-----\n"),
        ("token", "hunter2\n"),
        ("map", "password: hunter2\nhunter2: 1\n"),
        ("list", "- hunter2\n"),
        ("twice", "hunter2: 1\nhunter2: 2\n"),
        ("broken", "a: [hunter2\n"),
        ("wifi", "network: { wifis: { a: { password: hunter2 } } }\nhunter2: {}\n"),
    ] {
        write(folder.path(), name, text);
        for path in
            [write(folder.path(), "a.yaml", &format!("{BASE}name: a\ninclude: [{name}]\n")), folder.path().join(name)]
        {
            let findings = load(&path, &[]).unwrap_err();
            let shown = format!("{findings:?}");
            assert!(!shown.contains("hunter2"), "{name}: {shown}");
        }
    }
    // A part of a recipe needs not say so, but then everything in it must be known.
    write(folder.path(), "part.yaml", "packages: [Bad]\n");
    let findings =
        load(&write(folder.path(), "a.yaml", &format!("{BASE}name: a\ninclude: [part.yaml]\n")), &[]).unwrap_err();
    assert!(findings[0].evidence[0].text.contains("Bad"), "{findings:?}");
}

#[test]
fn only_regular_files_are_shipped() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    fs::create_dir_all(at("overlay/etc")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, at("overlay/etc/pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    fs::create_dir_all(at("deep").join("a/".repeat(2020))).unwrap_or_default();
    let check =
        |text: &str| load(&write(folder.path(), "a.yaml", &format!("{BASE}name: a\n{text}\n")), &[]).unwrap_err();
    for (text, column, part) in [
        ("artifacts: [{ source: /dev/zero, path: /x }]", 23, "/dev/zero is a device, not a file"),
        ("artifacts: [{ source: pipe, path: /x }]", 23, "pipe is a pipe, not a file"),
        ("artifacts: [{ source: overlay, path: /x }]", 23, "overlay is a folder, not a file"),
        ("overlays: [overlay]", 12, "etc/pipe in the overlay is a device, pipe or socket"),
    ] {
        let findings = check(text);
        let evidence = &findings[0].evidence[0];
        assert_eq!(
            (findings.len(), findings[0].rule, evidence.line, evidence.column),
            (1, "REC-009", 9, column),
            "{text}"
        );
        assert!(findings[0].message.contains(part), "{findings:?}");
    }
    let keyring = BASE.replace("suite: bookworm,", "suite: bookworm, keyring: pipe,");
    let findings = load(&write(folder.path(), "a.yaml", &format!("{keyring}name: a\n")), &[]).unwrap_err();
    assert!(findings[0].message.contains("the keyring") && findings[0].message.contains("is a pipe"), "{findings:?}");
}

#[test]
fn a_confined_recipe_names_nothing_outside_its_repository() {
    let outside = tempfile::tempdir().unwrap();
    write(outside.path(), "part.yaml", "schema: goldsmith/v1\n");
    write(outside.path(), "overlay/file", "x");
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join(".git")).unwrap();
    write(folder.path(), "shared/part.yaml", "schema: goldsmith/v1\n");
    write(folder.path(), "shared/overlay/file", "x");
    fs::create_dir(folder.path().join("recipes")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("part.yaml"), folder.path().join("recipes/link.yaml")).unwrap();
    std::os::unix::fs::symlink(outside.path(), folder.path().join("way")).unwrap();
    let far = outside.path().display();
    let check = |text: &str, confinement: &Confinement| {
        let path = write(folder.path(), "recipes/a.yaml", &format!("{BASE}name: a\n{text}\n"));
        load_confined(&path, &[], confinement)
    };
    let inside =
        "include: [../shared/part.yaml]\noverlays: [../shared/overlay]\nartifacts: [{ source: ../built, path: /x }]";
    check(inside, &Confinement::Repository).unwrap();
    let own = Confinement::Folder(folder.path().join("recipes"));
    assert_eq!(ids(check(inside, &own)), ["REC-017"]);
    for text in [
        format!("include: [{far}/part.yaml]"),
        "include: [link.yaml]".to_owned(),
        format!("overlays: [{far}/overlay]"),
        "overlays: [../way/overlay]".to_owned(),
        "artifacts: [{ source: ../way/part.yaml, path: /x }]".to_owned(),
        "artifacts: [{ source: ../way/unbuilt/x, path: /x }]".to_owned(),
        "artifacts: [{ source: ../../unbuilt, path: /x }]".to_owned(),
    ] {
        let findings = check(&text, &Confinement::Repository).unwrap_err();
        assert_eq!(
            (findings.len(), findings[0].rule, findings[0].evidence[0].line),
            (1, "REC-017", 9),
            "{text}: {findings:?}"
        );
        assert!(findings[0].message.contains("outside"), "{findings:?}");
        let open = check(&text, &Confinement::Anywhere);
        assert!(open.is_ok() || ids(open) == ["REC-010"], "{text}");
    }
    let keyring = BASE.replace("suite: bookworm,", "suite: bookworm, keyring: ../way/part.yaml,");
    let path = write(folder.path(), "recipes/a.yaml", &format!("{keyring}name: a\n"));
    assert_eq!(ids(load_confined(&path, &[], &Confinement::Repository)), ["REC-017"]);
    // The recipe itself, and its lock.
    fs::write(outside.path().join("whole.yaml"), format!("{BASE}name: whole\n")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("whole.yaml"), folder.path().join("recipes/whole.yaml")).unwrap();
    assert_eq!(
        ids(load_confined(&folder.path().join("recipes/whole.yaml"), &[], &Confinement::Repository)),
        ["REC-017"]
    );
    std::os::unix::fs::symlink("/etc/hostname", folder.path().join("recipes/a.lock")).unwrap();
    assert_eq!(ids(check("", &Confinement::Repository)), ["REC-017"]);
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(name|network|packages|boot|probes|users|include)?: ?[-a-z:&*\\[\\]{},#'\"|> \n0-9]{0,120}") {
        let folder = tempfile::tempdir().unwrap();
        let _ = load(&write(folder.path(), "a.yaml", &text), &[]);
    }
}
