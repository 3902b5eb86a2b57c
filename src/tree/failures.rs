//! The last words of a service that has failed for good, on the guest's console: whoever waits for the guest reads them there.
//!
//! Source: systemd.unit(5), `OnFailure=` (entered when a service is not started again) and type-level drop-ins (`service.d`);
//! a drop-in of the same name in a unit's own folder takes its place.

use super::{Error, Tree};

const UNITS: &str = "/usr/lib/systemd/system";
const DROP_IN: &str = "[Unit]\nOnFailure=goldsmith-failed@%N.service\n";
const UNIT: &str = "[Unit]\nDescription=Last words of %i.service on the console\nDefaultDependencies=no\n\n[Service]\nType=oneshot\nExecStart=/usr/lib/goldsmith/failed %i.service\n";
/// The first line is what `launch` looks for.
const SCRIPT: &str = r#"#!/bin/sh
# What a service said before it failed for good, for whoever reads the console. Written by goldsmith.
exec >/dev/console 2>&1
echo "goldsmith: failed: $1"
journalctl --boot --unit="$1" --lines=15 --output=cat --no-pager --quiet | sed 's/^/  | /'
"#;

/// Adds them to an image with systemd, unless the recipe has files of its own there.
pub fn failures(tree: &mut Tree, epoch: i64) -> Result<(), Error> {
    if tree.resolve(&"/usr/bin/journalctl".parse()?).is_none() {
        return Ok(());
    }
    for (path, mode, text) in [
        ("/usr/lib/goldsmith/failed".to_owned(), 0o755, SCRIPT),
        (format!("{UNITS}/goldsmith-failed@.service"), 0o644, UNIT),
        (format!("{UNITS}/service.d/50-goldsmith.conf"), 0o644, DROP_IN),
        // Its own failure is nobody's concern.
        (format!("{UNITS}/goldsmith-failed@.service.d/50-goldsmith.conf"), 0o644, ""),
    ] {
        if tree.resolve(&path.parse()?).is_none() {
            tree.insert_file(&path, mode, epoch, text)?;
        }
    }
    Ok(())
}
