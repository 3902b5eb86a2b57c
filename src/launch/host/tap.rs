//! A tap interface: the host's end of a guest's NIC.
//!
//! Source: `Documentation/networking/tuntap.rst`, `include/uapi/linux/if_tun.h`, kernel `drivers/net/tun.c`.

use super::link;
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use std::io;
use std::time::{Duration, Instant};

/// What the kernel puts before every frame of a tap opened with `IFF_VNET_HDR` (`struct virtio_net_hdr`), in bytes.
const VNET_HEADER: usize = 10;
/// How long a VMM that has been killed may take to let go of its tap.
const PATIENCE: Duration = Duration::from_secs(2);

/// A tap interface. It exists as long as a descriptor of it is open: when the last process that holds one ends, however
/// that happens, the kernel removes the interface. Once handed over it exists until it is dropped, or until
/// [`Trace::remove`].
#[derive(Debug)]
pub struct Tap {
    fd: Option<OwnedFd>,
    name: String,
    /// It is in another network namespace, with which it will go.
    away: bool,
}

/// What must be known of a tap to remove it when its owner has died. The number keeps a later interface of the same name
/// safe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The interface's name.
    pub name: String,
    /// Its number.
    pub index: i32,
}

impl Tap {
    /// Makes a tap named `gsN`, the first N that is free in this network namespace.
    pub fn create() -> io::Result<Self> {
        let (fd, name) = open("gs%d")?;
        Ok(Self { fd: Some(fd), name, away: false })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its descriptor, for the VMM.
    pub fn fd(&self) -> io::Result<&OwnedFd> {
        self.fd.as_ref().ok_or_else(|| io::Error::other("the tap has been handed over"))
    }

    /// What to write down before it is handed over.
    pub fn trace(&self) -> io::Result<Trace> {
        Ok(Trace { name: self.name.clone(), index: link::index(&self.name)? })
    }

    /// Lets a process of user `owner` attach to it by its name. A tap has room for one process, so this one lets go; the
    /// interface is told to stay meanwhile.
    pub fn hand_over(&mut self, owner: u32) -> io::Result<()> {
        let fd = self.fd()?;
        set(fd, libc::TUNSETOWNER, owner.into())?;
        set(fd, libc::TUNSETPERSIST, 1)?;
        self.fd = None;
        Ok(())
    }

    /// Says that it has been moved into another network namespace, where the interface of its name is not it.
    pub(super) fn moved(&mut self) {
        self.away = true;
    }

    /// Puts a frame on the wire as if the guest had sent it.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        let mut bytes = vec![0; VNET_HEADER];
        bytes.extend_from_slice(frame);
        rustix::io::write(self.fd()?, &bytes)?;
        Ok(())
    }

    /// The next frame that came for the guest; none when there is none yet.
    pub fn receive(&self) -> io::Result<Option<Vec<u8>>> {
        let mut buffer = [0; 4096];
        match rustix::io::read(self.fd()?, &mut buffer) {
            Ok(count) => Ok(buffer.get(VNET_HEADER..count).map(<[u8]>::to_vec)),
            Err(rustix::io::Errno::AGAIN) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        if self.fd.is_none() && !self.away {
            // What cannot be removed now is removed by the next launch.
            let _ = remove(&self.name);
        }
    }
}

impl Trace {
    /// Removes the interface, unless it is gone.
    pub fn remove(&self) -> io::Result<()> {
        match link::index(&self.name) {
            Ok(index) if index == self.index => remove(&self.name),
            _ => Ok(()),
        }
    }
}

/// Attaches to a tap once its VMM has let go, and tells it to go with this process's descriptor.
fn remove(name: &str) -> io::Result<()> {
    let started = Instant::now();
    loop {
        match open(name) {
            Ok((fd, _)) => return set(&fd, libc::TUNSETPERSIST, 0),
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && started.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Attaches to a tap, which is made if there is none of this name; returns its real name too.
fn open(name: &str) -> io::Result<(OwnedFd, String)> {
    let fd = rustix::fs::open("/dev/net/tun", OFlags::RDWR | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty())?;
    let mut request = link::request(name)?;
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR;
    request.ifr_ifru.ifru_flags = flags as libc::c_short;
    link::ioctl(&fd, libc::TUNSETIFF, &mut request)?;
    let name: Vec<u8> =
        request.ifr_name.iter().map(|byte| byte.cast_unsigned()).take_while(|byte| *byte != 0).collect();
    Ok((fd, String::from_utf8_lossy(&name).into_owned()))
}

fn set(fd: &OwnedFd, what: libc::c_ulong, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: every `what` in this file takes a number, not a pointer.
    let status = unsafe { libc::ioctl(fd.as_raw_fd(), what, value) };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
