//! Users and groups: lines of `/etc/passwd`, `group`, `shadow`, `gshadow`, as useradd(8) would write them.

use super::{Error, NodeKind, Tree};
use crate::recipe::User;
use crate::values::{GuestPath, did_you_mean};

const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";
const SHADOW: &str = "/etc/shadow";
const GSHADOW: &str = "/etc/gshadow";

/// Creates users with their groups and homes; passwords are locked. `epoch` dates them.
pub fn apply(tree: &mut Tree, users: &[User], epoch: i64) -> Result<(), Error> {
    for user in users {
        let mut passwd = read(tree, PASSWD)?;
        let mut group = read(tree, GROUP)?;
        let mut shadow = read(tree, SHADOW)?;
        let mut gshadow = read(tree, GSHADOW)?;
        let id = pick_id(user, &passwd, &group)?;
        passwd += &format!("{}:x:{id}:{id}:{}:{}:{}\n", user.name, user.comment, user.home, user.shell);
        group += &format!("{}:x:{id}:\n", user.name);
        let aging = if user.system { ":::::" } else { "0:99999:7:::" };
        shadow += &format!("{}:!:{}:{aging}\n", user.name, epoch / 86_400);
        gshadow += &format!("{}:!::\n", user.name);
        for name in &user.groups {
            group = join(&group, name, &user.name)?;
            gshadow = join(&gshadow, name, &user.name)?;
        }
        for (path, text) in [(PASSWD, passwd), (GROUP, group), (SHADOW, shadow), (GSHADOW, gshadow)] {
            write(tree, path, &text, epoch)?;
        }
        if !user.system {
            home(tree, user, id, epoch)?;
        }
    }
    Ok(())
}

/// The numeric ids of a user and a group by name.
pub fn owner(tree: &Tree, user: &str, group: &str) -> Result<(u32, u32), Error> {
    let id = |file: &str, what: &'static str, name: &str| {
        let text = read(tree, file)?;
        let found = entries(&text).find(|(entry, _)| *entry == name).map(|(_, id)| id);
        found.ok_or_else(|| missing(what, name, &text))
    };
    Ok((id(PASSWD, "user", user)?, id(GROUP, "group", group)?))
}

/// Names and third fields of the lines of passwd(5) or group(5).
fn entries(text: &str) -> impl Iterator<Item = (&str, u32)> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?.parse().ok()?))
    })
}

fn pick_id(user: &User, passwd: &str, group: &str) -> Result<u32, Error> {
    let fail = |problem: String| Error::User { name: user.name.clone(), problem };
    let taken = |id: u32| entries(passwd).chain(entries(group)).find(|(_, known)| *known == id);
    if entries(passwd).chain(entries(group)).any(|(name, _)| name == user.name) {
        return Err(fail("a user or group of that name exists".to_owned()));
    }
    if let Some(id) = user.uid {
        return match taken(id) {
            Some((name, _)) => Err(fail(format!("the id {id} belongs to `{name}`"))),
            None => Ok(id),
        };
    }
    // The ranges of Debian Policy 9.2.2; system ids are given out from the top, as adduser does.
    let mut range: Box<dyn Iterator<Item = u32>> =
        if user.system { Box::new((100..1000).rev()) } else { Box::new(1000..60_000) };
    range.find(|id| taken(*id).is_none()).ok_or_else(|| fail("no id is free".to_owned()))
}

/// Adds a member to a group's last field.
fn join(text: &str, group: &str, member: &str) -> Result<String, Error> {
    if !text.lines().any(|line| line.split(':').next() == Some(group)) {
        return Err(missing("group", group, text));
    }
    let line = |line: &str| match line.rsplit_once(':') {
        Some((head, members)) if line.split(':').next() == Some(group) => {
            let separator = if members.is_empty() { "" } else { "," };
            format!("{head}:{members}{separator}{member}\n")
        }
        _ => format!("{line}\n"),
    };
    Ok(text.lines().map(line).collect())
}

fn missing(what: &'static str, name: &str, text: &str) -> Error {
    let names = text.lines().filter_map(|line| line.split(':').next());
    Error::Missing { what, name: name.to_owned(), similar: did_you_mean(name, names).map(str::to_owned) }
}

