//! Bytes as an ext4 image: opened, read, judged. Must not panic, hang or take memory without bound.
#![no_main]

use goldsmith::boot::{KernelArgs, KernelFacts};
use goldsmith::image::View;
use goldsmith::network::{self, Inputs};
use libfuzzer_sys::fuzz_target;
use std::fs::File;
use std::io::Write;
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    let memory = rustix::fs::memfd_create("image", rustix::fs::MemfdFlags::CLOEXEC).expect("memory for an image");
    let mut file = File::from(memory);
    file.write_all(bytes).expect("memory for an image");
    // Most inputs are cut off; that alone is refused and teaches nothing.
    file.set_len(file.metadata().expect("memory for an image").len().max(1 << 30)).expect("memory for an image");
    let Ok(view) = View::open(file, Path::new("image")) else { return };
    let Ok(snapshot) = network::capture("image", &view) else { return };
    let args = KernelArgs::parse("net.ifnames=0 ip=10.0.0.2::10.0.0.1:255.255.255.0::eth0:on");
    let _ = network::evaluate(&Inputs::new(snapshot, args, KernelFacts::default()));
});
