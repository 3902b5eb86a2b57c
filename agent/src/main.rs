//! `oauth-agent`: says over HTTP whether this guest is really up.
//!
//! `GET /health` asks each service a question that only a working one answers (an X server must shake hands, a window
//! manager must own its check window, a VNC server must send its banner, a web server must deliver a page), looks at
//! the network interface through the kernel, and answers 200, or 503 with the names and reasons of what failed.
//! `oauth-agent wait` asks one such question until it is answered: units use it for readiness.

mod check;
mod cmdline;
mod health;
mod http;
mod json;
mod netlink;
mod network;
mod notify;
mod options;
mod server;
mod x11;

use options::Command;
use std::process::ExitCode;

fn main() -> ExitCode {
    let command = match options::parse(std::env::args().skip(1)) {
        Ok(command) => command,
        Err(error) => {
            eprintln!("oauth-agent: {error}\n\n{}", options::USAGE);
            return ExitCode::from(2);
        }
    };
    let done = match command {
        Command::Help => {
            println!("{}", options::USAGE);
            return ExitCode::SUCCESS;
        }
        Command::Serve(serve) => server::run(&serve),
        Command::Report(serve) => health::print(&serve),
        Command::Wait(wait) => check::wait(&wait),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("oauth-agent: {error}");
            ExitCode::FAILURE
        }
    }
}
