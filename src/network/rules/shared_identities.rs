use super::prelude::*;
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
    /// A step of the recipe takes the file away, `run: [[rm, FILE]]`, and a unit makes it in the guest; a database is created by
    /// a unit, too. Or let it through: `allow: [{ rule: NET-I010, reason: … }]`.
    ///
    /// Source: the packages' `postinst`; slapd.conf(5), `pg_controldata`.
    SHARED_IDENTITIES, "NET-I010", "shared-identities", Error, |net, report| {
        let snapshot = &net.inputs.snapshot;
        for identity in IDENTITIES.iter().filter(|identity| identity.name != "ssh-host-keys") {
            for path in snapshot.identities(identity) {
                let place = Place::file(&snapshot.image, &path).evidence("is the same in every clone");
                let finding = match identity.remedy {
                    Remedy::Told => RULE
                        .warning(format!("{path}, the {}, has identifiers that every clone shares and every build makes anew", identity.what))
                        .help("create the data in the guest by a unit, or let it through: `allow: [{ rule: NET-I010, reason: … }]`"),
                    Remedy::Anew { .. } | Remedy::Refused => RULE
                        .finding(format!("every clone shares {path}, the {}", identity.what))
                        .help(format!("`run: [[rm, {path}]]` in the recipe, and a unit that makes it in the guest; or `allow: [{{ rule: NET-I010, reason: … }}]`")),
                };
                report.push(finding.at(place));
            }
        }
    }
}
