//! Following symbolic links inside a guest's root, never out of it.

use crate::values::GuestPath;
use std::collections::VecDeque;

/// The most symbolic links followed for one path (Linux `MAXSYMLINKS`).
const MAX_LINKS: usize = 40;
/// The longest path while links are followed, in bytes (Linux `PATH_MAX`).
const MAX_PATH: usize = 4096;

/// What is at a path.
pub(super) enum Look {
    /// Nothing, or a directory: the walk goes on.
    Open,
    /// A symbolic link and its target.
    Symlink(String),
    /// Anything else: the walk ends here.
    Closed,
}

/// Walks `path` from the root as Linux does (`path_resolution(7)`), asking `look` about one canonical path after the
/// other. The canonical path comes out; it need not exist. None: a component that is not the last is no directory, or
/// there are more than 40 links, or a target is no path.
pub(super) fn walk<E>(
    path: &GuestPath,
    follow_last: bool,
    mut look: impl FnMut(&GuestPath) -> Result<Look, E>,
) -> Result<Option<GuestPath>, E> {
    let mut todo: VecDeque<String> = path.components().map(str::to_owned).collect();
    let mut done = GuestPath::root();
    let mut links = 0;
    while let Some(component) = todo.pop_front() {
        match component.as_str() {
            "" | "." => continue,
            ".." => {
                done = done.parent().unwrap_or_else(GuestPath::root);
                continue;
            }
            _ => {}
        }
        let Ok(next) = done.join(&component) else { return Ok(None) };
        let last = todo.is_empty();
        match look(&next)? {
            Look::Symlink(target) if !last || follow_last => {
                links += 1;
                let length = target.len() + todo.iter().map(|rest| rest.len() + 1).sum::<usize>();
                if links > MAX_LINKS || target.is_empty() || length > MAX_PATH {
                    return Ok(None);
                }
                if target.starts_with('/') {
                    done = GuestPath::root();
                }
                for part in target.split('/').rev() {
                    todo.push_front(part.to_owned());
                }
            }
            Look::Closed if !last => return Ok(None),
            _ => done = next,
        }
    }
    Ok(Some(done))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(path: &str) -> Option<String> {
        let look = |path: &GuestPath| {
            Ok::<_, ()>(match path.as_str() {
                "/bin" => Look::Symlink("usr/bin".into()),
                "/abs" => Look::Symlink("/bin/".into()),
                "/out" => Look::Symlink("../../../../etc/./passwd".into()),
                "/loop" => Look::Symlink("loop".into()),
                "/long" => Look::Symlink(format!("{}/x", "y".repeat(300))),
                "/etc/passwd" => Look::Closed,
                _ => Look::Open,
            })
        };
        walk(&path.parse().unwrap(), true, look).unwrap().map(String::from)
    }

    #[test]
    fn links_never_lead_out_of_the_root() {
        assert_eq!(end("/abs/x").as_deref(), Some("/usr/bin/x"));
        assert_eq!(end("/out").as_deref(), Some("/etc/passwd"));
        for path in ["/loop", "/loop/x", "/etc/passwd/x", "/long"] {
            assert_eq!(end(path), None, "{path}");
        }
    }
}
