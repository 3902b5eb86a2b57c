//! `verify`, `inspect` and `diff` on an ext4 image with edits.
#![no_main]

use goldsmith::boot::{KernelArgs, KernelFacts};
use goldsmith::findings::render::Format;
use goldsmith::image::{self, Inventory, View};
use goldsmith::network::{self, Inputs};
use goldsmith::values::GuestPath;
use goldsmith_fuzz::choices::Choices;
use goldsmith_fuzz::ext4::{self, Base};
use goldsmith_fuzz::files;
use libfuzzer_sys::fuzz_target;
use std::path::Path;
use std::sync::LazyLock;

static BASES: LazyLock<Vec<(Base, Inventory)>> = LazyLock::new(|| {
    let inventory = |base: &Base| image::of_image(files::anonymous(&base.bytes), Path::new("base")).unwrap_or_default();
    ext4::bases().into_iter().map(|base| (inventory(&base), base)).map(|(inventory, base)| (base, inventory)).collect()
});
/// How many paths are looked at.
const MOST: usize = 200;

fuzz_target!(
    init: {
        LazyLock::force(&BASES);
        tolerate_mkext4();
    },
    |bytes: &[u8]| {
        let mut choices = Choices(bytes);
        let (base, before) = choices.one(&BASES);
        let bytes = ext4::edited(base, &mut choices);
        if let Some(path) = std::env::var_os("GOLDSMITH_FUZZ_IMAGE") {
            std::fs::write(path, &bytes).expect("the image, kept");
        }
        let file = files::anonymous(&bytes);
        if let Ok(view) = View::open(file.try_clone().expect("a descriptor"), Path::new("image")) {
            inspect(&view);
            verify(&view);
        }
        if let Ok(after) = image::of_image(file, Path::new("image")) {
            let text: String = image::diff(before, &after).iter().map(ToString::to_string).collect();
            assert!(text.len() < 64 << 20);
        }
    }
);

fn inspect(view: &View) {
    let mut todo = vec![GuestPath::root()];
    let mut seen = 0;
    while let Some(path) = todo.pop().filter(|_| seen < MOST) {
        seen += 1;
        goldsmith::cli::fuzz::line(view, &path);
        let _ = (view.stat(&path), view.read_link(&path), view.resolve(&path), view.read(&path, 1 << 20));
        let _ = view.copy(&path, &mut std::io::sink());
        // Not through links, which would end nowhere.
        if view.locate(&path).ok().flatten().as_ref() == Some(&path) {
            let names = view.names(&path).ok().flatten().unwrap_or_default();
            todo.extend(names.iter().take(MOST).filter_map(|name| path.join(name).ok()));
        }
    }
}

fn verify(view: &View) {
    let _ = view.must_fill_its_file();
    let Ok(snapshot) = network::capture("image", view) else { return };
    let args = KernelArgs::parse("net.ifnames=0 ip=10.0.0.2::10.0.0.1:255.255.255.0::eth0:on");
    let network = network::evaluate(&Inputs::new(snapshot, args, KernelFacts::default()));
    let _ = (Format::Human.render(&network.findings, &[], true), goldsmith::cli::fuzz::pages(&network));
}

/// What panics in mkext4's reader is caught where it is used and means a damaged image; libFuzzer's hook would end it all.
fn tolerate_mkext4() {
    let other = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.location().is_none_or(|location| !location.file().contains("/mkext4-")) {
            other(panic);
        }
    }));
}
