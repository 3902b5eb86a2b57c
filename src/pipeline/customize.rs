//! The recipe's own part of an image: kernel modules, users, overlays, artifacts, network, units, commands, hygiene.

use super::Error;
use crate::install;
use crate::manifest::ArtifactFile;
use crate::network::{NetworkMode, NetworkSpec, netplan};
use crate::progress::Observer;
use crate::recipe::{Artifact, Recipe};
use crate::sandbox::Limits;
use crate::store::Store;
use crate::tree::{self, Content, Node, NodeKind, Sources, Tree};
use crate::values::{GuestPath, Hasher, Sha256};

/// Where the guest's network is declared.
const NETPLAN: &str = "/etc/netplan/01-netcfg.yaml";

/// fontconfig's cache of the system's fonts.
const FONT_CACHE: &str = "/var/cache/fontconfig";

/// What customising leaves for the manifest.
pub(super) struct Customized {
    pub tree: Tree,
    pub overlays: Sha256,
    pub artifacts: Vec<ArtifactFile>,
    pub sources: Sources,
}

/// Turns a base tree into the recipe's image.
pub(super) fn customize(
    mut tree: Tree,
    modules: &Tree,
    recipe: &Recipe,
    epoch: i64,
    limits: Limits,
    store: &Store,
    observer: &dyn Observer,
) -> Result<Customized, Error> {
    let fail = |what: &str| {
        let what = what.to_owned();
        move |cause: tree::Error| Error::Tree { what, cause }
    };
    for (path, node) in modules.iter().filter(|(path, _)| path.as_str() != "/") {
        if tree.get(path).is_none() {
            tree.insert(path, node.clone()).map_err(fail("the kernel's modules"))?;
        }
    }
    tree::users(&mut tree, &recipe.users, epoch).map_err(fail("`users`"))?;
    let fonts = fonts(&tree);
    let mut overlays = Hasher::default();
    let mut sources = Sources::new(recipe.image.size.0);
    for folder in &recipe.overlays {
        let digest = tree::overlay(&mut tree, folder, epoch, &mut sources)
            .map_err(fail(&format!("the overlay {}", folder.display())))?;
        overlays.update(&digest.0);
    }
    let mut artifacts = Vec::new();
    for artifact in &recipe.artifacts {
        artifacts.push(ship(&mut tree, artifact, epoch, &mut sources)?);
    }
    if fonts != self::fonts(&tree) {
        // Made for other fonts (`install`): the guest makes its own.
        tree.remove(&FONT_CACHE.parse().map_err(tree::Error::from).map_err(fail("the font cache"))?);
    }
    identity(&mut tree, recipe, epoch).map_err(fail("`network` and `hostname`"))?;
    tree::units(&mut tree, &recipe.units, epoch).map_err(fail("`units`"))?;
    let overlays = overlays.finish();
    // What is not in memory is not in the tree's own digest either.
    let shipped: Vec<_> = std::iter::once(overlays).chain(artifacts.iter().map(|file| file.sha256)).collect();
    let mut tree = install::run(tree, &recipe.run, &shipped, epoch, limits, store, observer)?;
    tree::hygiene(&mut tree, epoch).map_err(fail("hygiene"))?;
    tree::failures(&mut tree, epoch).map_err(fail("what a failed service says"))?;
    Ok(Customized { tree, overlays, artifacts, sources })
}

/// The fonts in a tree.
fn fonts(tree: &Tree) -> Vec<(GuestPath, Node)> {
    let folders = ["/usr/share/fonts", "/usr/local/share/fonts"].into_iter().filter_map(|folder| folder.parse().ok());
    folders
        .flat_map(|folder: GuestPath| {
            tree.below(&folder).map(|(path, node)| (path.clone(), node.clone())).collect::<Vec<_>>()
        })
        .collect()
}

/// The network, the host name, and nothing of the build machine's.
fn identity(tree: &mut Tree, recipe: &Recipe, epoch: i64) -> Result<(), tree::Error> {
    tree.insert_file(NETPLAN, 0o600, epoch, netplan::render(&recipe.network).as_str())?;
    let name = recipe.hostname.as_deref().unwrap_or_default();
    let line = if name.is_empty() { String::new() } else { format!("{name}\n") };
    tree.insert_file("/etc/hostname", 0o644, epoch, line.as_str())?;
    let hosts =
        format!("127.0.0.1 localhost {name}").trim_end().to_owned() + "\n::1 localhost ip6-localhost ip6-loopback\n";
    tree.insert_file("/etc/hosts", 0o644, epoch, hosts.as_str())?;
    resolver(tree, &recipe.network, epoch)
}

/// `/etc/resolv.conf`: a link to systemd-resolved's stub where that is installed, else a real file.
fn resolver(tree: &mut Tree, network: &NetworkSpec, epoch: i64) -> Result<(), tree::Error> {
    const PATH: &str = "/etc/resolv.conf";
    tree.remove(&PATH.parse()?);
    if tree.resolve(&"/usr/lib/systemd/systemd-resolved".parse()?).is_some() {
        return tree.insert_link(PATH, "../run/systemd/resolve/stub-resolv.conf", epoch);
    }
    let servers = match &network.mode {
        NetworkMode::Static { dns, .. } => dns.as_slice(),
        NetworkMode::Dhcp => &[],
    };
    let text: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    tree.insert_file(PATH, 0o644, epoch, text.as_str())
}

/// Whether everything of this machine that the recipe ships is there and can be shipped. Asked before anything is fetched.
pub(super) fn inputs(recipe: &Recipe) -> Result<(), Error> {
    let mut sources = Sources::new(recipe.image.size.0);
    for folder in &recipe.overlays {
        let what = || format!("the overlay {}", folder.display());
        tree::overlay(&mut Tree::new(0), folder, 0, &mut sources)
            .map_err(|cause| Error::Tree { what: what(), cause })?;
    }
    recipe.artifacts.iter().try_for_each(|artifact| contents(artifact, &mut sources).map(|_| ()))
}

/// An artifact's bytes, and their digest.
fn contents(artifact: &Artifact, sources: &mut Sources) -> Result<(Content, Sha256), Error> {
    let mut digest = Hasher::default();
    let content = sources.content(&artifact.source, "an artifact for this image", |bytes| digest.update(bytes));
    let content = content.map_err(|cause| match cause {
        tree::Error::Door(error) if error.is_absent() => {
            Error::Artifact { path: artifact.source.clone(), hint: artifact.hint.clone() }
        }
        cause => Error::Tree { what: format!("the artifact {}", artifact.path), cause },
    })?;
    Ok((content, digest.finish()))
}

fn ship(tree: &mut Tree, artifact: &Artifact, epoch: i64, sources: &mut Sources) -> Result<ArtifactFile, Error> {
    let (content, sha256) = contents(artifact, sources)?;
    let fail = |cause| Error::Tree { what: format!("the artifact {}", artifact.path), cause };
    let (uid, gid) = tree::owner(tree, &artifact.owner, &artifact.group).map_err(fail)?;
    let mut node = Node::new(NodeKind::File(content), artifact.mode, epoch);
    (node.meta.uid, node.meta.gid) = (uid, gid);
    let path = tree.insert(&artifact.path, node).map_err(fail)?;
    Ok(ArtifactFile {
        path,
        sha256,
        mode: super::typed(&format!("{:04o}", artifact.mode))?,
        owner: super::typed(&format!("{}:{}", artifact.owner, artifact.group))?,
    })
}
