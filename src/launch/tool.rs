//! Programs of the host that a launch runs to their end.

use super::program;
use crate::{inherit, leash};
use rustix::process::Signal;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

/// Why a program did not do what it was run for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is not installed.
    #[error("{program} is not installed\nhelp: apt-get install {package}")]
    Missing {
        /// The program.
        program: &'static str,
        /// Its Debian package.
        package: &'static str,
    },
    /// It cannot be run.
    #[error("cannot run {program}")]
    Io {
        /// The program.
        program: &'static str,
        /// Why not.
        #[source]
        cause: io::Error,
    },
    /// It failed.
    #[error("`{command}` failed ({status}): {said}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: String,
        /// What it said.
        said: String,
    },
}

/// A program and the Debian package it comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tool {
    /// The program.
    pub program: &'static str,
    /// The package.
    pub package: &'static str,
}

impl Tool {
    /// Where it is.
    pub fn find(self) -> Result<PathBuf, Error> {
        let found = program::find(self.program);
        found.ok_or(Error::Missing { program: self.program, package: self.package })
    }

    /// Runs it with this input until it ends. `good`: the exit statuses of success.
    pub fn run(self, arguments: &[String], input: &str, good: &[i32]) -> Result<(), Error> {
        self.ask(arguments, input, good).map(drop)
    }

    /// The same, and what it printed.
    pub fn ask(self, arguments: &[String], input: &str, good: &[i32]) -> Result<String, Error> {
        let parent = std::process::id();
        let output = duct::cmd(self.find()?, arguments)
            .stdin_bytes(input)
            .stdout_capture()
            .stderr_capture()
            .before_spawn(move |command| {
                let before_exec = move || {
                    // What it does for a launch that is no more would be found by nobody.
                    leash::to(parent, Signal::KILL)?;
                    inherit::nothing()
                };
                // SAFETY: between fork and exec only system calls are made; nothing is allocated.
                unsafe { command.pre_exec(before_exec) };
                Ok(())
            })
            .unchecked()
            .run()
            .map_err(|cause| Error::Io { program: self.program, cause })?;
        if output.status.code().is_some_and(|code| good.contains(&code)) {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).trim().to_owned();
        let command = format!("{} {}", self.program, arguments.join(" "));
        Err(Error::Failed { command, status: output.status.to_string(), said })
    }
}
