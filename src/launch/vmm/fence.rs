//! What a QEMU with user networking may reach for its guest.
//!
//! QEMU's own network makes the guest's connections as if they were QEMU's: the host's loopback (as 10.0.2.2), its other
//! addresses and what a cloud tells only its hosts are all open to it, and QEMU (7.2 to 10) has no option against that but
//! one that closes the world too (`restrict=on`). So the kernel asks this process about every address that QEMU connects
//! or sends to, and this process says what the guest may reach ([`host::may_reach`]). A guest cannot change an address
//! between the look and the call: it is in QEMU's memory, not in the guest's.
//!
//! Source: seccomp(2), seccomp_unotify(2), `include/uapi/linux/seccomp.h`; libslirp `src/socket.c`, which calls `connect`,
//! `sendto` and, for what is connected, `send` (a `sendto` without an address).

use crate::launch::host;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4};

/// `AUDIT_ARCH_X86_64`, `include/uapi/linux/audit.h`.
const ARCHITECTURE: u32 = 0xc000_003e;
/// Offsets in `struct seccomp_data`: the call's number, the architecture, the fifth argument.
const NUMBER: u32 = 0;
const ARCH: u32 = 4;
const FIFTH: u32 = 16 + 4 * 8;

/// A fence that is to be put around a child: the ends of a pair of sockets, over which the child hands out the descriptor
/// that its kernel asks by.
#[derive(Debug)]
pub struct Fence {
    inner: OwnedFd,
    outer: OwnedFd,
}

impl Fence {
    /// Makes what is needed.
    pub fn new() -> io::Result<Self> {
        let (inner, outer) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        Ok(Self { inner, outer })
    }

    /// What the child calls [`enclose`] with. It must stay open until the child has been started.
    pub fn inner(&self) -> RawFd {
        self.inner.as_raw_fd()
    }

    /// Answers the kernel's questions about the child, which has been started, until it ends.
    pub fn stand(self) -> io::Result<()> {
        drop(self.inner);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        recvmsg(&self.outer, &mut [IoSliceMut::new(&mut [0])], &mut control, flags)?;
        let listener = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        let listener = listener.ok_or_else(|| io::Error::other("QEMU has handed nothing over"))?;
        std::thread::spawn(move || {
            // When nobody asks any more, or nobody can be answered, calls fail: nothing is reached.
            while answer(&listener).is_ok() {}
        });
        Ok(())
    }
}

/// Puts the fence around this process, for good. It allocates nothing, so a child may call it between fork and exec.
pub fn enclose(inner: impl AsFd) -> io::Result<()> {
    let load = |offset| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    let equals = |value, yes, no| statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, yes, no, value);
    let decide = |what| statement(libc::BPF_RET | libc::BPF_K, 0, 0, what);
    let mut program = [
        load(ARCH),
        equals(ARCHITECTURE, 0, 7),
        load(NUMBER),
        equals(libc::SYS_connect as u32, 6, 0),
        equals(libc::SYS_sendto as u32, 0, 4),
        // Without an address it goes where a connection leads already.
        load(FIFTH),
        equals(0, 0, 3),
        load(FIFTH + 4),
        equals(0, 0, 1),
        decide(libc::SECCOMP_RET_ALLOW),
        decide(libc::SECCOMP_RET_USER_NOTIF),
    ];
    let header = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: prctl(2) with these arguments takes no pointer; the filter lives until seccomp(2), which copies it, returns.
    let listener = unsafe {
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 {
            return Err(io::Error::last_os_error());
        }
        let (mode, flags) = (libc::SECCOMP_SET_MODE_FILTER, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER);
        libc::syscall(libc::SYS_seccomp, mode, flags, &raw const header)
    };
    let listener = RawFd::try_from(listener).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
    // SAFETY: seccomp(2) has just opened it, and nobody else knows of it.
    let listener = unsafe { OwnedFd::from_raw_fd(listener) };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [listener.as_fd()];
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(inner, &[IoSlice::new(&[0])], &mut control, SendFlags::empty())?;
    Ok(())
}

