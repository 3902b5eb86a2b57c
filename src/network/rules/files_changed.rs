use super::prelude::*;

rule! {
    /// The image's network files are not those the manifest records.
    ///
    /// # Why
    /// Somebody changed the image after it was built. When the outcome changed too, `NET-G002` refuses.
    ///
    /// # Fix
    /// Rebuild the image from its recipe.
    FILES_CHANGED, "NET-G001", "files-changed", Warning, |net, report| {
        let Some(contract) = &net.inputs.contract else { return };
        let now = net.inputs.snapshot.participants();
        let paths: std::collections::BTreeSet<_> = now.keys().chain(contract.files.keys()).collect();
        for path in paths {
            let what = match (contract.files.get(path), now.get(path)) {
                (Some(before), Some(after)) if before == after => continue,
                (Some(_), Some(_)) => "was changed",
                (Some(_), None) => "is gone",
                (None, _) => "was added",
            };
            let place = Place::file(&net.inputs.snapshot.image, path.as_str());
            report.push(RULE.finding(format!("{path} {what} after the image was built")).at(place.evidence("differs from the manifest")).help("rebuild the image: `goldsmith build`"));
        }
    }
}
