//! What packages ask apt to run when it installs: a build has no apt, so that it does not run.

use super::{Owners, Tree};
use crate::values::GuestPath;
use std::io;

/// What apt runs around dpkg. Source: apt.conf(5), "HOW APT CALLS DPKG".
const HOOKS: [&str; 3] = ["pre-invoke", "post-invoke", "pre-install-pkgs"];

/// The hooks that need not run: debconf's, whose questions a build answers by itself.
const NEEDLESS: &str = "dpkg-preconfigure";

/// The files of hooks in a tree that did not run, each with the package that ships it.
pub fn hooks_of_apt(tree: &Tree) -> io::Result<Vec<String>> {
    let Ok(folder) = "/etc/apt/apt.conf.d".parse::<GuestPath>() else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for path in tree.children(&folder).iter().filter_map(|name| folder.join(name).ok()) {
        if hooks(&String::from_utf8_lossy(&tree.read(&path)?.unwrap_or_default())) {
            found.push(path);
        }
    }
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let names = |folder: &GuestPath| Ok::<_, io::Error>(tree.children(folder).into_iter().map(str::to_owned).collect());
    let owners = Owners::read(names, |path| tree.read(path))?;
    let shown = |path: &GuestPath| match owners.of(path).first() {
        Some(package) => format!("{path} ({package})"),
        None => path.to_string(),
    };
    Ok(found.iter().map(shown).collect())
}

/// Whether a file of apt's configuration has a hook for installations. Those for `apt-get update` have no occasion in a build.
fn hooks(text: &str) -> bool {
    let comment = |line: &str| line.starts_with("//") || line.starts_with('#');
    text.lines().map(|line| line.trim().to_ascii_lowercase()).any(|line| {
        let hook = HOOKS.iter().any(|hook| line.contains(hook));
        hook && !comment(&line) && !line.contains("apt::update::") && !line.contains(NEEDLESS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hooks_for_installations_are_named_with_their_packages() {
        let mut tree = Tree::new(0);
        for (name, text) in [
            (
                "05etckeeper",
                "DPkg::Pre-Invoke       { \"if [ -x /usr/bin/etckeeper ]; then etckeeper pre-install; fi\"; };\n",
            ),
            ("20apt-show-versions", "APT::Update::Post-Invoke {\"test -x x || true\"};\n"),
            ("70debconf", "DPkg::Pre-Install-Pkgs {\"/usr/sbin/dpkg-preconfigure --apt || true\";};\n"),
            ("99needrestart", "DPkg::Post-Invoke {\"test -x /usr/lib/needrestart/apt-pinvoke\"; };\n"),
            ("off", "// DPkg::Post-Invoke {\"x\"; };\n"),
        ] {
            tree.insert_file(&format!("/etc/apt/apt.conf.d/{name}"), 0o644, 0, text).unwrap();
        }
        tree.insert_file("/var/lib/dpkg/info/etckeeper.list", 0o644, 0, "/etc/apt/apt.conf.d/05etckeeper\n").unwrap();
        let expected = ["/etc/apt/apt.conf.d/05etckeeper (etckeeper)", "/etc/apt/apt.conf.d/99needrestart"];
        assert_eq!(hooks_of_apt(&tree).unwrap(), expected);
    }
}