fn statement(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt, jf, k }
}

/// Waits for one question and answers it.
fn answer(listener: &OwnedFd) -> io::Result<()> {
    let mut ready = [PollFd::new(listener, PollFlags::IN)];
    while poll(&mut ready, None) == Err(rustix::io::Errno::INTR) {}
    let [ready] = ready;
    if !ready.revents().contains(PollFlags::IN) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    // SAFETY: both are plain data for which all zeroes are valid, as the kernel wants the first to be.
    let (mut asked, mut reply): (libc::seccomp_notif, libc::seccomp_notif_resp) = unsafe { std::mem::zeroed() };
    match control(listener, libc::SECCOMP_IOCTL_NOTIF_RECV, &mut asked) {
        // Whoever asked has been interrupted meanwhile.
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => return Ok(()),
        result => result?,
    }
    let [_, connected, connected_size, _, sent, sent_size] = asked.data.args;
    let place =
        if i64::from(asked.data.nr) == libc::SYS_connect { (connected, connected_size) } else { (sent, sent_size) };
    let allowed = target(asked.pid, place).is_some_and(Target::may_be_reached);
    // What was read is the asker's memory only if he still waits.
    if control(listener, libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &mut asked.id).is_err() {
        return Ok(());
    }
    reply.id = asked.id;
    if allowed {
        reply.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    } else {
        // The guest hears what it would from a closed port.
        reply.error = -libc::ECONNREFUSED;
    }
    match control(listener, libc::SECCOMP_IOCTL_NOTIF_SEND, &mut reply) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

/// Where a call leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    /// A machine.
    Internet(SocketAddrV4),
    /// Nowhere beyond this host's kernel, or a protocol that no guest is given: by its number.
    Family(libc::c_int),
}

impl Target {
    fn may_be_reached(self) -> bool {
        match self {
            Self::Internet(address) => host::may_reach(address),
            // A socket file of QEMU's own, and the end of a connection.
            Self::Family(family) => matches!(family, libc::AF_UNIX | libc::AF_UNSPEC),
        }
    }

    /// Reads a `sockaddr`. None: it is none.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (family, rest) = bytes.split_first_chunk::<2>()?;
        let family = libc::c_int::from(u16::from_ne_bytes(*family));
        if family != libc::AF_INET {
            return Some(Self::Family(family));
        }
        let [high, low, a, b, c, d] = *rest.first_chunk()?;
        Some(Self::Internet(SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low]))))
    }
}

/// Reads an address from another process's memory.
fn target(process: u32, (address, size): (u64, u64)) -> Option<Target> {
    let mut bytes = [0_u8; 16];
    let length = usize::try_from(size).ok()?.min(bytes.len());
    let local = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: length };
    let remote = libc::iovec { iov_base: address as *mut libc::c_void, iov_len: length };
    // SAFETY: the local part is `bytes`, no longer than it is; the remote part is the other process's, and only read.
    let count = unsafe { libc::process_vm_readv(process.cast_signed(), &raw const local, 1, &raw const remote, 1, 0) };
    Target::read(bytes.get(..usize::try_from(count).ok()?)?)
}

