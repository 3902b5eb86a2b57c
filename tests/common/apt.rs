//! apt with a root, sources and state of its own: what it would install.

use super::{need, succeed};
use goldsmith::recipe::Recipe;
use goldsmith::values::Sha256;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

/// An apt that knows a release of Debian and, if so asked, a kernel that is there already.
pub struct Apt {
    folder: tempfile::TempDir,
}

/// Package versions by name.
pub type Versions = BTreeMap<String, String>;

impl Apt {
    /// Of Debian 12, on an empty system.
    pub fn new() -> Self {
        Self::of("bookworm")
    }

    /// Of a release by its code name, on an empty system.
    pub fn of(suite: &str) -> Self {
        need("apt-get", "apt-get install apt");
        let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
        assert!(
            Path::new(keyring).exists(),
            "this test needs {keyring}: type `apt-get install debian-archive-keyring`"
        );
        let apt = Self { folder: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap() };
        for name in [
            "etc/apt/apt.conf.d",
            "etc/apt/preferences.d",
            "var/lib/apt/lists/partial",
            "var/lib/dpkg",
            "var/cache/apt/archives/partial",
        ] {
            fs::create_dir_all(apt.folder.path().join(name)).unwrap();
        }
        let source =
            |at: &str, part: &str| format!("deb [signed-by={keyring}] http://deb.debian.org/{at} {suite}{part} main\n");
        let sources = source("debian", "") + &source("debian", "-updates") + &source("debian-security", "-security");
        fs::write(apt.folder.path().join("etc/apt/sources.list"), sources).unwrap();
        let root = apt.folder.path().display();
        // ForceEssential: apt counts itself as essential; an image without apt is complete.
        let configuration = format!(
            "Dir \"{root}\"; Dir::State::status \"{root}/var/lib/dpkg/status\"; APT::Architecture \"amd64\"; APT::Architectures {{ \"amd64\"; }}; Acquire::Languages \"none\"; APT::Sandbox::User \"root\"; pkgCacheGen::ForceEssential \",\";"
        );
        fs::write(apt.folder.path().join("apt.conf"), configuration).unwrap();
        fs::write(apt.folder.path().join("var/lib/dpkg/status"), "").unwrap();
        succeed(apt.command("apt-get").arg("update"));
        apt
    }

    /// Puts packages on the system that are there for good and need nothing, as a recipe's kernel is.
    pub fn with(self, packages: &[String]) -> Self {
        let mut command = self.command("apt-cache");
        let output = succeed(command.args(["show", "--no-all-versions"]).args(packages)).stdout;
        let mut status = String::new();
        for stanza in String::from_utf8(output).unwrap().split("\n\n").filter(|stanza| !stanza.trim().is_empty()) {
            let kept = ["Package: ", "Version: ", "Architecture: ", "Provides: "];
            status.push_str(
                "Status: hold ok installed\nMaintainer: nobody <nobody@example.org>\nDescription: a kernel\n",
            );
            for line in stanza.lines().filter(|line| kept.iter().any(|name| line.starts_with(name))) {
                status.push_str(&format!("{line}\n"));
            }
            status.push('\n');
        }
        fs::write(self.folder.path().join("var/lib/dpkg/status"), status).unwrap();
        self
    }

    /// With the kernel of a recipe there already, and what that kernel is in a lock.
    pub fn beside_the_kernel_of(self, recipe: &Recipe) -> (Self, Versions) {
        let kernels = self.closure(&[recipe.kernel_package.clone(), "busybox-static".to_owned()]).unwrap();
        let image = kernels.keys().find(|name| name.starts_with("linux-image-") && **name != recipe.kernel_package);
        let present = [recipe.kernel_package.clone(), image.unwrap().clone()];
        (self.with(&present), kernels)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        // Read before anything else, so that no file of this machine's own configuration is.
        command.env("APT_CONFIG", self.folder.path().join("apt.conf")).env("LC_ALL", "C");
        command
    }

    /// What an installation of these and all essential packages would fetch; none when apt refuses.
    pub fn closure(&self, packages: &[String]) -> Option<Versions> {
        let mut command = self.command("apt-get");
        // Faster than --simulate, which works out the order of unpacking as well.
        command.args(["--print-uris", "--quiet=2", "--assume-yes", "--no-install-recommends", "install", "?essential"]);
        let output = command.args(packages).output().unwrap();
        if output.status.code() == Some(100) {
            return None;
        }
        assert!(output.status.success(), "{command:?}: {output:?}");
        let fetched = |line: &str| {
            let mut words = line.strip_prefix("'http")?.split(' ').nth(1)?.split('_');
            let (name, version) = (words.next()?, words.next()?);
            Some((name.to_owned(), version.replace("%3a", ":")))
        };
        let output = String::from_utf8(output.stdout).unwrap();
        Some(output.lines().filter_map(fetched).collect())
    }
}

/// A short name for a closure; `refused` when there is none.
pub fn digest(closure: Option<&Versions>) -> String {
    let Some(closure) = closure else { return "refused".to_owned() };
    let lines: String = closure.iter().map(|(name, version)| format!("{name} {version}\n")).collect();
    Sha256::of(lines.as_bytes()).to_string().chars().take(16).collect()
}

/// How two closures differ; none when they do not.
pub fn difference(ours: Option<&Versions>, theirs: Option<&Versions>) -> Option<String> {
    let (Some(ours), Some(theirs)) = (ours, theirs) else {
        return match (ours, theirs) {
            (None, None) => None,
            (None, _) => Some("only apt installs it".to_owned()),
            _ => Some("apt refuses it".to_owned()),
        };
    };
    let lines = |of: &Versions| of.iter().map(|(name, version)| format!("{name} {version}")).collect::<BTreeSet<_>>();
    let (ours, theirs) = (lines(ours), lines(theirs));
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>();
    (ours != theirs).then(|| format!("only ours {:?}, only apt's {:?}", only(&ours, &theirs), only(&theirs, &ours)))
}
