//! Files that are one machine's identity and that packages make while they are installed: alike in all clones of an image,
//! and different in each build. Only the list: hygiene takes them away, rules look whether they are gone.
//!
//! Source: the `postinst` of the packages of Debian 12 that each entry names.

use crate::values::GuestPath;
use std::ops::Range;

/// The script of goldsmith's own that makes ssh host keys.
pub(super) const HOST_KEYS: &str = "/usr/lib/goldsmith/ssh-host-keys";

/// What one machine has to itself.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// In one word, as in `goldsmith-ssh-host-keys.service` and a recipe's `renew`.
    pub name: &'static str,
    /// In a few words, after "this guest's own".
    pub what: &'static str,
    /// Its files. A `*` stands for any part of one name.
    pub files: &'static [&'static str],
    /// The values in them that it is; none: the whole files.
    pub settings: &'static [Setting],
    /// What is done about it.
    pub remedy: Remedy,
}

/// A value in a file of settings: a line of its own.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// What the line begins with after blanks, up to the value.
    pub start: &'static str,
    /// What ends the value.
    pub end: char,
}

impl Setting {
    /// Where in a text its values are that are not empty.
    pub fn places(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut end = 0;
        let lines = text.split_inclusive(|byte| *byte == b'\n').map(|line| {
            end += line.len();
            (end, line.trim_ascii_start())
        });
        let place = |(end, line): (usize, &[u8])| {
            let value = line.strip_prefix(self.start.as_bytes())?;
            let length = value.iter().position(|byte| *byte == self.end as u8)?;
            let start = end - value.len();
            (length > 0).then_some(start..start + length)
        };
        lines.filter_map(place).collect()
    }
}

/// What is done about an identity.
#[derive(Debug, Clone, Copy)]
pub enum Remedy {
    /// It is not in the image; the guest makes it before anything needs it.
    Anew(Maker),
    /// As `Anew`, where the recipe asks for it (`renew`): the guest begins with data as a new installation has them. Else
    /// these are identifiers in data, no secrets, but alike in all clones, and different in each build.
    Asked {
        /// The folder that is emptied; a `*` as in `files`.
        folder: &'static str,
        /// What stays in it.
        keep: &'static str,
        /// How it is made.
        maker: Maker,
    },
    /// Its settings are empty in the image; the guest puts random values there before any service starts.
    Filled {
        /// Of a value, in hexadecimal digits; even.
        length: usize,
    },
    /// A secret that only the recipe can do something about: in words, for a person. `FILE` stands for the file, `NAME` for its
    /// name without the ending.
    Refused(&'static str),
    /// Numbers in data that nobody can make anew: no secret, but alike in all clones, and different in each build.
    Told,
}

/// How a guest makes an identity.
#[derive(Debug, Clone, Copy)]
pub struct Maker {
    /// The program without which it cannot be made; an image that lacks it keeps what it has.
    pub program: &'static str,
    /// Lines for the shell. Owner and mode are set afterwards.
    pub command: &'static str,
    /// The units that need it; none: it is there before any service starts.
    pub before: &'static [&'static str],
}

