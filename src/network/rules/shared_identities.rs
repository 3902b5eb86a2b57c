use super::prelude::*;
use crate::network::identities::TAKE_AWAY;
use crate::network::{IDENTITIES, Remedy};

rule! {
    /// The image carries an identity that a package made for one machine.
    ///
    /// # Why it is refused
    /// A key or certificate in the image is in all its clones: whoever has one VM has the key of every other. goldsmith
    /// takes away what the guest can make anew at its first boot (docs/guest.md, "Identities"); this is about what it cannot.
    /// Databases are only warned of: their identifiers are no secrets, but alike in all clones and different in each build, so
    /// that `build --check` finds two builds to differ.
    ///
    /// # Fix
    /// The help of each finding names the line of the recipe. A database is made anew by each guest with `renew`, a password
    /// for one is left out by an answer to debconf; else `run: [[rm, FILE]]` takes the file away, and a unit makes it in the
    /// guest. Or let it through: `allow: [{ rule: NET-I010, reason: … }]`.
    ///
    /// Source: the packages' `postinst`; slapd.conf(5), `pg_controldata`.
    SHARED_IDENTITIES, "NET-I010", "shared-identities", Error, |net, report| {
        let snapshot = &net.inputs.snapshot;
        for identity in IDENTITIES.iter().filter(|identity| identity.name != "ssh-host-keys") {
            for path in snapshot.identities(identity) {
                let place = Place::file(&snapshot.image, &path).evidence("is the same in every clone");
                let allow = "`allow: [{ rule: NET-I010, reason: … }]`";
                let numbers = || {
                    RULE.warning(format!(
                        "every clone shares {path}, the {}, and every build makes it anew: two builds are not the same bytes",
                        identity.what
                    ))
                };
                let secret = || RULE.finding(format!("every clone shares {path}, the {}", identity.what));
                let finding = match identity.remedy {
                    Remedy::Asked { .. } => numbers()
                        .help(format!("`renew: [{}]` in the recipe: each guest makes its own; or {allow}", identity.name)),
                    Remedy::Told => numbers().help(format!("create it in the guest by a unit, or {allow}")),
                    Remedy::Refused(how) => secret().help(format!("{}; or {allow}", filled_in(how, &path))),
                    Remedy::Anew(_) | Remedy::Filled { .. } => {
                        secret().help(format!("{}; or {allow}", filled_in(TAKE_AWAY, &path)))
                    }
                };
                report.push(finding.at(place));
            }
        }
    }
}

/// What to do about a file, in words.
fn filled_in(how: &str, path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    let name = file.rsplit_once('.').map_or(file, |(name, _)| name);
    how.replace("FILE", path).replace("NAME", name)
}
