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

/// What is done to a base tree before the recipe's commands, in this order; by the keys of the recipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// The base tree itself, and the kernel's modules.
    Packages,
    /// `users`.
    Users,
    /// `overlays`.
    Overlays,
    /// `artifacts`.
    Artifacts,
    /// `network` and `hostname`.
    Network,
    /// `units`.
    Units,
    /// `run`.
    Run,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Packages, Self::Users, Self::Overlays, Self::Artifacts, Self::Network, Self::Units, Self::Run];

    /// The recipe's key.
    pub fn key(self) -> &'static str {
        match self {
            Self::Packages => "packages",
            Self::Users => "users",
            Self::Overlays => "overlays",
            Self::Artifacts => "artifacts",
            Self::Network => "network",
            Self::Units => "units",
            Self::Run => "run",
        }
    }

    /// The one before it.
    pub fn before(self) -> Option<Self> {
        Self::ALL.into_iter().take_while(|part| *part < self).last()
    }
}

/// A tree on its way from base to image.
pub(super) struct Customizing<'a> {
    pub tree: Tree,
    recipe: &'a Recipe,
    epoch: i64,
    fonts: Vec<(GuestPath, Node)>,
    overlays: Hasher,
    artifacts: Vec<ArtifactFile>,
    sources: Sources,
}

impl<'a> Customizing<'a> {
    /// A base tree, with the kernel's modules.
    pub fn begin(mut tree: Tree, modules: &Tree, recipe: &'a Recipe, epoch: i64) -> Result<Self, Error> {
        for (path, node) in modules.iter().filter(|(path, _)| path.as_str() != "/") {
            if tree.get(path).is_none() {
                tree.insert(path, node.clone()).map_err(fail("the kernel's modules"))?;
            }
        }
        let (overlays, sources) = (Hasher::default(), Sources::new(recipe.image.size.0));
        Ok(Self { fonts: fonts(&tree), tree, recipe, epoch, overlays, artifacts: Vec::new(), sources })
    }

    /// Applies one part.
    pub fn apply(&mut self, part: Part) -> Result<(), Error> {
        let (recipe, epoch, tree) = (self.recipe, self.epoch, &mut self.tree);
        match part {
            Part::Packages | Part::Run => Ok(()),
            Part::Users => tree::users(tree, &recipe.users, epoch).map_err(fail("`users`")),
            Part::Overlays => recipe.overlays.iter().try_for_each(|folder| {
                let digest = tree::overlay(tree, folder, epoch, &mut self.sources)
                    .map_err(fail(&format!("the overlay {}", folder.display())))?;
                self.overlays.update(&digest.0);
                Ok(())
            }),
            Part::Artifacts => {
                for artifact in &recipe.artifacts {
                    self.artifacts.push(ship(tree, artifact, epoch, &mut self.sources)?);
                }
                if self.fonts != fonts(tree) {
                    // Made for other fonts (`install`): the guest makes its own.
                    let cache = FONT_CACHE.parse().map_err(tree::Error::from);
                    tree.remove(&cache.map_err(fail("the font cache"))?);
                }
                Ok(())
            }
            Part::Network => identity(tree, recipe, epoch).map_err(fail("`network` and `hostname`")),
            Part::Units => tree::units(tree, &recipe.units, epoch).map_err(fail("`units`")),
        }
    }
}

fn fail(what: &str) -> impl FnOnce(tree::Error) -> Error {
    let what = what.to_owned();
    move |cause| Error::Tree { what, cause }
}

/// Turns a base tree into the recipe's image.
pub(super) fn customize(
    tree: Tree,
    modules: &Tree,
    recipe: &Recipe,
    epoch: i64,
    limits: Limits,
    store: &Store,
    observer: &dyn Observer,
) -> Result<Customized, Error> {
    let mut work = Customizing::begin(tree, modules, recipe, epoch)?;
    Part::ALL.into_iter().try_for_each(|part| work.apply(part))?;
    let Customizing { tree, overlays, artifacts, sources, .. } = work;
    let overlays = overlays.finish();
    // What is not in memory is not in the tree's own digest either.
    let shipped: Vec<_> = std::iter::once(overlays).chain(artifacts.iter().map(|file| file.sha256)).collect();
    let mut tree = install::run(tree, &recipe.run, &shipped, epoch, limits, store, observer)?;
    tree::hygiene(&mut tree, &recipe.renew, epoch).map_err(fail("hygiene"))?;
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
