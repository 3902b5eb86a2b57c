//! The rows' images: a few package sets built by goldsmith, and copies in which single files differ.

use super::cases::{Case, Edit, Kernel};
use super::{common, kernel};
use common::{goldsmith, repository, succeed};
use goldsmith::boot::KernelFacts;
use goldsmith::image::View;
use goldsmith::manifest::Manifest;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Image folders by name, and the kernel that obeys `ip=` where a row wants it.
pub struct Images {
    folder: PathBuf,
    built: BTreeMap<&'static str, Manifest>,
    ip_pnp: Option<PathBuf>,
}

/// Everything a row boots with.
pub struct Booted {
    /// The row's own folder.
    pub folder: PathBuf,
    /// The root filesystem; nothing writes to it.
    pub image: PathBuf,
    /// The kernel.
    pub kernel: PathBuf,
    /// The initrd, where the kernel needs one.
    pub initrd: Option<PathBuf>,
    /// What is known of the kernel.
    pub facts: KernelFacts,
    /// Its release.
    pub release: Option<String>,
    /// Stands for the unedited image and the kernel.
    pub digest: String,
    /// Where observations are kept.
    pub memory: PathBuf,
    /// The arguments of the image's manifest.
    pub args: Vec<String>,
}

impl Booted {
    /// Deletes the row's copy of the image. Logs stay.
    pub fn discard(self) {
        if self.image.starts_with(&self.folder) {
            fs::remove_file(&self.image).unwrap();
        }
    }
}

impl Images {
    /// Builds what the rows need. Images of an earlier run will do.
    pub fn build(cases: &[Case]) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("truth");
        let _ = fs::remove_dir_all(folder.join("rows"));
        let recipes = folder.join("repository");
        let _ = fs::remove_dir_all(&recipes);
        // A copy, whose locks are resolved today: an old version may have left the mirror.
        for part in ["recipes", "overlays", "tests/truth"] {
            fs::create_dir_all(recipes.join(part)).unwrap();
            succeed(Command::new("cp").arg("-a").arg(repository().join(part).join(".")).arg(recipes.join(part)));
        }
        fs::create_dir_all(recipes.join("target/guest")).unwrap();
        let agent = repository().join("target/guest/oauth-agent");
        assert!(agent.exists(), "this needs target/guest/oauth-agent: type `make agent`");
        fs::copy(agent, recipes.join("target/guest/oauth-agent")).unwrap();
        let mut built = BTreeMap::new();
        for case in cases {
            built.entry(case.image).or_insert_with(|| {
                let recipe = recipes.join(format!("tests/truth/{}.yaml", case.image));
                if !folder.join("images").join(case.image).exists() {
                    succeed(goldsmith().arg("build").arg(recipe).arg("--output").arg(folder.join("images")));
                }
                let manifest = folder.join("images").join(case.image).join("manifest.json");
                Manifest::parse(&fs::read(manifest).unwrap()).unwrap()
            });
        }
        let ip_pnp = cases.iter().any(|case| case.kernel == Kernel::IpPnp).then(kernel::ip_pnp);
        Self { folder, built, ip_pnp }
    }

    /// The image of a row: the built one, or a copy with the row's edits.
    pub fn prepare(&self, index: usize, case: &Case) -> Booted {
        let folder = self.folder.join(format!("rows/{:02}", index + 1));
        fs::create_dir_all(&folder).unwrap();
        let built = self.folder.join("images").join(case.image);
        let mut image = built.join("rootfs.ext4");
        if !case.edits.is_empty() {
            let copy = folder.join("rootfs.ext4");
            succeed(Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(&image).arg(&copy));
            edit(&copy, &case.edits, &folder);
            image = copy;
        }
        let manifest = &self.built[case.image];
        let mut args: Vec<String> = manifest.boot.args.iter().map(ToString::to_string).collect();
        args.retain(|arg| case.ifnames_off || !matches!(arg.as_str(), "net.ifnames=0" | "biosdevname=0"));
        let memory = self.folder.join("observed");
        fs::create_dir_all(&memory).unwrap();
        match (case.kernel, &self.ip_pnp) {
            (Kernel::IpPnp, Some(own)) => Booted {
                kernel: own.join("bzImage"),
                initrd: None,
                facts: KernelFacts::from_config(&fs::read_to_string(own.join("config")).unwrap()),
                release: None,
                digest: format!("{} {}", manifest.image.digest, own.display()),
                memory,
                folder,
                image,
                args,
            },
            _ => Booted {
                kernel: built.join("vmlinuz"),
                initrd: Some(built.join("initrd.img")),
                facts: manifest.kernel.facts,
                release: Some(manifest.kernel.release.to_string()),
                digest: format!("{} {}", manifest.image.digest, manifest.kernel.vmlinuz.digest),
                memory,
                folder,
                image,
                args,
            },
        }
    }
}

/// Edits an image in place with `debugfs`, and reads back what it wrote.
fn edit(image: &Path, edits: &[Edit], folder: &Path) {
    let before = View::open_path(image).unwrap();
    let there = |path: &str| before.stat(&path.parse().unwrap()).unwrap().is_some();
    let mut made = BTreeSet::new();
    let mut script = String::new();
    // debugfs damages the filesystem when it makes a directory that exists.
    let mut folders = |path: &str, script: &mut String| {
        let parents: Vec<_> = Path::new(path).ancestors().skip(1).map(|parent| parent.to_str().unwrap()).collect();
        for parent in parents.into_iter().rev().filter(|parent| *parent != "/") {
            if !there(parent) && made.insert(parent.to_owned()) {
                writeln!(script, "mkdir {parent}").unwrap();
            }
        }
    };
    let remove = |path: &str, script: &mut String| {
        if there(path) {
            writeln!(script, "rm {path}").unwrap();
        }
    };
    for (index, edit) in edits.iter().enumerate() {
        let path = edit.path();
        remove(path, &mut script);
        let mode = if matches!(edit, Edit::Netplan(..)) { 0o600 } else { 0o644 };
        match edit {
            Edit::File(_, content) | Edit::Netplan(_, content) => {
                let source = folder.join(format!("edit-{index}"));
                fs::write(&source, content).unwrap();
                folders(path, &mut script);
                writeln!(script, "write {} {path}\nsif {path} mode 0100{mode:o}", source.display()).unwrap();
            }
            Edit::Link(_, target) => {
                folders(path, &mut script);
                writeln!(script, "symlink {path} {target}").unwrap();
            }
            Edit::Remove(_) => {}
        }
    }
    let commands = folder.join("edits");
    fs::write(&commands, script).unwrap();
    succeed(Command::new("debugfs").args(["-w", "-f"]).arg(&commands).arg(image));
    let view = View::open_path(image).unwrap();
    for edit in edits {
        let path = edit.path().parse().unwrap();
        match edit {
            Edit::File(path, content) | Edit::Netplan(path, content) => {
                let read = view.read(&edit.path().parse().unwrap(), 1 << 20).unwrap();
                assert_eq!(read.as_deref(), Some(content.as_bytes()), "{path}");
            }
            Edit::Link(_, target) => assert_eq!(view.read_link(&path).unwrap().as_deref(), Some(*target), "{path}"),
            Edit::Remove(_) => assert!(view.stat(&path).unwrap().is_none(), "{path}"),
        }
    }
    let check = Command::new("e2fsck").args(["-f", "-n"]).arg(image).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
}