impl Identity {
    /// The paths that its files may be at; `list` gives the names in a folder.
    pub fn paths<E>(&self, list: &dyn Fn(&GuestPath) -> Result<Vec<String>, E>) -> Result<Vec<GuestPath>, E> {
        let mut paths = Vec::new();
        for file in self.files {
            paths.extend(expand(file, list)?);
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

/// The paths that a pattern stands for; `list` gives the names in a folder.
pub fn expand<E>(pattern: &str, list: &dyn Fn(&GuestPath) -> Result<Vec<String>, E>) -> Result<Vec<GuestPath>, E> {
    let mut found = vec![GuestPath::root()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for folder in &found {
            let names = if part.contains('*') { list(folder)? } else { vec![part.to_owned()] };
            let fit = names.iter().filter(|name| fits(part, name));
            next.extend(fit.filter_map(|name| folder.join(name).ok()));
        }
        found = next;
    }
    Ok(found)
}

/// Whether a name is the one that a part of a pattern stands for.
pub fn fits(part: &str, name: &str) -> bool {
    match part.split_once('*') {
        Some((start, end)) => name.strip_prefix(start).is_some_and(|rest| rest.ends_with(end)),
        None => part == name,
    }
}

/// The names of `Remedy::Asked`.
pub const RENEWABLE: [&str; 2] = ["postgresql-cluster", "mariadb-data"];

/// How most are taken out of an image.
pub(super) const TAKE_AWAY: &str = "`run: [[rm, FILE]]` in the recipe, and a unit that makes it in the guest";

/// All that are known.
pub const IDENTITIES: &[Identity] = &[
    Identity {
        // openssh-server
        name: "ssh-host-keys",
        what: "ssh host keys",
        files: &["/etc/ssh/ssh_host_*"],
        settings: &[],
        remedy: Remedy::Anew(Maker {
            program: "/usr/bin/ssh-keygen",
            command: "ssh-keygen -A",
            before: &["ssh.service", "ssh@.service"],
        }),
    },
    Identity {
        // ssl-cert
        name: "snakeoil-certificate",
        what: "self-signed certificate",
        files: &["/etc/ssl/private/ssl-cert-snakeoil.key", "/etc/ssl/certs/ssl-cert-snakeoil.pem"],
        settings: &[],
        remedy: Remedy::Anew(Maker {
            program: "/usr/sbin/make-ssl-cert",
            command: "make-ssl-cert generate-default-snakeoil --force-overwrite",
            before: &[],
        }),
    },
    Identity {
        // bind9
        name: "rndc-key",
        what: "key for rndc",
        files: &["/etc/bind/rndc.key"],
        settings: &[],
        remedy: Remedy::Anew(Maker {
            program: "/usr/sbin/rndc-confgen",
            command: "rndc-confgen -a",
            before: &["named.service"],
        }),
    },
    Identity {
        // rabbitmq-server
        name: "erlang-cookie",
        what: "Erlang cookie",
        files: &["/var/lib/rabbitmq/.erlang.cookie"],
        settings: &[],
        remedy: Remedy::Anew(Maker {
            program: "/usr/bin/openssl",
            command: "openssl rand -base64 -out /var/lib/rabbitmq/.erlang.cookie 42",
            before: &["rabbitmq-server.service"],
        }),
    },
    Identity {
        // varnish
        name: "varnish-secret",
        what: "secret for varnishadm",
        files: &["/etc/varnish/secret"],
        settings: &[],
        remedy: Remedy::Anew(Maker {
            program: "/usr/sbin/varnishd",
            command: "cat /proc/sys/kernel/random/uuid >/etc/varnish/secret",
            before: &["varnish.service"],
        }),
    },
    Identity {
        // open-iscsi
        name: "iscsi-initiator",
        what: "iSCSI initiator name",
        files: &["/etc/iscsi/initiatorname.iscsi"],
        settings: &[],
        remedy: Remedy::Anew(Maker {
            program: "/usr/sbin/iscsi-iname",
            command: "echo \"InitiatorName=$(iscsi-iname -p iqn.1993-08.org.debian:01)\" >/etc/iscsi/initiatorname.iscsi",
            before: &["iscsid.service", "open-iscsi.service"],
        }),
    },
    Identity {
        // nvme-cli
        name: "nvme-host",
        what: "NVMe host name and id",
        files: &["/etc/nvme/hostnqn", "/etc/nvme/hostid"],
        settings: &[],
        remedy: Remedy::Anew(Maker {
            program: "/usr/sbin/nvme",
            command: "nvme gen-hostnqn >/etc/nvme/hostnqn; cat /proc/sys/kernel/random/uuid >/etc/nvme/hostid",
            before: &["nvmf-connect@.service", "nvmf-autoconnect.service", "nvmefc-boot-connections.service"],
        }),
    },
    Identity {
        // dropbear
        name: "dropbear-host-keys",
        what: "host keys of dropbear",
        files: &["/etc/dropbear/dropbear_*_host_key"],
        settings: &[],
        remedy: Remedy::Anew(Maker {
            program: "/usr/bin/dropbearkey",
            command: "for type in rsa ecdsa ed25519; do dropbearkey -t $type -f /etc/dropbear/dropbear_${type}_host_key; done",
            before: &["dropbear.service"],
        }),
    },
    Identity {
        // nsd
        name: "nsd-control-keys",
        what: "keys for nsd-control",
        files: &[
            "/etc/nsd/nsd_server.key",
            "/etc/nsd/nsd_server.pem",
            "/etc/nsd/nsd_control.key",
            "/etc/nsd/nsd_control.pem",
        ],
        settings: &[],
        remedy: Remedy::Anew(Maker {
            program: "/usr/sbin/nsd-control-setup",
            command: "nsd-control-setup",
            before: &["nsd.service"],
        }),
    },
    Identity {
        // dnssec-trigger
        name: "dnssec-trigger-keys",
        what: "keys for dnssec-trigger-control",
        files: &[
            "/etc/dnssec-trigger/dnssec_trigger_server.key",
            "/etc/dnssec-trigger/dnssec_trigger_server.pem",
            "/etc/dnssec-trigger/dnssec_trigger_control.key",
            "/etc/dnssec-trigger/dnssec_trigger_control.pem",
        ],
        settings: &[],
        remedy: Remedy::Anew(Maker {
            program: "/usr/sbin/dnssec-trigger-control-setup",
            command: "dnssec-trigger-control-setup",
            before: &["dnssec-triggerd.service"],
        }),
    },
    Identity {
        // freeradius-config
        name: "freeradius-parameters",
        what: "Diffie-Hellman parameters of FreeRADIUS",
        files: &["/etc/freeradius/3.0/certs/dh"],
        settings: &[],
        remedy: Remedy::Anew(Maker {
            program: "/usr/bin/openssl",
            command: "openssl dhparam -out /etc/freeradius/3.0/certs/dh 1024",
            before: &["freeradius.service"],
        }),
    },
    Identity {
        // munge
        name: "munge-key",
        what: "MUNGE key; to share one among machines, bring it from outside",
        files: &["/etc/munge/munge.key"],
        settings: &[],
        remedy: Remedy::Anew(Maker {
            program: "/usr/sbin/mungekey",
            command: "mungekey --create --force",
            before: &["munge.service"],
        }),
    },
    Identity {
        // pacemaker
        name: "pacemaker-key",
        what: "Pacemaker Remote key; to share one in a cluster, bring it from outside",
        files: &["/etc/pacemaker/authkey"],
        settings: &[],
        remedy: Remedy::Anew(Maker {
            program: "/usr/sbin/pacemakerd",
            command: "head -c 4096 /dev/urandom >/etc/pacemaker/authkey",
            before: &["pacemaker.service", "pacemaker_remote.service"],
        }),
    },
    Identity {
        // xrdp
        name: "xrdp-keys",
        what: "RSA keys for RDP",
        files: &["/etc/xrdp/rsakeys.ini"],
        settings: &[],
        remedy: Remedy::Anew(Maker {
            program: "/usr/bin/xrdp-keygen",
            command: "xrdp-keygen xrdp auto",
            before: &["xrdp.service"],
        }),
    },
    Identity {
        // redmine
        name: "redmine-secret",
        what: "secret keys of Redmine",
        files: &["/etc/redmine/*/secret_key.txt"],
        settings: &[],
        remedy: Remedy::Anew(Maker {
            program: "/usr/share/redmine/bin/redmine-instances",
            command: "for folder in /etc/redmine/*/; do od -An -v -tx1 -N16 /dev/urandom | tr -d ' ' >\"$folder/secret_key.txt\"; done",
            before: &[],
        }),
    },
    Identity {
        // phpmyadmin
        name: "phpmyadmin-secret",
        what: "secret for cookies of phpMyAdmin",
        files: &["/var/lib/phpmyadmin/blowfish_secret.inc.php"],
        settings: &[Setting { start: "$cfg['blowfish_secret'] = '", end: '\n' }],
        remedy: Remedy::Anew(Maker {
            program: "/usr/share/phpmyadmin/index.php",
            command: "printf \"<?php\\n\\$cfg['blowfish_secret'] = '%s';\\n\" \"$(head -c24 /dev/urandom | base64)\" >/var/lib/phpmyadmin/blowfish_secret.inc.php",
            before: &[],
        }),
    },
    Identity {
        // roundcube-core
        name: "roundcube-key",
        what: "key for sessions of Roundcube",
        files: &["/etc/roundcube/config.inc.php"],
        settings: &[Setting { start: "$config['des_key'] = '", end: '\'' }],
        remedy: Remedy::Filled { length: 24 },
    },
    Identity {
        // simplesamlphp
        name: "simplesamlphp-secrets",
        what: "password and salt of SimpleSAMLphp",
        files: &["/var/lib/simplesamlphp/secrets.inc.php"],
        settings: &[
            Setting { start: "$config['auth.adminpassword'] = '", end: '\'' },
            Setting { start: "$config['secretsalt'] = '", end: '\'' },
        ],
        remedy: Remedy::Filled { length: 32 },
    },
    Identity {
        // dbconfig-common, for any package that would make a database
        name: "database-password",
        what: "password for a database",
        files: &["/etc/dbconfig-common/*.conf"],
        settings: &[Setting { start: "dbc_dbpass='", end: '\'' }],
        remedy: Remedy::Refused(
            "answer `NAME/dbconfig-install` with `false` under `debconf:` (the build lists the question), and bring the database's address and password from outside",
        ),
    },
    Identity {
        // mailman3, mailman3-web
        name: "mailman-secrets",
        what: "passwords and keys of Mailman",
        files: &["/etc/mailman3/mailman.cfg", "/etc/mailman3/mailman-web.py"],
        settings: &[
            Setting { start: "admin_pass: ", end: '\n' },
            Setting { start: "SECRET_KEY = '", end: '\'' },
            Setting { start: "MAILMAN_ARCHIVER_KEY = '", end: '\'' },
        ],
        remedy: Remedy::Refused("bring FILE by a unit that writes it in the guest, `run: [[rm, FILE]]` in the recipe"),
    },
    Identity {
        // zoneminder
        name: "zoneminder-secrets",
        what: "salt and seed of ZoneMinder",
        files: &["/etc/zm/core.php"],
        settings: &[],
        remedy: Remedy::Refused(TAKE_AWAY),
    },
    Identity {
        // bacula-common
        name: "bacula-passwords",
        what: "passwords of Bacula",
        files: &["/etc/bacula/common_default_passwords"],
        settings: &[],
        remedy: Remedy::Refused(TAKE_AWAY),
    },
    Identity {
        // crowdsec
        name: "crowdsec-credentials",
        what: "credentials of CrowdSec",
        files: &["/etc/crowdsec/local_api_credentials.yaml"],
        settings: &[],
        remedy: Remedy::Refused(
            "`run: [[rm, FILE]]` in the recipe, and a unit that calls `cscli machines add` in the guest",
        ),
    },
    Identity {
        // popularity-contest
        name: "popularity-contest-id",
        what: "identifier for popularity-contest",
        files: &["/etc/popularity-contest.conf"],
        settings: &[Setting { start: "MY_HOSTID=\"", end: '"' }],
        remedy: Remedy::Told,
    },
    Identity {
        // ircd-hybrid
        name: "ircd-certificate",
        what: "certificate of the IRC server",
        files: &["/etc/ircd-hybrid/key/ircd.key"],
        settings: &[],
        remedy: Remedy::Refused(TAKE_AWAY),
    },
    Identity {
        // ejabberd
        name: "ejabberd-certificate",
        what: "ejabberd certificate",
        files: &["/etc/ejabberd/ejabberd.pem"],
        settings: &[],
        remedy: Remedy::Refused(TAKE_AWAY),
    },
    Identity {
        // postgresql-common; its configuration, /etc/postgresql, stays (pg_createcluster moves it there)
        name: "postgresql-cluster",
        what: "PostgreSQL cluster",
        files: &["/var/lib/postgresql/*/main/global/pg_control"],
        settings: &[],
        remedy: Remedy::Asked {
            folder: "/var/lib/postgresql/*/main",
            keep: "",
            maker: Maker {
                program: "/usr/bin/pg_createcluster",
                command: POSTGRESQL,
                before: &["postgresql@.service"],
            },
        },
    },
    Identity {
        // mariadb-server; the flag says which version the data are of
        name: "mariadb-data",
        what: "MariaDB data",
        files: &["/var/lib/mysql/ibdata1"],
        settings: &[],
        remedy: Remedy::Asked {
            folder: "/var/lib/mysql",
            keep: "debian-*.flag",
            maker: Maker { program: "/usr/bin/mariadb-install-db", command: MARIADB, before: &["mariadb.service"] },
        },
    },
    Identity {
        // slapd
        name: "ldap-directory",
        what: "LDAP directory",
        files: &["/var/lib/ldap/data.mdb"],
        settings: &[],
        remedy: Remedy::Told,
    },
];

/// A new cluster beside the old place, moved there when it is whole: as pg_createcluster(1) calls initdb(1).
const POSTGRESQL: &str = r#"for config in /etc/postgresql/*/main; do
    version=${config%/main} version=${version##*/}
    data=/var/lib/postgresql/$version/main
    [ ! -e "$data/global/pg_control" ] || continue
    options=$(sed -n "s/^initdb_options *= *'\(.*\)' *$/\1/p" /etc/postgresql-common/createcluster.conf)
    locale=$(sed -n "s/^lc_messages *= *'\([^']*\)'.*/\1/p" "$config/postgresql.conf")
    rm -rf "$data.new"
    runuser -u postgres -- "/usr/lib/postgresql/$version/bin/initdb" -D "$data.new" ${locale:+--locale="$locale"} $options
    rm "$data.new/postgresql.conf" "$data.new/pg_hba.conf" "$data.new/pg_ident.conf"
    rm -rf "$data"
    mv "$data.new" "$data"
done"#;

/// New data beside the old place, moved there when they are whole, what is looked for last: as the package's `postinst` makes them.
const MARIADB: &str = r#"data=/var/lib/mysql
find "$data" -mindepth 1 -maxdepth 1 ! -name 'debian-*.flag' -exec rm -rf {} +
rm -rf "$data.new"
install -d -o mysql -g mysql -m 0700 "$data.new"
TMPDIR='' mariadb-install-db --rpm --cross-bootstrap --user=mysql --disable-log-bin --skip-test-db --datadir="$data.new"
mv "$data.new/ibdata1" "$data.ibdata1"
find "$data.new" -mindepth 1 -maxdepth 1 -exec mv -t "$data" {} +
mv "$data.ibdata1" "$data/ibdata1"
rmdir "$data.new""#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_in_their_lines() {
        let values = |setting: Setting, text: &[u8]| -> Vec<_> {
            setting.places(text).into_iter().map(|place| text[place].escape_ascii().to_string()).collect()
        };
        let text = b"x\n  pass='ab'; # pass='c'\npass=''\nnopass='x'\npass='open\n";
        assert_eq!(values(Setting { start: "pass='", end: '\'' }, text), ["ab"]);
        assert_eq!(values(Setting { start: "k: ", end: '\n' }, b"k: v\nk: "), ["v"]);
    }

    #[test]
    fn what_recipes_may_name_is_what_can_be_asked_for() {
        let asked = IDENTITIES.iter().filter(|identity| matches!(identity.remedy, Remedy::Asked { .. }));
        assert_eq!(asked.map(|identity| identity.name).collect::<Vec<_>>(), RENEWABLE);
    }

    #[test]
    fn random_values_are_whole_bytes() {
        let odd = |identity: &&Identity| matches!(identity.remedy, Remedy::Filled { length } if length % 2 != 0);
        assert!(IDENTITIES.iter().find(odd).is_none());
    }
}
