//! `verify` and `launch --dry-run` on an image folder whose manifest has edits, or whose files are something else.
#![no_main]

use goldsmith::boot::{KernelArgs, KernelFacts};
use goldsmith::findings::render::Format;
use goldsmith::gate::{self, Memory, Request};
use goldsmith::image::{View, verity};
use goldsmith::launch::{Accelerator, Model, Options, Vm};
use goldsmith::network::{self, Inputs};
use goldsmith::progress::Silent;
use goldsmith::values::Sha256;
use goldsmith_fuzz::choices::Choices;
use goldsmith_fuzz::{ext4, files, json};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use tempfile::TempDir;

struct Place {
    root: TempDir,
    folder: PathBuf,
    manifest: Value,
}

static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let root = files::folder();
    let folder = root.path().join("image");
    fs::create_dir(&folder).expect("a folder");
    // SAFETY: there is one thread yet.
    unsafe { std::env::set_var("GOLDSMITH_STATE", root.path().join("state")) };
    let mut manifest = manifest();
    let files = [("/image", ext4::own()), ("/kernel/vmlinuz", vec![1; 9000]), ("/kernel/vmlinux", vec![2; 5000]), ("/initrd", vec![3; 100])];
    for (place, bytes) in files {
        let entry = manifest.pointer_mut(place).expect("an entry");
        let path = folder.join(entry["file"].as_str().expect("a name"));
        fs::write(&path, &bytes).expect("a file");
        entry["size"] = json!(bytes.len());
        entry["digest"] = json!(verity::digest(&File::open(&path).expect("a file")).expect("a digest").to_string());
    }
    let place = Place { root, folder, manifest };
    place.write(&place.manifest);
    // Nothing after this is worth anything if what is sound does not pass.
    let manifest = gate::manifest(&place.folder).expect("a sound manifest");
    let verdict = gate::check(&place.folder, &manifest, &Request::default()).expect("a sound folder");
    assert!(verdict.findings.iter().all(|finding| finding.rule != "IMG-001"), "{:?}", verdict.findings);
    place
});

/// A manifest that has every kind of entry; what depends on the files is put in later.
fn manifest() -> Value {
    let image = files::anonymous(&ext4::own());
    let view = View::open(image, Path::new("image")).expect("an image");
    let snapshot = network::capture("image", &view).expect("an image");
    let participants = snapshot.participants();
    let inputs = Inputs::new(snapshot, KernelArgs::parse("net.ifnames=0"), KernelFacts::default());
    let (address, gateway) = ("192.168.100.12/24", "192.168.100.1");
    let tcp = json!({ "name": "vnc", "tcp": { "port": 5900, "banner": "RFB " }, "timeout_seconds": 120 });
    let http = json!({ "port": 8080, "path": "/health" });
    json!({
        "schema": "goldsmith.manifest/v1",
        "name": "fuzzed",
        "architecture": "amd64",
        "image": { "file": "rootfs.ext4", "filesystem": "ext4", "uuid": view.uuid(), "label": "golden" },
        "kernel": { "vmlinuz": { "file": "vmlinuz" }, "vmlinux": { "file": "vmlinux" }, "release": "6.1.0-1-amd64", "facts": KernelFacts::default() },
        "initrd": { "file": "initrd.img" },
        "boot": {
            "args": ["console=ttyS0", "root=/dev/vda", "rw", "net.ifnames=0"],
            "parameters": {
                "decodo_port": { "type": "port", "optional": true },
                "word": { "type": "string", "optional": false, "default": "a", "description": "A word" },
            },
        },
        "network": {
            "declared": { "interface": "eth0", "mode": "static", "address": address, "gateway": gateway, "dns": [gateway] },
            "files": participants,
            "effective": network::evaluate(&inputs).effective(),
        },
        "packages": { "lock": Sha256::of(b""), "count": 7 },
        "artifacts": [{ "path": "/usr/lib/agent", "sha256": Sha256::of(b""), "mode": "0755", "owner": "root:root" }],
        "probes": [{ "name": "agent", "http": http, "timeout_seconds": 120, "fragment": "token={secret}" }, tcp],
        "waivers": { "NET-K004": "known" },
        "provenance": { "recipe": Sha256::of(b""), "overlays": Sha256::of(b""), "tool": "0.1.0", "epoch": 0 },
    })
}

impl Place {
    fn write(&self, manifest: &Value) {
        fs::write(self.folder.join("manifest.json"), serde_json::to_vec(manifest).expect("a text")).expect("a file");
    }
}

fuzz_target!(
    init: {
        LazyLock::force(&PLACE);
    },
    |bytes: &[u8]| {
        let mut choices = Choices(bytes);
        let flags = choices.byte();
        let append = String::from_utf8_lossy(if flags & 1 == 1 { choices.bytes() } else { b"" }).into_owned();
        let mut manifest = PLACE.manifest.clone();
        json::edit(&mut manifest, &mut choices);
        PLACE.write(&manifest);
        verify(&PLACE.folder, &append);
        describe(&PLACE.folder, append);
        let inside: Vec<_> = fs::read_dir(PLACE.root.path()).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
        assert!(inside.len() <= 2, "something was written outside: {inside:?}");
    }
);

fn verify(folder: &Path, append: &str) {
    let Ok(manifest) = gate::manifest(folder) else { return };
    let Ok(args) = gate::arguments(&manifest.boot, &[], append, &[]) else { return };
    let memory = Memory::open(&PLACE.root.path().join("state/verified"));
    let Ok(verdict) = gate::check(folder, &manifest, &Request { args, memory, ..Request::default() }) else { return };
    for format in [Format::Human, Format::Json, Format::Sarif, Format::Github] {
        let _ = format.render(&verdict.findings, &gate::rules(), true);
    }
    let _ = goldsmith::cli::fuzz::pages(&verdict.network);
}

fn describe(folder: &Path, append: String) {
    let options = Options {
        append,
        model: Some(Model::Microvm),
        accelerator: Some(Accelerator::Emulation),
        ..Options::new(folder)
    };
    let _ = Vm::describe(&options, &Silent).map(|told| told.to_string());
}
