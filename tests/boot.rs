//! The kernel's ELF, the module indexes and the initrd of a built image, judged by readelf, depmod, modprobe, and by
//! booting them.

mod common;

use common::{image, need, succeed};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[test]
fn the_extracted_kernel_is_an_elf_with_a_pvh_entry() {
    need("readelf", "apt-get install binutils");
    let vmlinux = image("minimal").join("vmlinux");
    let output = succeed(Command::new("readelf").args(["--wide", "-h", "-n"]).arg(&vmlinux));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("X86-64"), "{text}");
    // XEN_ELFNOTE_PHYS32_ENTRY: where PVH loaders (QEMU, Firecracker) enter.
    assert!(text.contains("Xen") && text.contains("0x00000012"), "{text}");
}

#[test]
fn the_module_indexes_are_those_that_depmod_writes() {
    need("depmod", "apt-get install kmod");
    need("debugfs", "apt-get install e2fsprogs");
    let folder = tempfile::tempdir().unwrap();
    let image = image("minimal").join("rootfs.ext4");
    let dump = format!("rdump /usr/lib/modules {}", folder.path().display());
    succeed(Command::new("debugfs").args(["-R", &dump]).arg(&image));
    let base = folder.path().join("base");
    fs::create_dir_all(base.join("lib")).unwrap();
    fs::rename(folder.path().join("modules"), base.join("lib/modules")).unwrap();
    let modules = fs::read_dir(base.join("lib/modules")).unwrap().next().unwrap().unwrap().path();
    let release = modules.file_name().unwrap().to_str().unwrap().to_owned();
    let ours = indexes(&modules);
    // modprobe reads our files before depmod replaces them.
    let shown = |module: &str| {
        let mut modprobe = Command::new("modprobe");
        modprobe.args(["--set-version", &release, "--show-depends", "--dirname"]).arg(&base).arg(module);
        String::from_utf8(succeed(&mut modprobe).stdout).unwrap().lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    let asked = ["virtio_net", "nfsv4", "wireguard", "fs-xfs", "net-pf-40", "pci:v00001AF4d00001041sv0sd0bc00sc00i00"];
    let answers = asked.map(shown);
    succeed(Command::new("depmod").arg("--basedir").arg(&base).arg(&release));
    let theirs = indexes(&modules);
    assert_eq!(asked.map(shown), answers);
    for name in ["modules.alias.bin", "modules.builtin.bin", "modules.builtin.alias.bin", "modules.symbols.bin"] {
        assert!(ours[name] == theirs[name], "{name} differs");
    }
    for name in ["modules.alias", "modules.softdep", "modules.devname"] {
        assert_eq!(lines(&ours[name]), lines(&theirs[name]), "{name}");
    }
    assert_eq!(dependencies(&ours["modules.dep"]), dependencies(&theirs["modules.dep"]));
}

fn indexes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file());
    files.map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())).collect()
}

fn lines(bytes: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(bytes).lines().map(str::to_owned).collect()
}

/// Module → what it needs. The order among independent modules is free.
fn dependencies(bytes: &[u8]) -> BTreeMap<String, BTreeSet<String>> {
    let entry = |line: String| {
        let (module, needs) = line.split_once(':').unwrap();
        (module.to_owned(), needs.split_whitespace().map(str::to_owned).collect())
    };
    lines(bytes).into_iter().map(entry).collect()
}

/// A root whose `/sbin/init` says that it runs, what it sees, and stops the machine.
struct Machine {
    folder: tempfile::TempDir,
    image: PathBuf,
}

const UUID: &str = "5b0f3c1e-7c3a-4a55-9a3e-0d2f5b8c6a01";
const INIT: &str = "#!/bin/busybox sh
echo \"guest: root on $(busybox mount | busybox grep ' on / ')\"
for nic in /sys/class/net/*; do echo \"guest: nic ${nic##*/}\"; done
echo \"guest: pid $$ done\"
busybox reboot -f
";

