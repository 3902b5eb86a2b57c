//! The system call filter: flushing to disk succeeds at once, what packages never need is refused.
//!
//! A build that dies is thrown away whole, so a flush inside it protects nothing and costs most of a package's
//! installation time. Source: seccomp(2), `include/uapi/linux/seccomp.h`.

use std::io;

/// Succeed without doing anything.
const FLUSHES: [libc::c_long; 6] = [
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync,
    libc::SYS_syncfs,
    libc::SYS_sync_file_range,
    libc::SYS_msync,
];

/// Fail with EPERM.
const REFUSED: [libc::c_long; 28] = [
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fsconfig,
    libc::SYS_mount_setattr,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_acct,
];

/// `AUDIT_ARCH_X86_64`, `include/uapi/linux/audit.h`.
#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
/// `AUDIT_ARCH_AARCH64`.
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Filters every later system call of this process and its children.
pub(super) fn install() -> io::Result<()> {
    let program = program();
    let header = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `header` points to `program`, which lives until the call returns; the kernel copies it.
    let status = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const header) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn program() -> Vec<libc::sock_filter> {
    let load = |offset| instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset);
    let jump = |value, yes, no| instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, yes, no, value);
    let give = |value| instruction(libc::BPF_RET | libc::BPF_K, 0, 0, value);
    let error = |errno: i32| libc::SECCOMP_RET_ERRNO | errno.cast_unsigned() & libc::SECCOMP_RET_DATA;
    // `struct seccomp_data`: number at 0, architecture at 4. Calls of another architecture (32-bit) end the process.
    let mut program = vec![load(4), jump(ARCHITECTURE, 1, 0), give(libc::SECCOMP_RET_KILL_PROCESS), load(0)];
    for (calls, errno) in [(&FLUSHES[..], 0), (&REFUSED[..], libc::EPERM)] {
        for call in calls {
            program.extend([jump(call.cast_unsigned() as u32, 0, 1), give(error(errno))]);
        }
    }
    program.push(give(libc::SECCOMP_RET_ALLOW));
    program
}

fn instruction(code: u32, yes: u8, no: u8, value: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: yes, jf: no, k: value }
}