fn control<T>(listener: &OwnedFd, what: libc::Ioctl, argument: &mut T) -> io::Result<()> {
    // SAFETY: each `what` in this file takes a pointer to what its caller passes, which lives until the call returns.
    let status = unsafe { libc::ioctl(listener.as_raw_fd(), what, std::ptr::from_mut(argument)) };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::super::process::{Command, Process};
    use super::super::qemu::PROGRAM;
    use super::*;
    use crate::launch::host::{Mac, Said, frame, question};
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{
        EthernetAddress, EthernetFrame, EthernetProtocol, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket,
        TcpRepr, TcpSeqNumber,
    };
    use std::os::unix::net::UnixDatagram;
    use std::time::Duration;

    #[test]
    fn addresses_are_read_as_the_kernel_does() {
        let inet = [&2_u16.to_ne_bytes()[..], &[0, 80, 10, 0, 0, 1], &[0; 8]].concat();
        let expected = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 80);
        assert_eq!(Target::read(&inet), Some(Target::Internet(expected)));
        assert_eq!(Target::read(&inet[..7]), None);
        assert_eq!(Target::read(&[]), None);
        let six = Target::read(&10_u16.to_ne_bytes()).unwrap();
        assert!(!six.may_be_reached() && Target::read(&1_u16.to_ne_bytes()).unwrap().may_be_reached());
    }

    const GUEST: (Mac, Ipv4Addr) = (Mac([0x52, 0x54, 0, 0, 0, 1]), Ipv4Addr::new(10, 0, 2, 15));

    /// The first packet of a connection from a guest of QEMU's network.
    fn knock(at: SocketAddrV4, from: u16) -> Vec<u8> {
        let repr = TcpRepr {
            src_port: from,
            dst_port: at.port(),
            control: TcpControl::Syn,
            seq_number: TcpSeqNumber(1),
            ack_number: None,
            window_len: 1000,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &[],
        };
        let (source, target) = (GUEST.1, *at.ip());
        let ip = Ipv4Repr {
            src_addr: source,
            dst_addr: target,
            next_header: IpProtocol::Tcp,
            payload_len: repr.buffer_len(),
            hop_limit: 64,
        };
        let mut bytes = vec![0; 14 + ip.buffer_len() + repr.buffer_len()];
        let mut frame = EthernetFrame::new_unchecked(&mut bytes);
        frame.set_src_addr(EthernetAddress(GUEST.0.0));
        // QEMU's own: 52:55 and the address of the host in its network.
        frame.set_dst_addr(EthernetAddress([0x52, 0x55, 10, 0, 2, 2]));
        frame.set_ethertype(EthernetProtocol::Ipv4);
        let mut packet = Ipv4Packet::new_unchecked(frame.payload_mut());
        ip.emit(&mut packet, &ChecksumCapabilities::default());
        let mut segment = TcpPacket::new_unchecked(packet.payload_mut());
        repr.emit(&mut segment, &source.into(), &target.into(), &ChecksumCapabilities::default());
        bytes
    }

    /// Whether QEMU's network lets its guest have a connection there.
    fn accepts(fenced: bool, at: SocketAddrV4) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let wire = UnixDatagram::bind(folder.path().join("ours")).unwrap();
        wire.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let line = "-M none -nodefaults -no-user-config -display none -monitor none \
            -netdev user,id=u,ipv6=off,net=10.0.2.0/24,host=10.0.2.2,dns=10.0.2.3 \
            -netdev dgram,id=s,local.type=unix,local.path=theirs,remote.type=unix,remote.path=ours \
            -netdev hubport,hubid=0,id=a,netdev=u -netdev hubport,hubid=0,id=b,netdev=s \
            -sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";
        let qemu = Process::start(Command {
            program: PROGRAM.to_owned(),
            arguments: line.split_whitespace().map(str::to_owned).collect(),
            folder: folder.path(),
            output: None,
            inherited: Vec::new(),
            fenced,
        });
        let qemu = qemu.unwrap();
        qemu.answer(|| wire.connect(folder.path().join("theirs"))).unwrap();
        // It must know the guest's MAC address before it answers.
        wire.send(&question::arp_answer(GUEST.0, GUEST.1)).unwrap();
        wire.send(&knock(at, 40000)).unwrap();
        let mut buffer = [0; 2048];
        loop {
            let length = wire.recv(&mut buffer).unwrap();
            match frame::read(&buffer[..length]) {
                Some(Said::Accepted { port, .. }) if port == at.port() => return true,
                Some(Said::Refused { port, .. }) if port == at.port() => return false,
                _ => {}
            }
        }
    }

    #[test]
    fn a_guest_of_qemus_network_does_not_reach_this_hosts_services() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = SocketAddrV4::new(Ipv4Addr::new(10, 0, 2, 2), listener.local_addr().unwrap().port());
        // Without a fence it does: the test would see it.
        assert!(accepts(false, at));
        assert!(!accepts(true, at));
        assert!(!accepts(true, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, at.port())));
    }
}