impl Machine {
    fn new() -> Self {
        need("qemu-system-x86_64", "apt-get install qemu-system-x86");
        need("mke2fs", "apt-get install e2fsprogs");
        let busybox = Path::new("/bin/busybox");
        assert!(busybox.exists(), "this test needs a static busybox: type `apt-get install busybox-static`");
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        for name in ["bin", "sbin", "dev", "proc", "sys"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::copy(busybox, root.join("bin/busybox")).unwrap();
        fs::write(root.join("sbin/init"), INIT).unwrap();
        succeed(Command::new("chmod").arg("755").arg(root.join("sbin/init")));
        let mut mke2fs = Command::new("mke2fs");
        mke2fs.args(["-q", "-t", "ext4", "-L", "little", "-U", UUID, "-d"]);
        succeed(mke2fs.arg(&root).arg(folder.path().join("root.ext4")).arg("16M"));
        Self { folder, image: image("minimal") }
    }

    /// Boots until the machine stops itself; returns the console.
    fn boot(&self, kernel: &str, args: &str) -> String {
        let console = self.folder.path().join(format!("{kernel}.log"));
        let disk = self.folder.path().join("root.ext4");
        let args = format!("console=ttyS0 reboot=t panic=1 net.ifnames=0 ip=dhcp {} {args}", tsc());
        let mut child = Command::new("qemu-system-x86_64")
            .args(["-M", "microvm,acpi=on", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "512"])
            .args(["-nodefaults", "-no-user-config", "-nographic", "-no-reboot"])
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .arg("-kernel")
            .arg(self.image.join(kernel))
            .arg("-initrd")
            .arg(self.image.join("initrd.img"))
            .args(["-append", &args, "-drive"])
            .arg(format!("id=d0,file={},format=raw,if=none,snapshot=on", disk.display()))
            .args(["-device", "virtio-blk-device,drive=d0"])
            .args(["-netdev", "user,id=n0", "-device", "virtio-net-device,netdev=n0"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while child.try_wait().unwrap().is_none() && started.elapsed() < Duration::from_secs(120) {
            std::thread::sleep(Duration::from_millis(100));
        }
        let in_time = child.try_wait().unwrap().is_some();
        let _ = child.kill();
        let _ = child.wait();
        let text = String::from_utf8_lossy(&fs::read(&console).unwrap_or_default()).into_owned();
        assert!(in_time, "the machine did not stop itself:\n{text}");
        text
    }
}

/// microvm has no timer to calibrate against, so an emulated guest on a busy host needs to be told.
fn tsc() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("cpu MHz")?.split_once(": "));
    let khz = line.and_then(|(_, mhz)| mhz.split('.').next()?.parse::<u32>().ok()).map_or(2_600_000, |mhz| mhz * 1000);
    format!("tsc_early_khz={khz}")
}

#[test]
fn the_initrd_finds_the_root_loads_the_nic_and_hands_over() {
    let machine = Machine::new();
    for (kernel, root) in [("vmlinuz", format!("root=UUID={UUID} ro")), ("vmlinux", "root=LABEL=little rw".to_owned())]
    {
        let console = machine.boot(kernel, &root);
        assert!(console.contains("guest: root on /dev/vda on / type ext4"), "{kernel} {root}:\n{console}");
        assert!(console.contains("guest: nic eth0"), "{console}");
        assert!(console.contains("guest: pid 1 done"), "{console}");
    }
}

#[test]
fn a_root_that_is_not_there_is_named_with_what_was_there_instead() {
    let console = Machine::new().boot("vmlinuz", "root=/dev/vdb rootfstype=ext4 rootdelay=1 rootwait rw");
    for words in
        ["/dev/vdb did not appear", "root=/dev/vdb rootfstype=ext4", "vda: 16 MiB", "little", UUID, "virtio_blk"]
    {
        assert!(console.contains(words), "{words}:\n{console}");
    }
}
