//! `goldsmith diff`: what differs between two images.

use super::inspect::{Format, printable};
use super::terminal;
use crate::door;
use crate::image::{self, Inventory};
use crate::tree;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Show what differs between two images: paths, types, modes, owners, contents, attributes
///
/// Exit status 0: the same; 1: something differs. `+` is only in the second, `-` only in the first, `~` in both but
/// changed. Block placement and other matters of the filesystem itself are not compared; the last line says whether
/// the files are the same byte by byte.
///
/// Example: goldsmith diff images/minimal images/static
#[derive(clap::Args)]
pub struct Args {
    /// An `.ext4` file, a folder that `goldsmith build` wrote, or a directory with a root filesystem in it.
    old: PathBuf,
    /// The same, to compare with.
    new: PathBuf,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Why two images cannot be compared.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Image(#[from] image::Error),
    #[error(transparent)]
    Tree(#[from] tree::Error),
    #[error(transparent)]
    Open(#[from] door::Error),
    #[error("cannot write the output")]
    Output(#[from] std::io::Error),
}

/// Runs the verb.
pub fn run(args: Args) -> ExitCode {
    match compare(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            terminal::fail(&error);
            ExitCode::FAILURE
        }
    }
}

/// Prints the differences; whether there are none.
fn compare(args: &Args) -> Result<bool, Error> {
    let (old, old_file) = load(&args.old)?;
    let (new, new_file) = load(&args.new)?;
    let differences = image::diff(&old, &new);
    let first_byte = match (&old_file, &new_file) {
        (Some(old), Some(new)) if differences.is_empty() => image::first_difference(old, new)?,
        _ => None,
    };
    let mut out = std::io::stdout().lock();
    if args.format == Format::Json {
        let document = serde_json::json!({ "differences": differences, "first_different_byte": first_byte });
        writeln!(out, "{document:#}")?;
    } else {
        for difference in &differences {
            writeln!(out, "{}", printable(&difference.to_string()))?;
        }
        match first_byte {
            Some(byte) => writeln!(out, "the same files; the images differ from byte {byte} on")?,
            None if differences.is_empty() => writeln!(out, "the same")?,
            None if differences.len() == 1 => writeln!(out, "1 path differs")?,
            None => writeln!(out, "{} paths differ", differences.len())?,
        }
    }
    out.flush()?;
    Ok(differences.is_empty() && first_byte.is_none())
}

fn load(path: &Path) -> Result<(Inventory, Option<File>), Error> {
    let image = image::file_of(path);
    if image.is_dir() {
        return Ok((image::of_tree(&tree::capture(&image, i64::MAX)?)?, None));
    }
    // Opened as an image first: a text gets a clear answer.
    image::View::open_path(&image)?;
    // Any size: the filesystem's own is compared with it.
    let open = || door::open(&image, "an image", u64::MAX).map(|opened| opened.file);
    Ok((image::of_image(open()?, &image)?, Some(open()?)))
}
