//! Unix sockets in a machine's folder.

use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// How long a VMM may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connects to the socket called `name`. It goes by the folder's descriptor: a socket's whole path may be longer than an
/// address can be (unix(7): 107 bytes).
pub fn connect(folder: &Path, name: &str) -> io::Result<UnixStream> {
    let folder = rustix::fs::open(folder, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let stream = UnixStream::connect(format!("/proc/self/fd/{}/{name}", folder.as_raw_fd()))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}
