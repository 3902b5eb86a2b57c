//! The `goldsmith` command. Everything it does is a function of the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    goldsmith::sandbox::init();
    goldsmith::cli::main()
}
