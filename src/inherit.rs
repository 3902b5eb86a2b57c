//! What whoever started this program had open stays with this program. Uses no other room.
//!
//! A shell with `exec 9<DIR`, flock(1) or a supervisor leaves descriptors open in what it starts. Handed on, they would let a
//! build step read DIR or write into it, whatever its root is, and a guest's emulator too. Descriptors that a child is meant
//! to have are given to it by name, each in its place.

use std::io;

/// From now on no descriptor but standard input, output and error outlives the start of another program. Must be the first
/// call of `main`.
///
/// # Errors
/// On a kernel without `close_range` and its flag (before Linux 5.11).
pub fn nothing() -> io::Result<()> {
    // SAFETY: marks descriptors; closes none, and touches no memory.
    let status = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
