//! The `goldsmith` command. Everything it does is a function of the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    if let Err(error) = goldsmith::inherit::nothing() {
        eprintln!(
            "error: cannot keep inherited descriptors from other programs: {error}\nhelp: Linux 5.11 or newer is needed"
        );
        return ExitCode::FAILURE;
    }
    goldsmith::sandbox::init();
    goldsmith::cli::main()
}
