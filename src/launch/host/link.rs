//! Network interfaces through the kernel's ioctls: a bridge's ports, an interface's address.
//!
//! Source: netdevice(7), `linux/sockios.h`.

use crate::network::Cidr;
use rustix::fd::{AsFd, AsRawFd as _, OwnedFd};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::io;
use std::net::{IpAddr, Ipv4Addr};

/// `SIOCBRADDIF`, `linux/sockios.h`.
const SIOCBRADDIF: libc::c_ulong = 0x89a2;

/// Makes `port` a port of `bridge`.
pub fn join(bridge: &str, port: &str) -> io::Result<()> {
    let mut asked = request(bridge)?;
    asked.ifr_ifru.ifru_ifindex = index(port)?;
    ioctl(&control()?, SIOCBRADDIF, &mut asked)
}

/// Sets an interface up.
pub fn up(name: &str) -> io::Result<()> {
    let control = control()?;
    let mut asked = request(name)?;
    ioctl(&control, libc::SIOCGIFFLAGS, &mut asked)?;
    // SAFETY: SIOCGIFFLAGS has just filled in this member.
    asked.ifr_ifru.ifru_flags = unsafe { asked.ifr_ifru.ifru_flags } | libc::IFF_UP as libc::c_short;
    ioctl(&control, libc::SIOCSIFFLAGS, &mut asked)
}

/// Whether there is an interface of this name.
pub fn exists(name: &str) -> io::Result<bool> {
    match index(name) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(false),
        Err(error) => Err(error),
    }
}

/// An interface's number, which no other one in this network namespace ever gets.
pub fn index(name: &str) -> io::Result<i32> {
    let mut asked = request(name)?;
    ioctl(&control()?, libc::SIOCGIFINDEX, &mut asked)?;
    // SAFETY: SIOCGIFINDEX has just filled in this member.
    Ok(unsafe { asked.ifr_ifru.ifru_ifindex })
}

/// An interface's first IPv4 address; none when it has none.
pub fn address(name: &str) -> io::Result<Option<Cidr>> {
    let control = control()?;
    let ask = |what| -> io::Result<Option<Ipv4Addr>> {
        let mut asked = request(name)?;
        match ioctl(&control, what, &mut asked) {
            Ok(()) => Ok(Some(inet(&asked))),
            Err(error) if error.raw_os_error() == Some(libc::EADDRNOTAVAIL) => Ok(None),
            Err(error) => Err(error),
        }
    };
    let (Some(address), Some(mask)) = (ask(libc::SIOCGIFADDR)?, ask(libc::SIOCGIFNETMASK)?) else { return Ok(None) };
    let prefix = u32::from(mask).leading_ones() as u8;
    Ok(Some(Cidr { address: IpAddr::V4(address), prefix }))
}

/// The IPv4 address in an answered request.
fn inet(asked: &libc::ifreq) -> Ipv4Addr {
    // SAFETY: SIOCGIFADDR and SIOCGIFNETMASK fill in a `sockaddr_in`; every bit pattern of its bytes is valid.
    let data = unsafe { asked.ifr_ifru.ifru_addr.sa_data };
    let [_, _, a, b, c, d, ..] = data.map(i8::cast_unsigned);
    Ipv4Addr::new(a, b, c, d)
}

/// A request about an interface. Names have at most 15 bytes.
pub(super) fn request(name: &str) -> io::Result<libc::ifreq> {
    if name.is_empty() || name.len() >= libc::IFNAMSIZ || name.contains('\0') {
        let problem = format!("`{name}` is no interface name: 1 to 15 bytes are expected");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
    }
    // SAFETY: `ifreq` is plain data for which all zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    Ok(request)
}

fn control() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?)
}

pub(super) fn ioctl(fd: &impl AsFd, what: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    // SAFETY: every `what` in this room takes a pointer to an `ifreq`, which lives until the call returns.
    let status = unsafe { libc::ioctl(fd.as_fd().as_raw_fd(), what, std::ptr::from_mut(request)) };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
