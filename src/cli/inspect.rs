//! `goldsmith inspect`: what is in an image, without mounting it.

use super::terminal;
use crate::image::{self, Kind, Stat, View};
use crate::values::{GuestPath, escaped};
use clap::{Subcommand, ValueEnum};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Look into an image without mounting it
///
/// Nothing in the image is trusted or run, no privileges are needed, and only the blocks that matter are read.
///
/// Example: goldsmith inspect net images/desktop
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// List a directory: mode, owner, size, name.
    ///
    /// Example: goldsmith inspect ls images/desktop /etc/netplan
    Ls(Place),
    /// Write a file's bytes to standard output. Symbolic links are followed inside the image.
    ///
    /// Example: goldsmith inspect cat images/desktop /etc/netplan/01-netcfg.yaml
    Cat(Place),
    /// Explain the network: who configures it at each stage, which file wins, what the host must provide.
    ///
    /// Example: goldsmith inspect net images/desktop
    Net(Box<super::verify::Subject>),
    /// Show what is known of a path; a symbolic link is not followed.
    Stat {
        #[command(flatten)]
        place: Place,
        /// How to print it.
        #[arg(long, value_enum, default_value_t = Format::Human)]
        format: Format,
    },
}

#[derive(clap::Args)]
struct Place {
    /// An image: an `.ext4` file, or a folder that `goldsmith build` wrote.
    image: PathBuf,
    /// An absolute path in it.
    #[arg(default_value = "/")]
    path: GuestPath,
}

/// How a result is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people.
    Human,
    /// For programs.
    Json,
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Image(#[from] image::Error),
    #[error("{path} is not in {}", image.display())]
    Missing { image: PathBuf, path: GuestPath },
    #[error("{path} in {} is not {what}", image.display())]
    Kind { image: PathBuf, path: GuestPath, what: &'static str },
    #[error("cannot write the output")]
    Output(#[from] std::io::Error),
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    if let What::Net(subject) = &args.what {
        return super::inspect_net::run(subject);
    }
    let mut out = std::io::stdout().lock();
    let result = match args.what {
        What::Net(_) => Ok(()),
        What::Ls(place) => place.list(&mut out),
        What::Cat(place) => place.cat(&mut out),
        What::Stat { place, format } => place.stat(format, &mut out),
    };
    match result.and_then(|()| Ok(out.flush()?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            terminal::fail(&error);
            ExitCode::FAILURE
        }
    }
}

impl Place {
    fn view(&self) -> Result<View, Error> {
        Ok(View::open_path(&image::file_of(&self.image))?)
    }

    fn missing(&self) -> Error {
        Error::Missing { image: self.image.clone(), path: self.path.clone() }
    }

    fn wrong(&self, what: &'static str) -> Error {
        Error::Kind { image: self.image.clone(), path: self.path.clone(), what }
    }

    fn list(&self, out: &mut dyn Write) -> Result<(), Error> {
        let view = self.view()?;
        let place = view.resolve(&self.path)?.ok_or_else(|| self.missing())?;
        let Some(names) = view.names(&place)? else {
            return line(&view, &place, out);
        };
        for name in names {
            let path = place.join(&name).map_err(|_| self.missing())?;
            line(&view, &path, out)?;
        }
        Ok(())
    }

    fn cat(&self, out: &mut dyn Write) -> Result<(), Error> {
        let view = self.view()?;
        view.resolve(&self.path)?.ok_or_else(|| self.missing())?;
        view.copy(&self.path, out)?.ok_or_else(|| self.wrong("a regular file"))?;
        Ok(())
    }

    fn stat(&self, format: Format, out: &mut dyn Write) -> Result<(), Error> {
        let view = self.view()?;
        let stat = view.stat(&self.path)?.ok_or_else(|| self.missing())?;
        let target = view.read_link(&self.path)?;
        let resolved = view.resolve(&self.path)?;
        let owner = format!("{}:{}", stat.uid, stat.gid);
        let mode = format!("{:04o}", stat.mode);
        if format == Format::Json {
            let document = serde_json::json!({
                "path": self.path, "kind": stat.kind, "mode": mode, "uid": stat.uid, "gid": stat.gid,
                "size": stat.size, "mtime": stat.mtime, "target": target, "resolved": resolved,
            });
            writeln!(out, "{document:#}")?;
            return Ok(());
        }
        let target = target.map(|target| printable(&target));
        let resolved = resolved.filter(|path| *path != self.path).map(|path| printable(path.as_str()));
        let rows = [
            ("path", Some(printable(self.path.as_str()))),
            ("type", Some(stat.kind.to_string())),
            ("mode", Some(mode)),
            ("owner", Some(owner)),
            ("size", Some(stat.size.to_string())),
            ("mtime", Some(stat.mtime.to_string())),
            ("target", target),
            ("leads to", resolved),
        ];
        for (name, value) in rows.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            writeln!(out, "{name:9} {value}")?;
        }
        Ok(())
    }
}

pub(super) fn line(view: &View, path: &GuestPath, out: &mut dyn Write) -> Result<(), Error> {
    let Some(stat) = view.stat(path)? else { return Ok(()) };
    let target = view.read_link(path)?.map(|target| format!(" -> {}", printable(&target))).unwrap_or_default();
    let owner = format!("{}:{}", stat.uid, stat.gid);
    writeln!(out, "{} {owner:>11} {:>11} {}{target}", permissions(&stat), stat.size, printable(path.name()))?;
    Ok(())
}

/// Text from an image with control characters made visible: a name must not steer the terminal.
pub(super) fn printable(text: &str) -> String {
    escaped(text).into_owned()
}

/// `drwxr-xr-x`, as `ls -l` has it.
fn permissions(stat: &Stat) -> String {
    let kind = match stat.kind {
        Kind::Directory => 'd',
        Kind::File => '-',
        Kind::Symlink => 'l',
        Kind::CharDevice => 'c',
        Kind::BlockDevice => 'b',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
    };
    let mut text = String::from(kind);
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = stat.mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (stat.mode & special != 0, bits & 1 != 0) {
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_read_as_ls_prints_them() {
        let text = |mode| permissions(&Stat { kind: Kind::File, mode, uid: 0, gid: 0, size: 0, mtime: 0 });
        assert_eq!(
            [text(0o4755), text(0o1777), text(0o2640), text(0)],
            ["-rwsr-xr-x", "-rwxrwxrwt", "-rw-r-S---", "----------"]
        );
        assert_eq!(printable("a\x1b[31m\n"), "a\\u{1b}[31m\\n");
    }
}
