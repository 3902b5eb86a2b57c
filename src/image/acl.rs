//! POSIX ACLs: the form that system calls speak and the form that ext4 stores.
//!
//! Both are a little-endian version (2 there, 1 here) and entries of tag and permissions (16 bits each) and an id (32 bits);
//! ext4 leaves the id out where the tag needs none. Source: kernel `include/uapi/linux/posix_acl_xattr.h`, `fs/ext4/acl.h`.

/// Tags that carry an id: a named user, a named group.
const NAMED: [u16; 2] = [0x02, 0x08];
/// The id of the others, as system calls have it.
const NO_ID: [u8; 4] = [0xff; 4];

/// Whether an attribute is an ACL.
pub(super) fn is_acl(name: &str) -> bool {
    name == "system.posix_acl_access" || name == "system.posix_acl_default"
}

/// The stored form of an ACL; none when the value is no ACL.
pub(super) fn to_disk(value: &[u8]) -> Option<Vec<u8>> {
    let entries = value.strip_prefix(&2_u32.to_le_bytes())?;
    let mut stored = 1_u32.to_le_bytes().to_vec();
    for entry in entries.chunks(8) {
        let (head, id) = entry.split_at_checked(4).filter(|(_, id)| id.len() == 4)?;
        stored.extend_from_slice(head);
        if is_named(head) {
            stored.extend_from_slice(id);
        }
    }
    Some(stored)
}

/// The form that system calls speak of a stored ACL; none when the value is no ACL.
pub(super) fn from_disk(value: &[u8]) -> Option<Vec<u8>> {
    let mut rest = value.strip_prefix(&1_u32.to_le_bytes())?;
    let mut spoken = 2_u32.to_le_bytes().to_vec();
    while !rest.is_empty() {
        let (head, tail) = rest.split_at_checked(4)?;
        let (id, tail) = if is_named(head) { tail.split_at_checked(4)? } else { (&NO_ID[..], tail) };
        spoken.extend_from_slice(head);
        spoken.extend_from_slice(id);
        rest = tail;
    }
    Some(spoken)
}

fn is_named(head: &[u8]) -> bool {
    head.first_chunk().is_some_and(|tag| NAMED.contains(&u16::from_le_bytes(*tag)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acl_survives_both_forms() {
        // user::rw-, user:1000:r--, group::r--, mask::r--, other::---
        let spoken = [
            &[2, 0, 0, 0][..],
            &[1, 0, 6, 0, 255, 255, 255, 255],
            &[2, 0, 4, 0, 232, 3, 0, 0],
            &[4, 0, 4, 0, 255, 255, 255, 255],
            &[16, 0, 4, 0, 255, 255, 255, 255],
            &[32, 0, 0, 0, 255, 255, 255, 255],
        ]
        .concat();
        let stored = to_disk(&spoken).unwrap();
        assert_eq!(stored.len(), 4 + 4 * 4 + 8);
        assert_eq!(from_disk(&stored).unwrap(), spoken);
        assert!(to_disk(&spoken[..11]).is_none() && to_disk(b"").is_none() && from_disk(&[1, 0, 0, 0, 2, 0]).is_none());
    }
}
