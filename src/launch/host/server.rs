//! dnsmasq of a managed network: who it is, its start and end, what it is told and what it has leased.
//!
//! It is known by a file that it wrote itself, before it became dnsmasq, into a folder of root's: its number and the moment
//! of its start. It runs as a user of its own, gets no descriptor of ours, and gives out
//! only the addresses that it is told to.
//!
//! Source: dnsmasq(8), measured with 2.90.

use super::Mac;
use super::guard::Port;
use super::services::DNSMASQ;
use super::subnet::Subnet;
use crate::launch::identity::{self, Identity, Process};
use crate::launch::tool;
use crate::{inherit, leash};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long dnsmasq may take to listen, and to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(2);
/// How much of a file that dnsmasq writes is read, and how long its log may get.
const MOST: u64 = 1 << 20;
/// The most leases at a time. There are no more than VMs.
const LEASES: u32 = 4096;

/// Files in a network's folder: which process dnsmasq is; what it says once it listens; its leases; its log; the addresses
/// it gives out, `MAC,ADDRESS` a line.
const RECORD: &str = "dnsmasq";
const LISTENS: &str = "dnsmasq.pid";
const LEASED: &str = "leases";
const LOG: &str = "dnsmasq.log";
const RESERVED: &str = "hosts";

/// Starts it, unless it runs; whether it was started. It listens when this returns.
pub fn serve(folder: &Path, bridge: &str, subnet: Subnet) -> Result<bool, tool::Error> {
    shorten(&folder.join(LOG));
    if running(folder).is_some() {
        return Ok(false);
    }
    start(folder, &arguments(folder, bridge, subnet))?;
    Ok(true)
}

/// Ends it.
pub fn serve_no_more(folder: &Path) {
    let Some(process) = running(folder) else { return };
    for signal in [Signal::TERM, Signal::KILL] {
        // One that cannot be told is as good as one that does not listen.
        if process.tell(signal).is_err() || process.ends(PATIENCE) {
            return;
        }
    }
}

/// Writes down who gets which address, before anybody asks. A lease of one of these addresses that somebody else has left
/// is forgotten.
pub fn reserve(folder: &Path, bridge: &str, subnet: Subnet, ports: &[Port]) -> Result<(), tool::Error> {
    let io = |cause| tool::Error::Io { program: DNSMASQ.program, cause };
    let pairs = || ports.iter().filter_map(|port| Some((port.mac, port.address?)));
    let text: String = pairs().map(|(mac, address)| format!("{mac},{address}\n")).collect();
    let path = folder.join(RESERVED);
    if fs::read_to_string(&path).is_ok_and(|before| before == text) {
        return Ok(());
    }
    let part = folder.join("hosts.part");
    fs::write(&part, text).and_then(|()| readable(&part, 0o644)).map_err(io)?;
    fs::rename(&part, &path).map_err(io)?;
    let leased = leases(folder);
    let foreign = |address: Ipv4Addr, mac: Mac| leased.get(&address).is_some_and(|holder| *holder != mac);
    if pairs().any(|(mac, address)| foreign(address, mac)) {
        serve_no_more(folder);
        // dnsmasq would keep them for their holders. It knows its leases by their file, and reservations need none.
        fs::remove_file(folder.join(LEASED)).map_err(io)?;
        serve(folder, bridge, subnet)?;
    } else if let Some(process) = running(folder) {
        // It reads the file again.
        process.tell(Signal::HUP).map_err(io)?;
    }
    Ok(())
}

/// Who has which address by a lease.
pub fn leases(folder: &Path) -> BTreeMap<Ipv4Addr, Mac> {
    let mut text = Vec::new();
    let read = File::open(folder.join(LEASED)).and_then(|file| file.take(MOST).read_to_end(&mut text));
    if read.is_err() {
        return BTreeMap::new();
    }
    String::from_utf8_lossy(&text).lines().filter_map(lease).collect()
}

/// A line of the lease file: `EXPIRY MAC ADDRESS NAME CLIENT-ID`. The name is the guest's word, and nobody reads it here.
pub(super) fn lease(line: &str) -> Option<(Ipv4Addr, Mac)> {
    let mut words = line.split(' ').skip(1);
    let (mac, address) = (words.next()?, words.next()?);
    Some((address.parse().ok()?, mac.parse().ok()?))
}

/// The process, if it runs.
fn running(folder: &Path) -> Option<Process> {
    Identity::read(&fs::read_to_string(folder.join(RECORD)).ok()?)?.open()
}

fn arguments(folder: &Path, bridge: &str, subnet: Subnet) -> Vec<String> {
    let file = |option: &str, name: &str| format!("--{option}={}", folder.join(name).display());
    let mut arguments: Vec<String> = [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--bind-interfaces",
        "--except-interface=lo",
        "--no-hosts",
        "--bogus-priv",
        "--domain-needed",
        "--dhcp-authoritative",
        // By MAC address, whatever identifier clones share; and no ping first, because nobody else gives out addresses.
        "--dhcp-ignore-clid",
        "--no-ping",
        // Who is called what is not for guests to say.
        "--dhcp-ignore-names",
        // A guest could fill the log with its questions.
        "--quiet-dhcp",
    ]
    .map(str::to_owned)
    .into();
    arguments.extend([
        format!("--interface={bridge}"),
        format!("--dhcp-range={},static,1h", subnet.network_address()),
        format!("--dhcp-lease-max={LEASES}"),
        file("dhcp-leasefile", LEASED),
        file("dhcp-hostsfile", RESERVED),
        file("pid-file", LISTENS),
        file("log-facility", LOG),
    ]);
    arguments.extend(user().into_iter().map(str::to_owned));
    arguments
}