/// A home directory with the files of `/etc/skel`.
fn home(tree: &mut Tree, user: &User, id: u32, epoch: i64) -> Result<(), Error> {
    let skel: GuestPath = "/etc/skel".parse()?;
    let mut nodes = vec![(user.home.clone(), super::Node::new(NodeKind::Directory, 0o700, epoch))];
    for (path, node) in tree.below(&skel) {
        let relative = path.as_str().strip_prefix("/etc/skel/").unwrap_or_default();
        nodes.push((user.home.join(relative)?, node.clone()));
    }
    for (path, mut node) in nodes {
        (node.meta.uid, node.meta.gid) = (id, id);
        tree.insert(&path, node)?;
    }
    Ok(())
}

fn read(tree: &Tree, path: &str) -> Result<String, Error> {
    let bytes = tree.read(&path.parse()?).map_err(|cause| Error::Host { path: path.into(), cause })?;
    let mut text = String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}

/// Replaces a file's content, keeping its owner and mode.
fn write(tree: &mut Tree, path: &str, text: &str, epoch: i64) -> Result<(), Error> {
    let guest: GuestPath = path.parse()?;
    if let Some(node) = tree.resolve(&guest).and_then(|place| tree.get_mut(&place)) {
        node.kind = NodeKind::File(text.into());
        node.meta.mtime = epoch;
        return Ok(());
    }
    let mode = if path.ends_with("shadow") { 0o640 } else { 0o644 };
    tree.insert_file(path, mode, epoch, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str, system: bool, groups: &[&str]) -> User {
        User {
            name: name.to_owned(),
            system,
            uid: None,
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            shell: "/bin/bash".parse().unwrap(),
            home: format!("/home/{name}").parse().unwrap(),
            comment: String::new(),
        }
    }

    fn sample() -> Tree {
        let mut tree = Tree::new(0);
        tree.insert_file(PASSWD, 0o644, 0, "root:x:0:0:root:/root:/bin/bash\n").unwrap();
        tree.insert_file(GROUP, 0o644, 0, "root:x:0:\nsudo:x:27:\n").unwrap();
        tree.insert_file(SHADOW, 0o640, 0, "root:*:1:0:99999:7:::\n").unwrap();
        tree.insert_file(GSHADOW, 0o640, 0, "root:*::\nsudo:*::\n").unwrap();
        tree.insert_file("/etc/skel/.profile", 0o644, 0, "p").unwrap();
        tree
    }

    #[test]
    fn users_get_ids_groups_and_homes() {
        let mut tree = sample();
        apply(&mut tree, &[user("agent", false, &["sudo"]), user("probe", true, &[])], 86_400 * 20_000).unwrap();
        let text = |path: &str| String::from_utf8(tree.read(&path.parse().unwrap()).unwrap().unwrap()).unwrap();
        assert!(
            text(PASSWD)
                .ends_with("agent:x:1000:1000::/home/agent:/bin/bash\nprobe:x:999:999::/home/probe:/bin/bash\n")
        );
        assert_eq!(text(GROUP), "root:x:0:\nsudo:x:27:agent\nagent:x:1000:\nprobe:x:999:\n");
        assert!(text(SHADOW).contains("agent:!:20000:0:99999:7:::\n"), "{}", text(SHADOW));
        assert!(text(SHADOW).contains("probe:!:20000::::::\n"), "{}", text(SHADOW));
        assert!(text(GSHADOW).contains("sudo:*::agent\n"));
        let home = tree.get(&"/home/agent/.profile".parse().unwrap()).unwrap();
        assert_eq!((home.meta.uid, home.meta.gid), (1000, 1000));
        assert_eq!(owner(&tree, "agent", "sudo").unwrap(), (1000, 27));
        assert!(tree.get(&"/home/probe".parse().unwrap()).is_none());
    }

    #[test]
    fn clashes_and_unknown_groups_are_errors() {
        let mut tree = sample();
        let error = apply(&mut tree, &[user("agent", false, &["sodu"])], 0).unwrap_err().to_string();
        assert!(error.contains("did you mean `sudo`"), "{error}");
        assert!(apply(&mut tree, &[user("root", false, &[])], 0).is_err());
        let mut taken = user("x", false, &[]);
        taken.uid = Some(27);
        assert!(apply(&mut tree, &[taken], 0).unwrap_err().to_string().contains("belongs to `sudo`"));
    }
}
