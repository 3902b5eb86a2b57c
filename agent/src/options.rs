//! The command line: strings → a [`Command`] in which every value is valid.

use crate::check::Check;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What `--help` prints.
pub const USAGE: &str = "\
oauth-agent serve [OPTIONS]          answers GET /health over HTTP
oauth-agent report [OPTIONS]         prints the same document once; status 1 when something failed
oauth-agent wait CHECK [--timeout S] [--pid PID]
                                     returns once CHECK passes; fails after S seconds (60), or when process PID is gone

OPTIONS
  --listen ADDRESS:PORT   where to serve (0.0.0.0:8080)
  --interface NAME        the interface that must have an address (eth0)
  --check NAME=CHECK      something that must answer; may be repeated
  --parameter NAME        a boot parameter to report from /proc/cmdline; may be repeated

CHECK
  x11:DISPLAY             the X server of this display completes the connection handshake
  wm:DISPLAY              a window manager owns this display (_NET_SUPPORTING_WM_CHECK)
  rfb:PORT, rfb:PATH      a VNC server on this local port, or this socket, sends its banner
  http:PORT/PATH          a web server on this local port answers 200 for this path";

/// What the process was asked to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Command {
    /// Serve `GET /health`.
    Serve(Serve),
    /// Print the health document once.
    Report(Serve),
    /// Wait until a check passes.
    Wait(Wait),
    /// Print the usage.
    Help,
}

/// What to wait for.
#[derive(Debug, PartialEq, Eq)]
pub struct Wait {
    /// What must pass.
    pub check: Check,
    /// How long it may take.
    pub timeout: Duration,
    /// The process that will pass it: waiting ends when it is gone.
    pub pid: Option<u32>,
}

/// What to watch and where to serve it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The interface that must have an address.
    pub interface: String,
    /// What must answer, by name, in order.
    pub checks: Vec<(String, Check)>,
    /// The boot parameters to report.
    pub parameters: Vec<String>,
}

impl Default for Serve {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8080)),
            interface: "eth0".into(),
            checks: Vec::new(),
            parameters: Vec::new(),
        }
    }
}

/// Reads the arguments after the program's name.
pub fn parse(args: impl IntoIterator<Item = String>) -> Result<Command, String> {
    let mut args = args.into_iter();
    match args.next().as_deref() {
        Some("serve") => Ok(Command::Serve(parse_serve(args)?)),
        Some("report") => Ok(Command::Report(parse_serve(args)?)),
        Some("wait") => parse_wait(args),
        Some("help" | "--help" | "-h") => Ok(Command::Help),
        Some(other) => Err(format!("`{other}` is not a command")),
        None => Err("a command is missing".into()),
    }
}

fn parse_serve(mut args: impl Iterator<Item = String>) -> Result<Serve, String> {
    let mut serve = Serve::default();
    while let Some(option) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("`{option}` needs a value"));
        match option.as_str() {
            "--listen" => {
                let text = value()?;
                serve.listen = text.parse().map_err(|_| format!("`{text}` is not ADDRESS:PORT"))?;
            }
            "--interface" => serve.interface = interface_name(value()?)?,
            "--check" => {
                let text = value()?;
                let (name, check) = text.split_once('=').ok_or_else(|| format!("`{text}` is not NAME=CHECK"))?;
                serve.checks.push((name.to_owned(), check.parse()?));
            }
            "--parameter" => serve.parameters.push(value()?),
            _ => return Err(format!("`{option}` is not an option")),
        }
    }
    Ok(serve)
}

fn parse_wait(mut args: impl Iterator<Item = String>) -> Result<Command, String> {
    let check = args.next().ok_or("`wait` needs a CHECK")?.parse()?;
    let mut wait = Wait { check, timeout: Duration::from_secs(60), pid: None };
    while let Some(option) = args.next() {
        let value = args.next().ok_or_else(|| format!("`{option}` needs a value"))?;
        let number = || value.parse::<u32>().map_err(|_| format!("`{value}` is not a whole number"));
        match option.as_str() {
            "--timeout" => wait.timeout = Duration::from_secs(number()?.into()),
            "--pid" => wait.pid = Some(number()?),
            _ => return Err(format!("`{option}` is not an option")),
        }
    }
    Ok(Command::Wait(wait))
}

/// The kernel's rule for names (`dev_valid_name`): at most 15 bytes, no `/`, no white space, not `.` or `..`.
fn interface_name(name: String) -> Result<String, String> {
    let odd = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > 15 || name == "." || name == ".." || name.contains(odd) {
        return Err(format!("`{name}` is not an interface name"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Command, String> {
        parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn serve_takes_its_defaults_and_everything_it_is_told() {
        assert_eq!(words("serve"), Ok(Command::Serve(Serve::default())));
        let Ok(Command::Serve(serve)) = words(
            "serve --listen 127.0.0.1:9 --interface lo --check xvfb=x11:0 --check web=http:6080/vnc.html --parameter decodo_port",
        ) else {
            panic!("the line is valid");
        };
        assert_eq!(serve.listen.port(), 9);
        assert_eq!(serve.interface, "lo");
        assert_eq!(serve.checks.len(), 2);
        assert_eq!(serve.parameters, ["decodo_port"]);
    }

    #[test]
    fn wrong_lines_are_refused_with_the_word_that_is_wrong() {
        for (line, word) in [
            ("", "command"),
            ("dance", "dance"),
            ("serve --listen", "--listen"),
            ("serve --listen here", "here"),
            ("serve --interface a/b", "a/b"),
            ("serve --check x11:0", "x11:0"),
            ("serve --check a=b", "b"),
            ("serve --colour", "--colour"),
            ("wait", "CHECK"),
            ("wait x11:0 --timeout soon", "soon"),
        ] {
            let Err(error) = words(line) else { panic!("`{line}` was taken") };
            assert!(error.contains(word), "`{line}`: {error}");
        }
    }

    #[test]
    fn wait_takes_a_check_and_a_time() {
        let wait = Wait { check: Check::X11(7), timeout: Duration::from_secs(3), pid: Some(12) };
        assert_eq!(words("wait x11:7 --timeout 3 --pid 12"), Ok(Command::Wait(wait)));
    }
}
