//! Services in booted guests: those of one letter in one image, and two guests of each, which must not share an identity.

use super::common::lab::{Dhcp, Lab};
use super::common::{copy_folder, goldsmith, recipes, repository, succeed};
use super::list::Entry;
use super::record::{self, Boot};
use goldsmith::debian::{Lock, Role};
use goldsmith::network::{IDENTITIES, Remedy};
use goldsmith::values::Sha256;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a guest is given until it has said how its services are.
const PATIENCE: Duration = Duration::from_secs(900);
/// What the guest says when it has said all of its services, and all of its identities.
const SERVICES: &str = "packages: that is all";
const IDENTITY: &str = "packages: these are all identities";

/// Boots every image whose services have not been seen active with the same packages, and writes down what was seen.
pub fn boot(suite: &str, entries: &[Entry]) {
    let groups: BTreeSet<&str> =
        entries.iter().filter_map(|entry| Some(entry.service.as_ref()?.group.as_str())).collect();
    for group in groups {
        let services: Vec<(&str, &str)> = entries
            .iter()
            .filter_map(|entry| Some((entry.name.as_str(), entry.service.as_ref()?)))
            .filter(|(_, service)| service.group == group)
            .map(|(name, service)| (name, service.unit.as_str()))
            .collect();
        let name = format!("{suite}-boot-{group}");
        let file = recipe(&name, suite, &services, true);
        let lock = file.with_extension("lock");
        succeed(goldsmith().arg("lock").arg(&file));
        let key = Sha256::of(&std::fs::read(&lock).unwrap()).to_string();
        let good =
            |boot: &Boot| boot.key == key && boot.shared.is_empty() && boot.units.values().all(|said| active(said));
        let boot = record::read::<Boot>(&name).filter(good).unwrap_or_else(|| {
            let image = build(&file, &name);
            let boot = Boot { key: key.clone(), ..look(&image, &services) };
            std::fs::remove_dir_all(image).unwrap();
            boot
        });
        record::write(&name, &boot);
        println!("{name}: {} packages", Lock::read(&lock).unwrap().unwrap().of_role(Role::Rootfs).count());
        boot.units.iter().for_each(|(unit, said)| println!("  {unit}: {}", said.join("\n    ")));
        println!("  identities: {} of each guest's own, shared: {:?}", boot.own.len(), boot.shared);
    }
}

/// Whether a unit's words say that it is well.
pub fn active(said: &[String]) -> bool {
    matches!(said, [state] if state == "active")
}

/// Writes a recipe with these packages, whose guest says on its console how their units are. `renew`: databases are made anew by
/// each guest, which takes an emulated one minutes.
pub fn recipe(name: &str, suite: &str, services: &[(&str, &str)], renew: bool) -> PathBuf {
    let overlay = format!("overlays/{name}");
    let packages: Vec<_> = services.iter().map(|(package, _)| *package).collect();
    let databases = [("postgresql", "postgresql-cluster"), ("mariadb-server", "mariadb-data")];
    let renewed: Vec<_> = databases
        .into_iter()
        .filter(|(package, _)| renew && packages.contains(package))
        .map(|(_, name)| name)
        .collect();
    let text = format!(
        "schema: goldsmith/v1\nname: {name}\ninclude: [base.yaml]\ndistribution: {{ suite: {suite} }}\nimage: {{ size: 6G }}\npackages: [{}]\nrenew: [{}]\noverlays: [../{overlay}]\nunits: {{ enable: [packages.service, identities.service] }}\n",
        packages.join(", "),
        renewed.join(", ")
    );
    let file = recipes().join(format!("recipes/{name}.yaml"));
    std::fs::write(&file, text).unwrap();
    let overlay = recipes().join(overlay);
    copy_folder(&repository().join("tests/packages/overlay"), &overlay);
    let units: String = services.iter().fold(String::new(), |mut text, (_, unit)| {
        let _ = writeln!(text, "{unit}");
        text
    });
    std::fs::write(overlay.join("etc/packages"), units).unwrap();
    let own = IDENTITIES.iter().filter(|identity| match identity.remedy {
        Remedy::Asked { .. } => renew,
        Remedy::Told => false,
        _ => true,
    });
    let files: Vec<_> = own.flat_map(|identity| identity.files).copied().chain(["/etc/machine-id"]).collect();
    std::fs::write(overlay.join("etc/identities"), files.join("\n") + "\n").unwrap();
    let makers: Vec<_> = IDENTITIES.iter().map(|identity| format!("goldsmith-{}.service", identity.name)).collect();
    let unit = format!(
        "[Unit]\nDescription=What this guest has of its own\nAfter={}\n\n[Service]\nType=oneshot\nExecStart=/usr/local/bin/identities\n\n[Install]\nWantedBy=multi-user.target\n",
        makers.join(" ")
    );
    std::fs::write(overlay.join("etc/systemd/system/identities.service"), unit).unwrap();
    file
}

/// Builds an image and returns its folder.
pub fn build(recipe: &Path, name: &str) -> PathBuf {
    let images = recipes().join("images");
    succeed(goldsmith().arg("build").arg(recipe).arg("--output").arg(&images));
    images.join(name)
}

/// Boots two guests of an image: how the services of the first are, and which identities are one guest's own.
pub fn look(image: &Path, services: &[(&str, &str)]) -> Boot {
    let (first, second) = std::thread::scope(|scope| {
        let second = scope.spawn(|| console(image, IDENTITY));
        (console(image, SERVICES), second.join().unwrap())
    });
    let said = |unit: &str| {
        let lines = words(&first, &format!("{unit}: "));
        if lines.is_empty() { vec!["nothing was said of it".to_owned()] } else { lines }
    };
    let units = services.iter().map(|(_, unit)| ((*unit).to_owned(), said(unit))).collect();
    let [first, second] = [&first, &second].map(|console| words(console, "identity: "));
    let (shared, own) = first.into_iter().partition(|identity| second.contains(identity));
    Boot { key: String::new(), units, shared, own }
}

/// What a guest has said of something, line by line.
fn words(console: &str, of: &str) -> Vec<String> {
    let start = format!("packages: {of}");
    let lines = console.lines().filter_map(|line| line.split_once(&start));
    lines.map(|(_, said)| said.trim_end().to_owned()).collect()
}

/// All that a guest has said until it has said its last words, or until patience is over.
fn console(image: &Path, last: &str) -> String {
    let lab = Lab::new(Dhcp::Served);
    let mut command = lab.command(env!("CARGO_BIN_EXE_goldsmith"));
    command.env("GOLDSMITH_STATE", lab.folder().join("state")).env("NO_COLOR", "1");
    command.args([
        "launch",
        "--accel",
        "emulation",
        "--memory",
        "3G",
        "--cpus",
        "2",
        "--quiet",
        "--network",
        "bridge=br0",
    ]);
    command.args(["--timeout", &format!("{}s", PATIENCE.as_secs())]).arg(image);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut running = Running(child);
    let log = || {
        let folder = std::fs::read_dir(lab.folder().join("state/vms")).ok()?.flatten().next()?;
        std::fs::read(folder.path().join("console.log")).ok().map(|text| String::from_utf8_lossy(&text).into_owned())
    };
    let started = Instant::now();
    let mut text = String::new();
    while !text.contains(last) && started.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(500));
        text = log().unwrap_or(text);
        assert!(running.0.try_wait().unwrap().is_none(), "the launch ended: {text}");
    }
    text
}

/// A launch that ends with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg("-TERM").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}
