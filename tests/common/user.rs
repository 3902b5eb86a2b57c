//! An ordinary user of this machine's, with subordinate ids, for the length of a test.

use super::{cache, need, recipes, succeed};
use goldsmith::debian::Lock;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The user; deleted with the value.
pub struct User {
    /// Login name.
    pub name: String,
    home: tempfile::TempDir,
}

impl User {
    /// Makes one who has nothing.
    pub fn new() -> Self {
        for (program, package) in [("useradd", "passwd"), ("runuser", "util-linux"), ("newuidmap", "uidmap")] {
            need(program, &format!("apt-get install {package}"));
        }
        let name = format!("goldsmith{}", std::process::id());
        let home = tempfile::tempdir().unwrap();
        succeed(
            Command::new("useradd")
                .args(["--no-create-home", "--shell", "/bin/sh", "--home-dir"])
                .arg(home.path())
                .arg(&name),
        );
        let user = Self { name, home };
        // Far from the ranges that useradd gives out by itself.
        let range = "1900000000-1900065535";
        succeed(Command::new("usermod").args(["--add-subuids", range, "--add-subgids", range, &user.name]));
        succeed(Command::new("chown").arg(&user.name).arg(user.home()));
        user
    }

    /// Where they live.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Gives them the binary under test, the shipped recipes and the downloads of a lock: copies that they may read, wherever
    /// the repository and the shared cache are.
    pub fn furnish(&self, lock: &Lock) {
        let home = self.home();
        fs::create_dir_all(home.join("cache/v1/files")).unwrap();
        for digest in lock.packages.iter().map(|package| package.sha256.to_string()) {
            let folder = format!("cache/v1/files/{}", &digest[..2]);
            fs::create_dir_all(home.join(&folder)).unwrap();
            self.copy(&cache().join("v1/files").join(&digest[..2]).join(&digest), &format!("{folder}/{digest}"));
        }
        self.copy(Path::new(env!("CARGO_BIN_EXE_goldsmith")), "goldsmith");
        for name in ["recipes", "overlays", "target"] {
            self.copy(&recipes().join(name), name);
        }
        self.own();
    }

    /// Copies something into their home. Links are kept: an overlay masks files by links to /dev/null.
    pub fn copy(&self, from: &Path, to: &str) {
        succeed(Command::new("cp").args(["--archive", "--reflink=auto"]).arg(from).arg(self.home().join(to)));
    }

    /// Everything in their home becomes theirs.
    pub fn own(&self) {
        succeed(Command::new("chown").args(["--recursive", "--no-dereference", &self.name]).arg(self.home()));
    }

    /// Their goldsmith, in their home.
    pub fn goldsmith(&self, arguments: &[&str]) -> Command {
        let home = self.home();
        let mut command = Command::new("runuser");
        command.args(["--user", &self.name, "--"]).arg(home.join("goldsmith")).args(arguments);
        command.current_dir(home).env("GOLDSMITH_CACHE", home.join("cache")).env("HOME", home).env("NO_COLOR", "1");
        command
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = Command::new("userdel").args(["--force", &self.name]).output();
    }
}
