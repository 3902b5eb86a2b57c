//! The canary: a machine of one processor and 64 KiB that runs `guest.s`.
//!
//! Source: KVM `Documentation/virt/kvm/api.rst`; AMD64 Architecture Programmer's Manual, volume 2, chapters 1, 4 and 14.

use super::Broken;
use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_pit_config, kvm_regs, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use std::os::unix::thread::JoinHandleExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

/// How long it may take. It needs some ten milliseconds.
const PATIENCE: Duration = Duration::from_secs(2);
/// Where its code is put and begins.
const CODE: usize = 0x1000;
/// Page tables of three levels that map the first 2 MiB and those of the [`APIC`] to themselves; descriptors; interrupt gates.
const TABLES: [usize; 3] = [0x2000, 0x3000, 0x4000];
const GDT: usize = 0x5000;
const IDT: usize = 0x6000;
/// The processor's own interrupt controller.
const APIC: usize = 0xfee0_0000;
/// Three pages that KVM on Intel wants behind every guest's memory.
const TSS: usize = 0xfffb_d000;
/// The port that it speaks on.
const PORT: u16 = 0x402;
/// What it says when it is through.
const THROUGH: u8 = b'.';

core::arch::global_asm!(include_str!("guest.s"), options(att_syntax));

unsafe extern "C" {
    static goldsmith_canary: u8;
    static goldsmith_canary_interrupt: u8;
    static goldsmith_canary_end: u8;
}

/// The bytes of a page.
const PAGE: usize = 0x1000;
/// How many pages it has.
const PAGES: usize = 16;

/// A page, where KVM wants one to begin.
#[derive(Clone)]
#[repr(align(4096))]
struct Page([u8; PAGE]);

/// Its memory.
struct Memory(Vec<Page>);

impl Memory {
    /// Memory with this code at [`CODE`], and an interrupt gate for the timer that leads to `handler` bytes behind there.
    fn new(code: &[u8], handler: usize) -> Self {
        let mut memory = Self(vec![Page([0; PAGE]); PAGES]);
        // Nothing that is put there crosses the end of a page.
        let mut put = |at: usize, bytes: &[u8]| {
            let page = memory.0.get_mut(at / PAGE).and_then(|page| page.0.get_mut(at % PAGE..));
            page.into_iter().flatten().zip(bytes).for_each(|(place, byte)| *place = *byte);
        };
        put(CODE, code);
        let [top, middle, low] = TABLES;
        // Present and writable; in the last, pages of 2 MiB. One table serves the first and the fourth GiB.
        let entries = [
            (top, middle | 3),
            (middle, low | 3),
            (middle + 8 * 3, low | 3),
            (low, 0x83),
            (low + 8 * (APIC >> 21 & 0x1ff), APIC | 0x83),
        ];
        for (at, entry) in entries {
            put(at, &(entry as u64).to_le_bytes());
        }
        // Code and data of 32 bits, code of 64 bits.
        for (index, entry) in
            [0, 0x00cf_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0x00af_9b00_0000_ffff_u64].iter().enumerate()
        {
            put(GDT + 8 * index, &entry.to_le_bytes());
        }
        let handler = (CODE + handler) as u64;
        let gate = (handler & 0xffff) | 0x18 << 16 | 0x8e00 << 32 | (handler >> 16) << 48;
        put(IDT + 16 * 0x20, &gate.to_le_bytes());
        memory
    }

    /// Memory with `guest.s`.
    fn with_guest() -> Self {
        let [start, handler, end] =
            [&raw const goldsmith_canary, &raw const goldsmith_canary_interrupt, &raw const goldsmith_canary_end];
        // SAFETY: `guest.s` puts the three names into one section, in this order.
        let code = unsafe { std::slice::from_raw_parts(start, end as usize - start as usize) };
        Self::new(code, handler as usize - start as usize)
    }
}

/// Runs the guest.
///
/// # Errors
/// What it has not survived.
pub fn run() -> Result<(), Broken> {
    watched(Memory::with_guest(), PATIENCE)
}

/// Runs what memory holds, on a thread of its own that is called back from a guest which does not end.
fn watched(memory: Memory, patience: Duration) -> Result<(), Broken> {
    let signal = libc::SIGRTMIN();
    // SAFETY: the handler does nothing; what counts is that a system call ends.
    let registered = unsafe { signal_hook::low_level::register(signal, || {}) };
    let registered = registered.map_err(|error| broken(&format!("the canary cannot be watched: {error}")))?;
    let late = Arc::new(AtomicBool::new(false));
    let (tell, told) = mpsc::channel();
    let machine = {
        let late = Arc::clone(&late);
        thread::spawn(move || tell.send(machine(&memory, &late)))
    };
    let mut outcome = told.recv_timeout(patience);
    while matches!(outcome, Err(mpsc::RecvTimeoutError::Timeout)) {
        late.store(true, Ordering::Relaxed);
        // SAFETY: the thread has not been joined, so the handle is still its own.
        unsafe { libc::pthread_kill(machine.as_pthread_t(), signal) };
        outcome = told.recv_timeout(Duration::from_millis(10));
    }
    let _ = machine.join();
    signal_hook::low_level::unregister(registered);
    outcome.unwrap_or_else(|_| Err(broken("the canary's thread has panicked")))
}

