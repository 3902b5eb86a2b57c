//! Files that are one machine's identity and that packages make while they are installed: alike in all clones of an image,
//! and different in each build. Only the list: hygiene takes them away, rules look whether they are gone.
//!
//! Source: the `postinst` of the packages of Debian 12 that each entry names.

use crate::values::GuestPath;

/// The script of goldsmith's own that makes ssh host keys.
pub(super) const HOST_KEYS: &str = "/usr/lib/goldsmith/ssh-host-keys";

/// What one machine has to itself.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// In one word, as in `goldsmith-ssh-host-keys.service`.
    pub name: &'static str,
    /// In a few words, after "this guest's own".
    pub what: &'static str,
    /// Its files. A `*` stands for any part of one name.
    pub files: &'static [&'static str],
    /// What is done about it.
    pub remedy: Remedy,
}

/// What is done about an identity.
#[derive(Debug, Clone, Copy)]
pub enum Remedy {
    /// It is not in the image; the guest makes it before anything needs it.
    Anew {
        /// The program without which it cannot be made; an image that lacks it keeps what it has.
        program: &'static str,
        /// A line for the shell. Owner and mode are set afterwards.
        command: &'static str,
        /// The units that need it; none: it is there before any service starts.
        before: &'static [&'static str],
    },
    /// A secret that only the recipe can do something about.
    Refused,
    /// Numbers in data: no secret, but alike in all clones, and different in each build.
    Told,
}

impl Identity {
    /// The paths that its files may be at; `list` gives the names in a folder.
    pub fn paths<E>(&self, list: &dyn Fn(&GuestPath) -> Result<Vec<String>, E>) -> Result<Vec<GuestPath>, E> {
        let mut paths = Vec::new();
        for file in self.files {
            let mut found = vec![GuestPath::root()];
            for part in file.split('/').filter(|part| !part.is_empty()) {
                let mut next = Vec::new();
                for folder in &found {
                    let names = if part.contains('*') { list(folder)? } else { vec![part.to_owned()] };
                    let fit = names.iter().filter(|name| fits(part, name));
                    next.extend(fit.filter_map(|name| folder.join(name).ok()));
                }
                found = next;
            }
            paths.extend(found);
        }
        Ok(paths)
    }

    /// Whether one of its files may be at this path.
    pub fn is_at(&self, path: &GuestPath) -> bool {
        let parts: Vec<_> = path.as_str().split('/').collect();
        self.files.iter().any(|file| {
            let file: Vec<_> = file.split('/').collect();
            file.len() == parts.len() && file.iter().zip(&parts).all(|(part, name)| fits(part, name))
        })
    }
}

/// Whether a name is the one that a part of a pattern stands for.
fn fits(part: &str, name: &str) -> bool {
    match part.split_once('*') {
        Some((start, end)) => name.strip_prefix(start).is_some_and(|rest| rest.ends_with(end)),
        None => part == name,
    }
}

/// All that are known.
pub const IDENTITIES: &[Identity] = &[
    Identity {
        // openssh-server
        name: "ssh-host-keys",
        what: "ssh host keys",
        files: &["/etc/ssh/ssh_host_*"],
        remedy: Remedy::Anew {
            program: "/usr/bin/ssh-keygen",
            command: "ssh-keygen -A",
            before: &["ssh.service", "ssh@.service"],
        },
    },
    Identity {
        // ssl-cert
        name: "snakeoil-certificate",
        what: "self-signed certificate",
        files: &["/etc/ssl/private/ssl-cert-snakeoil.key", "/etc/ssl/certs/ssl-cert-snakeoil.pem"],
        remedy: Remedy::Anew {
            program: "/usr/sbin/make-ssl-cert",
            command: "make-ssl-cert generate-default-snakeoil --force-overwrite",
            before: &[],
        },
    },
    Identity {
        // bind9
        name: "rndc-key",
        what: "key for rndc",
        files: &["/etc/bind/rndc.key"],
        remedy: Remedy::Anew {
            program: "/usr/sbin/rndc-confgen",
            command: "rndc-confgen -a",
            before: &["named.service"],
        },
    },
    Identity {
        // rabbitmq-server
        name: "erlang-cookie",
        what: "Erlang cookie",
        files: &["/var/lib/rabbitmq/.erlang.cookie"],
        remedy: Remedy::Anew {
            program: "/usr/bin/openssl",
            command: "openssl rand -base64 -out /var/lib/rabbitmq/.erlang.cookie 42",
            before: &["rabbitmq-server.service"],
        },
    },
    Identity {
        // varnish
        name: "varnish-secret",
        what: "secret for varnishadm",
        files: &["/etc/varnish/secret"],
        remedy: Remedy::Anew {
            program: "/usr/sbin/varnishd",
            command: "cat /proc/sys/kernel/random/uuid >/etc/varnish/secret",
            before: &["varnish.service"],
        },
    },
    Identity {
        // open-iscsi
        name: "iscsi-initiator",
        what: "iSCSI initiator name",
        files: &["/etc/iscsi/initiatorname.iscsi"],
        remedy: Remedy::Anew {
            program: "/usr/sbin/iscsi-iname",
            command: "echo \"InitiatorName=$(iscsi-iname -p iqn.1993-08.org.debian:01)\" >/etc/iscsi/initiatorname.iscsi",
            before: &["iscsid.service", "open-iscsi.service"],
        },
    },
    Identity {
        // nvme-cli
        name: "nvme-host",
        what: "NVMe host name and id",
        files: &["/etc/nvme/hostnqn", "/etc/nvme/hostid"],
        remedy: Remedy::Anew {
            program: "/usr/sbin/nvme",
            command: "nvme gen-hostnqn >/etc/nvme/hostnqn; cat /proc/sys/kernel/random/uuid >/etc/nvme/hostid",
            before: &["nvmf-connect@.service", "nvmf-autoconnect.service", "nvmefc-boot-connections.service"],
        },
    },
    Identity {
        // ejabberd
        name: "ejabberd-certificate",
        what: "ejabberd certificate",
        files: &["/etc/ejabberd/ejabberd.pem"],
        remedy: Remedy::Refused,
    },
    Identity {
        // postgresql-common
        name: "postgresql-cluster",
        what: "PostgreSQL system identifier",
        files: &["/var/lib/postgresql/*/main/global/pg_control"],
        remedy: Remedy::Told,
    },
    Identity {
        // mariadb-server
        name: "mariadb-data",
        what: "MariaDB data",
        files: &["/var/lib/mysql/ibdata1"],
        remedy: Remedy::Told,
    },
    Identity {
        // slapd
        name: "ldap-directory",
        what: "LDAP directory",
        files: &["/var/lib/ldap/data.mdb"],
        remedy: Remedy::Told,
    },
];