fn start(folder: &Path, arguments: &[String]) -> Result<(), tool::Error> {
    let io = |cause| tool::Error::Io { program: DNSMASQ.program, cause };
    let listens = folder.join(LISTENS);
    match fs::remove_file(&listens) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        _ => {}
    }
    let record = File::create(folder.join(RECORD)).map_err(io)?;
    let parent = std::process::id();
    let mut said = tempfile::tempfile().map_err(io)?;
    let handle = duct::cmd(DNSMASQ.find()?, arguments)
        .dir("/")
        .stdin_null()
        .stdout_null()
        .stderr_file(said.try_clone().map_err(io)?)
        .unchecked()
        .before_spawn(move |command| {
            let record = record.try_clone()?;
            let before_exec = move || {
                // It outlives the terminal and the launch that it is started by.
                rustix::process::setsid()?;
                inherit::nothing()?;
                identity::write_down(&record)?;
                // Whoever has the network's lock after this launch reads what was written; one that had it before has not.
                leash::holds(parent)
            };
            // SAFETY: between fork and exec only system calls are made; nothing is allocated.
            unsafe { command.pre_exec(before_exec) };
            Ok(())
        })
        .start()
        .map_err(io)?;
    let started = Instant::now();
    // It writes this file once its sockets are open.
    while fs::metadata(&listens).map_or(0, |file| file.len()) == 0 {
        let ended = handle.try_wait().map_err(io)?.map(|output| output.status.to_string());
        let late = started.elapsed() > PATIENCE;
        if ended.is_none() && !late {
            std::thread::sleep(LOOK);
            continue;
        }
        let _ = handle.kill();
        let mut text = Vec::new();
        said.rewind().and_then(|()| (&said).take(MOST).read_to_end(&mut text)).map_err(io)?;
        return Err(tool::Error::Failed {
            command: format!("{} {}", DNSMASQ.program, arguments.join(" ")),
            status: ended.unwrap_or_else(|| "it does not listen".to_owned()),
            said: String::from_utf8_lossy(&text).trim().to_owned(),
        });
    }
    // Whoever starts a process must wait for its end, or it stays as a zombie.
    std::thread::spawn(move || handle.wait().map(drop));
    Ok(())
}

/// Keeps a log that dnsmasq appends to from filling the memory that `/run` is made of.
fn shorten(log: &Path) {
    if fs::metadata(log).is_ok_and(|log| log.len() > MOST) {
        // One that cannot be shortened now is next time.
        let _ = OpenOptions::new().write(true).open(log).and_then(|log| log.set_len(0));
    }
}

/// For dnsmasq, which gives up root's rights, whatever this process's umask.
pub fn readable(path: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// Under whom it works: the user that its package makes, else `nobody`; where this user namespace has neither, root, who is
/// nobody outside of it. With a group that has no rights.
fn user() -> Vec<&'static str> {
    let number = |file: &str, name: &str| id(&fs::read_to_string(file).unwrap_or_default(), name);
    let map = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let (users, groups) = (map("/proc/self/uid_map"), map("/proc/self/gid_map"));
    let has = |file, name, map: &str| number(file, name).is_some_and(|id| is_mapped(map, id));
    let user = [("dnsmasq", "--user=dnsmasq"), ("nobody", "--user=nobody")]
        .into_iter()
        .find_map(|(name, option)| has("/etc/passwd", name, &users).then_some(option));
    let group = has("/etc/group", "nogroup", &groups).then_some("--group=nogroup");
    std::iter::once(user.unwrap_or("--user=root")).chain(group.filter(|_| user.is_some())).collect()
}

/// The number behind a name. Source: passwd(5), group(5): both have it in their third field.
fn id(table: &str, name: &str) -> Option<u64> {
    let entry = table.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')))?;
    entry.split(':').nth(2)?.parse().ok()
}

/// Whether this user namespace has the number. Source: user_namespaces(7), `uid_map`.
fn is_mapped(map: &str, id: u64) -> bool {
    map.lines().any(|line| {
        let fields: Vec<u64> = line.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        matches!(fields.as_slice(), [inside, _, count] if (*inside..inside.saturating_add(*count)).contains(&id))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_read_whatever_its_guest_is_called() {
        let line = "1767225600 52:54:00:00:00:01 10.0.0.5 \u{1b}[2J../../x\u{7} 01:52:54";
        assert_eq!(lease(line), Some((Ipv4Addr::new(10, 0, 0, 5), Mac([0x52, 0x54, 0, 0, 0, 1]))));
        for bad in ["", "duid 00:01", "1 2 3", "1 52:54:00:00:00:01"] {
            assert_eq!(lease(bad), None, "{bad}");
        }
    }

    #[test]
    fn users_are_those_of_this_namespace() {
        assert_eq!(id("root:x:0:0:\ndnsmasqx:x:1:1\ndnsmasq:x:999:65534:\n", "dnsmasq"), Some(999));
        assert!(is_mapped("0 0 4294967295\n", 999) && !is_mapped("0 1000 1\n", 999));
    }

    proptest::proptest! {
        #[test]
        fn no_lease_file_panics(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join(LEASED), &bytes).unwrap();
            let _ = leases(folder.path());
            let _ = String::from_utf8_lossy(&bytes).lines().filter_map(Port::read).count();
        }
    }
}
