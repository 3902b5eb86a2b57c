//! Runs a static program in a sandbox whose tree holds nothing else, and prints what it says:
//! `sandbox PROGRAM [ARGUMENT…]`. The tests run it inside guests, under the kernels that are there.

use goldsmith::progress::{Event, Observer};
use goldsmith::sandbox::{self, Ids, Limits, Sandbox};
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::ExitCode;

struct Print;

impl Observer for Print {
    fn event(&self, event: Event) {
        if let Event::Detail(line) = event {
            println!("{line}");
        }
    }
}

fn main() -> ExitCode {
    sandbox::init();
    match run(&std::env::args().skip(1).collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let (program, rest) = arguments.split_first().ok_or("usage: sandbox PROGRAM [ARGUMENT…]")?;
    let tree = tempfile::tempdir_in("/var/tmp")?;
    let owner = Ids::here()?.outside(0);
    std::fs::copy(program, tree.path().join("program"))?;
    std::fs::set_permissions(tree.path().join("program"), PermissionsExt::from_mode(0o755))?;
    for folder in ["srv", "var", "var/tmp"] {
        std::fs::create_dir(tree.path().join(folder))?;
        chown(tree.path().join(folder), owner, owner)?;
    }
    chown(tree.path(), owner, owner)?;
    std::fs::set_permissions(tree.path(), PermissionsExt::from_mode(0o755))?;
    let argv: Vec<&str> = std::iter::once("/program").chain(rest.iter().map(String::as_str)).collect();
    let result = Sandbox::new(tree.path(), 0, Limits::default()).run(&argv, &Print);
    if let Ok(report) = std::fs::read_to_string(tree.path().join("srv/report")) {
        print!("{report}");
    }
    Ok(result?)
}
