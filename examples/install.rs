//! Installs the packages of a lock, each time from the packages anew, into layers of the cache CACHE, and prints how the
//! second tree differs from the first, path by path, as images would: `install LOCK CACHE`.

use goldsmith::debian::{self, Lock};
use goldsmith::image::{Inventory, diff, of_tree};
use goldsmith::progress::Silent;
use goldsmith::sandbox::{self, Limits};
use goldsmith::store::Store;
use goldsmith::tree::Tree;
use goldsmith::{install, tree};
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    sandbox::init();
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for cause in std::iter::successors(Some(&*error), |error| (*error).source()) {
                eprintln!("{cause}");
            }
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [lock, cache] = arguments else { return Err("usage: install LOCK CACHE".into()) };
    let lock = Lock::read(Path::new(lock))?.ok_or("there is no such lock")?;
    let store = Store::at(Path::new(cache))?;
    let packages = debian::fetch(&lock, &store, true, &Silent)?;
    let make = |store: &Store| install::base(&lock, &packages, &[], Limits::default(), store, &Silent);
    let clean = |mut tree: Tree| -> Result<Inventory, Box<dyn Error>> {
        let renew = tree::renewable(&tree)?;
        tree::hygiene(&mut tree, &renew, lock.epoch)?;
        Ok(of_tree(&tree)?)
    };
    let first = clean(make(&store)?)?;
    let differences = store.without_layers(|store| {
        let second = clean(make(store)?).map_err(|error| Failed(error.to_string()))?;
        Ok::<_, Failed>(diff(&first, &second))
    })?;
    differences.iter().for_each(|difference| println!("{difference}"));
    Ok(())
}

/// Why the second tree could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Failed(String);

impl From<install::Error> for Failed {
    fn from(error: install::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<goldsmith::store::Error> for Failed {
    fn from(error: goldsmith::store::Error) -> Self {
        Self(error.to_string())
    }
}
