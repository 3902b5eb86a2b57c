//! Relations between packages: `libc6 (>= 2.36), python3:any, awk | mawk`. Source: Debian Policy 7.1, deb-control(5).

use super::version;
use std::cmp::Ordering;
use std::fmt;

/// One alternative: a package name with an optional version condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relation<'a> {
    /// The name, without architecture qualifier.
    pub name: &'a str,
    /// The architecture qualifier: `any`, `native`, `x32`.
    pub architecture: Option<&'a str>,
    /// Operator and version.
    pub version: Option<(&'a str, &'a str)>,
}

impl<'a> Relation<'a> {
    /// The groups of a field, each a list of alternatives in order. Alternatives for other architectures are left out.
    pub fn groups(field: &'a str) -> Vec<Vec<Self>> {
        let group = |text: &'a str| text.split('|').filter_map(Self::parse).collect::<Vec<_>>();
        field.split(',').map(group).filter(|group| !group.is_empty()).collect()
    }

    fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let (text, architectures) =
            text.split_once('[').map_or((text, None), |(text, rest)| (text, rest.split(']').next()));
        if let Some(architectures) = architectures {
            let mut names = architectures.split_whitespace();
            let negated = architectures.trim_start().starts_with('!');
            let listed =
                names.any(|name| matches!(name.trim_start_matches('!'), "amd64" | "any" | "linux-any" | "any-amd64"));
            if listed == negated {
                return None;
            }
        }
        let (name, version) = match text.split_once('(') {
            Some((name, condition)) => (name, condition.split_once(')').map(|(condition, _)| condition.trim())),
            None => (text, None),
        };
        let name = name.split('<').next()?.trim();
        let (name, architecture) =
            name.split_once(':').map_or((name, None), |(name, architecture)| (name, Some(architecture)));
        let version = version.map(|condition| {
            let end = condition.find(|c: char| !"<>=".contains(c)).unwrap_or(condition.len());
            let (operator, version) = condition.split_at(end);
            (operator, version.trim())
        });
        (!name.is_empty()).then_some(Self { name, architecture, version })
    }

    /// Whether something offered at this version, or at none, meets the condition.
    pub fn met_at(&self, version: Option<&str>) -> bool {
        self.version.is_none() || version.is_some_and(|version| self.accepts(version))
    }

    /// Whether a version meets the condition.
    pub fn accepts(&self, candidate: &str) -> bool {
        let Some((operator, wanted)) = self.version else { return true };
        let order = version::compare(candidate, wanted);
        match operator {
            "<<" => order == Ordering::Less,
            "<=" | "<" => order != Ordering::Greater,
            "=" => order == Ordering::Equal,
            ">=" | ">" => order != Ordering::Less,
            ">>" => order == Ordering::Greater,
            _ => false,
        }
    }
}

impl fmt::Display for Relation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if let Some(architecture) = self.architecture {
            write!(f, ":{architecture}")?;
        }
        self.version.map_or(Ok(()), |(operator, version)| write!(f, " ({operator} {version})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_read_as_policy_writes_them() {
        let groups = Relation::groups("libc6 (>= 2.36), awk:any | mawk (<< 2), x [arm64], y [!arm64] <!nocheck>");
        let shown: Vec<Vec<_>> = groups.iter().map(|group| group.iter().map(ToString::to_string).collect()).collect();
        assert_eq!(shown, [vec!["libc6 (>= 2.36)"], vec!["awk:any", "mawk (<< 2)"], vec!["y"]]);
        assert!(groups[0][0].accepts("2.36-9+deb12u14") && !groups[0][0].accepts("2.31"));
    }
}
