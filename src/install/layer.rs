//! Layers in the store: a `root` folder and an index of it, so that a cached layer is not walked again.

use super::local::Local;
use super::root::Root;
use super::unpack::{Ledger, unpack};
use super::{Error, Package, discard};
use crate::debian::FetchedPackage;
use crate::progress::{Event, Observer};
use crate::sandbox::Ids;
use crate::store::Store;
use crate::tree::{self, Content, Node, NodeKind, Tree};
use crate::values::{Hasher, Sha256};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const INDEX: &str = "index.json";

/// Captures `folder/root`, whose files belong to `ids`, and writes its index. Contents are named relative to `folder`, which is yet to be renamed.
pub(super) fn save(folder: &Path, epoch: i64, ids: Ids) -> Result<(), Error> {
    let mut tree = tree::capture_as(&folder.join("root"), epoch, &|id| ids.inside(id))?;
    relocate(&mut tree, |path| path.strip_prefix(folder).unwrap_or(path).to_owned());
    let path = folder.join(INDEX);
    let io = |cause| Error::Io { what: "write", path: path.clone(), cause };
    let text = serde_json::to_vec(&tree).map_err(|error| io(error.into()))?;
    fs::write(&path, text).map_err(io)
}

/// The tree of a layer.
pub(super) fn load(folder: &Path) -> Result<Tree, Error> {
    let path = folder.join(INDEX);
    let io = |cause| Error::Io { what: "read", path: path.clone(), cause };
    let text = fs::read(&path).map_err(io)?;
    let mut tree: Tree = serde_json::from_slice(&text).map_err(|error| io(error.into()))?;
    relocate(&mut tree, |path| folder.join(path));
    for (_, node) in tree.iter() {
        if let NodeKind::File(Content::Host { file, len, .. }) = &node.kind {
            let whole = fs::symlink_metadata(file).is_ok_and(|found| found.is_file() && found.len() == *len);
            if !whole {
                let cause = io::Error::new(io::ErrorKind::InvalidData, "it is not what its layer's index says");
                return Err(Error::Io { what: "use", path: file.to_path_buf(), cause });
            }
        }
    }
    Ok(tree)
}

/// The tree of a cached layer, which is made when it is missing, and anew when it is damaged.
pub(super) fn cached(
    store: &Store,
    kind: &str,
    key: &Sha256,
    observer: &dyn Observer,
    make: impl Fn(&Path) -> Result<(), Error>,
) -> Result<Tree, Error> {
    let folder = store.make_layer(kind, key, discard, &make)?;
    let damage = match load(&folder) {
        Ok(tree) => return Ok(tree),
        Err(damage) => damage,
    };
    observer.event(Event::Note(format!("the layer {kind} is damaged in the cache, and made anew: {damage}")));
    store.drop_layer(kind, key, discard)?;
    load(&store.make_layer(kind, key, discard, &make)?)
}

fn relocate(tree: &mut Tree, place: impl Fn(&Path) -> PathBuf) {
    let change = |node: &mut Node| {
        if let NodeKind::File(Content::Host { file, .. }) = &mut node.kind {
            *file = Arc::from(place(file));
        }
    };
    tree.nodes_mut().for_each(change);
}

/// The bare payload of packages that dpkg never sees (the kernel's), cached; no script is run.
pub fn unpacked(
    packages: &[&FetchedPackage],
    epoch: i64,
    store: &Store,
    observer: &dyn Observer,
) -> Result<Tree, Error> {
    let mut hasher = Hasher::default();
    hasher.update(format!("unpacked 1\n{epoch}\n").as_bytes());
    packages.iter().for_each(|fetched| hasher.update(&fetched.package.sha256.0));
    let key: Sha256 = hasher.finish();
    cached(store, "unpacked", &key, observer, |work| {
        let root = work.join("root");
        fs::create_dir(&root).map_err(|cause| Error::Io { what: "create", path: root.clone(), cause })?;
        let packages = packages.iter().map(|fetched| Package::open(fetched)).collect::<Result<Vec<_>, Error>>()?;
        let packages: Vec<_> = packages.iter().collect();
        unpack(&packages, &Root::open(&root, Ids::OWN)?, &Local::default(), &Ledger::default(), true, &|_| {})?;
        save(work, epoch, Ids::OWN)
    })
}
