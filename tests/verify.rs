//! `goldsmith verify` and `inspect net` on an image that another tool made, as people and programs call them.

mod common;

use common::{goldsmith, need, repository, succeed};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

const FOUNDING: &str = "ip=192.168.100.12::192.168.100.1:255.255.255.0::eth0:on";

/// An ext4 image with a lease on eth0, made by mke2fs; it has no manifest.
fn image() -> PathBuf {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        need("mke2fs", "apt-get install e2fsprogs");
        let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("verify-{}", std::process::id()));
        let tree = home.join("tree");
        for (path, text) in [
            ("etc/machine-id", ""),
            (
                "etc/netplan/01.yaml",
                "network:\n  version: 2\n  ethernets:\n    eth0:\n      dhcp4: true\n      dhcp-identifier: mac\n",
            ),
            ("usr/lib/systemd/system-generators/netplan", "x"),
            ("usr/lib/systemd/system/systemd-networkd.service", "[Service]\n"),
        ] {
            std::fs::create_dir_all(tree.join(path).parent().unwrap()).unwrap();
            std::fs::write(tree.join(path), text).unwrap();
        }
        std::fs::set_permissions(tree.join("etc/netplan/01.yaml"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .unwrap();
        let image = home.join("foreign.ext4");
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        succeed(
            Command::new("mke2fs")
                .env("PATH", path)
                .args(["-q", "-F", "-t", "ext4", "-d"])
                .arg(&tree)
                .arg(&image)
                .arg("16M"),
        );
        image
    };
    IMAGE.get_or_init(make).clone()
}

fn verify(args: &[&str]) -> Output {
    goldsmith().env_remove("NO_COLOR").arg("verify").arg(image()).args(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn the_exit_status_tells_fine_from_refused_from_misused() {
    for (args, status) in [
        (vec!["--args", "net.ifnames=0"], 0),
        (vec!["--args", FOUNDING], 3),
        (vec!["--args", FOUNDING, "--allow", "NET-K002=lab"], 0),
        (vec!["--host", "bridge=192.168.100.1/24,dhcp=none"], 3),
        (vec!["--host", "bridge=192.168.100.1/24,dhcp=192.168.100.10-192.168.100.200"], 0),
        (
            vec![
                "--mac",
                "52:54:00:12:34:56",
                "--host",
                "reserve=52:54:00:12:34:56@192.168.100.12",
                "--expect",
                "192.168.100.12",
            ],
            0,
        ),
        (vec!["--expect", "192.168.100.12"], 3),
        (vec!["--transport", "pci"], 0),
        (vec!["--initrd", "dracut", "--args", "ip=both"], 3),
        (vec!["--host", "bridge=here"], 2),
        (vec!["--allow", "NET-K002"], 2),
        (vec!["--kernel", "/dev/null"], 1),
    ] {
        let output = verify(&args);
        assert_eq!(
            output.status.code(),
            Some(status),
            "{args:?}\n{}{}",
            stdout(&output),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

#[test]
fn colours_stay_off_where_nobody_sees_them() {
    let output = verify(&["--args", FOUNDING]);
    assert!(!output.stdout.contains(&0x1b), "{}", stdout(&output));
    assert!(stdout(&output).contains("error[NET-K002]: eth0 is 192.168.100.12 by `ip=` but the guest runs DHCP"));
}

#[test]
fn sarif_keeps_to_the_official_schema() {
    let schema = std::fs::read_to_string(repository().join("tests/data/sarif-2.1.0.schema.json")).unwrap();
    // One pattern has a lone `]`, which ECMAScript takes and Rust's regular expressions do not.
    let schema = schema.replace("{2}]?$", "{2}\\\\]?$");
    let schema = jsonschema::validator_for(&serde_json::from_str(&schema).unwrap()).unwrap();
    for args in
        [&["--args", FOUNDING][..], &["--args", FOUNDING, "--allow", "NET-K002=lab"], &["--host", "dhcp=none"], &[]]
    {
        let output = verify(&[args, &["--format", "sarif"]].concat());
        let log: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
        let wrong: Vec<_> =
            schema.iter_errors(&log).map(|error| format!("{}: {error}", error.instance_path())).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}

#[test]
fn the_forms_for_programs_agree() {
    let json: serde_json::Value =
        serde_json::from_str(&stdout(&verify(&["--args", FOUNDING, "--format", "json"]))).unwrap();
    assert_eq!((&json["schema"], &json["errors"]), (&"goldsmith.findings/v1".into(), &1.into()));
    assert_eq!(json["findings"][0]["rule"], "NET-K002");
    let github = stdout(&verify(&["--args", FOUNDING, "--format", "github"]));
    assert!(github.lines().next().is_some_and(|line| line.starts_with("::error title=NET-K002::")), "{github}");
}

#[test]
fn inspect_net_gives_the_answer_first() {
    let output = succeed(goldsmith().args(["inspect", "net"]).arg(image()).args(["--args", FOUNDING]));
    let text = stdout(&output);
    assert!(text.starts_with("eth0: not reachable where it is expected: eth0 is 192.168.100.12"), "{text}");
    for part in ["wins eth0", "what the host must provide", "error[NET-K002]"] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn check_says_what_each_recipe_compiles_to() {
    let recipes = repository().join("recipes");
    let output =
        goldsmith().arg("check").arg(recipes.join("minimal.yaml")).arg(recipes.join("static.yaml")).output().unwrap();
    let text = stdout(&output);
    assert!(text.contains("network: eth0 takes a lease (netplan, systemd-networkd)"), "{text}");
    assert!(text.contains("network: eth0 is 192.168.100.12/24 by 192.168.100.1 DNS 192.168.100.1"), "{text}");
}
