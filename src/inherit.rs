//! What whoever started this program had open stays with this program. Uses no other room.
//!
//! A shell with `exec 9<DIR`, flock(1) or a supervisor leaves descriptors open in what it starts. Handed on, they would let a
//! build step read DIR or write into it, whatever its root is, and a guest's emulator too. Descriptors that a child is meant
//! to have are given to it by name, each in its place.

use std::io;

/// From now on no descriptor but standard input, output and error outlives the start of another program. Must be the first
/// call of `main`; a child that is about to become another program calls it too, for what was opened since. It allocates
/// nothing, so it may be called between fork and exec. Source: close_range(2).
///
/// # Errors
/// On a kernel without `close_range` and its flag (before Linux 5.11).
pub fn nothing() -> io::Result<()> {
    above_the_standard_three(libc::CLOSE_RANGE_CLOEXEC)
}

/// Closes every descriptor but the standard three, for a child that goes on in this program.
///
/// # Safety
/// Nothing in this process may own or use a descriptor above them any more.
///
/// # Errors
/// On a kernel without `close_range` (before Linux 5.9).
pub unsafe fn closed() -> io::Result<()> {
    above_the_standard_three(0)
}

fn above_the_standard_three(flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: the call takes numbers only; who closes answers for it.
    let status = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, flags) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