/// Makes the machine and runs it until it is through or stops. `late`: it has taken too long.
fn machine(memory: &Memory, late: &AtomicBool) -> Result<(), Broken> {
    let made = make(memory).map_err(|error| broken(&format!("no virtual machine can be made: {error}")));
    let (_vm, mut processor) = made?;
    let mut said = None;
    let stopped = loop {
        match processor.run() {
            Ok(VcpuExit::IoOut(PORT, [THROUGH])) => return Ok(()),
            Ok(VcpuExit::IoOut(PORT, [letter])) => said = Some(*letter),
            Ok(VcpuExit::InternalError) => break "KVM reports an internal error".to_owned(),
            Ok(VcpuExit::Shutdown) => break "the processor shuts down".to_owned(),
            Ok(exit) => break format!("KVM reports {exit:?}"),
            // A signal, this program's or another's.
            Err(error) if error.errno() == libc::EINTR && late.load(Ordering::Relaxed) => {
                break "it never ends".to_owned();
            }
            Err(error) if matches!(error.errno(), libc::EINTR | libc::EAGAIN) => {}
            Err(error) => break error.to_string(),
        }
    };
    Err(broken(&format!("a virtual machine starts, and does not survive {}: {stopped}", step(said))))
}

/// The step behind a letter of `guest.s`.
fn step(said: Option<u8>) -> &'static str {
    match said {
        None => "its first instruction",
        Some(b'p') => "the switch to protected mode",
        Some(b'l') => "the switch to 64-bit mode",
        Some(b's') => "an SSE instruction",
        Some(b'a') => "an AVX instruction",
        Some(b'z') => "an AVX-512 instruction",
        _ => "an interrupt from the timer",
    }
}

fn make(memory: &Memory) -> Result<(VmFd, VcpuFd), kvm_ioctls::Error> {
    let kvm = Kvm::new()?;
    let vm = kvm.create_vm()?;
    vm.set_tss_address(TSS)?;
    vm.create_irq_chip()?;
    vm.create_pit2(kvm_pit_config::default())?;
    let region = kvm_userspace_memory_region {
        slot: 0,
        flags: 0,
        guest_phys_addr: 0,
        memory_size: (memory.0.len() * PAGE) as u64,
        userspace_addr: memory.0.as_ptr() as u64,
    };
    // SAFETY: the memory is page-aligned and outlives the machine: the caller holds both, and drops the machine first.
    unsafe { vm.set_user_memory_region(region)? };
    let processor = vm.create_vcpu(0)?;
    processor.set_cpuid2(&kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)?)?;
    let mut special = processor.get_sregs()?;
    (special.cs.base, special.cs.selector) = (0, 0);
    processor.set_sregs(&special)?;
    processor.set_regs(&kvm_regs { rip: CODE as u64, rflags: 2, ..kvm_regs::default() })?;
    Ok((vm, processor))
}

fn broken(message: &str) -> Broken {
    let help =
        "virtualisation is broken below this host: ask for nested virtualisation, or a machine that is not virtual";
    Broken { message: message.to_owned(), help: help.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;

    /// QEMU's emulator survives every step, so the guest's code is right. It comes as a firmware that copies itself to the
    /// beginning of memory.
    #[test]
    fn the_guest_comes_through_where_instructions_are_run() {
        if Command::new("qemu-system-x86_64").arg("--version").output().is_err() {
            assert!(std::env::var_os("CI").is_none(), "this needs QEMU: apt-get install qemu-system-x86");
            return;
        }
        let mut firmware: Vec<u8> = Memory::with_guest().0.iter().flat_map(|page| page.0).collect();
        // mov ax, 0xf000; mov ds, ax; xor ax, ax; mov es, ax; xor si, si; xor di, di; mov cx, 0x7f00; cld; rep movsw; jmp 0:0x1000
        let copier = [
            0xb8, 0x00, 0xf0, 0x8e, 0xd8, 0x31, 0xc0, 0x8e, 0xc0, 0x31, 0xf6, 0x31, 0xff, 0xb9, 0x00, 0x7f, 0xfc, 0xf3,
            0xa5, 0xea, 0x00, 0x10, 0x00, 0x00,
        ];
        firmware[0xff00..0xff00 + copier.len()].copy_from_slice(&copier);
        // The reset vector: jmp 0xf000:0xff00
        firmware[0xfff0..0xfff5].copy_from_slice(&[0xea, 0x00, 0xff, 0x00, 0xf0]);
        let folder = tempfile::tempdir().unwrap();
        let (rom, said) = (folder.path().join("rom"), folder.path().join("said"));
        fs::write(&rom, firmware).unwrap();
        let arguments = "-M pc -accel tcg -cpu max -m 16 -nodefaults -no-user-config -display none -device isa-debugcon,iobase=0x402,chardev=said -bios";
        let mut qemu = Command::new("qemu-system-x86_64")
            .args(arguments.split(' '))
            .arg(&rom)
            .arg("-chardev")
            .arg(format!("file,id=said,path={}", said.display()))
            .spawn()
            .unwrap();
        let mut text = String::new();
        for _ in 0..600 {
            text = fs::read_to_string(&said).unwrap_or_default();
            if text.ends_with('.') {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        qemu.kill().unwrap();
        qemu.wait().unwrap();
        // No emulator has AVX-512, and older ones no AVX.
        assert!(["plsat.", "plst."].contains(&text.as_str()), "{text}");
    }

    /// A guest that spins does not hold whoever asked.
    #[test]
    fn a_guest_that_never_ends_is_called_back() {
        // jmp to itself, in real mode.
        let memory = Memory::new(&[0xeb, 0xfe], 0);
        // Without KVM, or where it makes no machine, there is no guest to call back.
        if make(&memory).is_err() {
            return;
        }
        let outcome = watched(memory, Duration::from_millis(50));
        let message = outcome.unwrap_err().message;
        assert!(message.contains("its first instruction"), "{message}");
    }
}
