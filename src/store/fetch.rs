//! Downloads: parallel, resumed, retried, and verified before they get their final name.

use super::{Error, Store, create_folder};
use crate::door;
use crate::progress::{Event, Observer, Unit};
use crate::values::{ByteSize, Hasher, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A file wanted by digest.
#[derive(Debug, Clone)]
pub struct Download {
    /// What messages call it.
    pub name: String,
    /// Where it may be, best first.
    pub urls: Vec<String>,
    /// Its exact size in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Sha256,
}

/// Why one file could not be had: the last failure of each place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// [`Download::name`].
    pub name: String,
    /// URL and failure.
    pub failures: Vec<(String, String)>,
}

/// How many downloads run at once. Debian asks mirrors' users to be modest.
const WORKERS: usize = 8;
/// How often one URL is tried.
const ATTEMPTS: u32 = 3;
/// How long a server may take to connect or to begin its answer, in seconds, unless `GOLDSMITH_TIMEOUT` says otherwise.
const SILENCE: u64 = 30;
/// Bytes a second below which a transfer is given up and tried again.
const SLOWEST: u64 = 20_000;
/// What a text of unknown size is taken to have when the time for it is measured. The largest `InRelease` has 200 kB.
const TEXT: u64 = 1 << 20;

pub(super) fn describe(problems: &[Problem]) -> String {
    let mut text = match problems {
        [one] => format!("{} could not be downloaded", one.name),
        many => format!("{} files could not be downloaded", many.len()),
    };
    for problem in problems.iter().take(10) {
        for (url, failure) in &problem.failures {
            text += &format!("\n  {}: {failure}\n    {url}", problem.name);
        }
    }
    if problems.len() > 10 {
        text += &format!("\n  … and {} more", problems.len() - 10);
    }
    text
}

impl Store {
    /// The files for `downloads`, in that order; what is missing is downloaded.
    pub fn fetch(
        &self,
        stage: &'static str,
        downloads: &[Download],
        observer: &dyn Observer,
    ) -> Result<Vec<PathBuf>, Error> {
        let sound = self.sound(downloads);
        let missing: Vec<_> =
            downloads.iter().zip(sound).filter(|(_, sound)| !sound).map(|(wanted, _)| wanted).collect();
        let total = missing.iter().map(|wanted| wanted.size).sum();
        let started = Instant::now();
        observer.event(Event::Started { stage, total: Some(total), unit: Unit::Bytes });
        let done = AtomicU64::new(0);
        let progress = |bytes: u64| {
            let done = done.fetch_add(bytes, Ordering::Relaxed) + bytes;
            observer.event(Event::Advanced { stage, done });
        };
        let problems = self.fetch_all(&missing, &progress, observer)?;
        if !problems.is_empty() {
            return Err(Error::Fetch(problems));
        }
        let summary = match missing.len() {
            0 => format!("{} files, all in the cache", downloads.len()),
            count => format!("{count} of {} files, {} downloaded", downloads.len(), ByteSize(total)),
        };
        observer.event(Event::Finished { stage, summary, took: started.elapsed() });
        Ok(downloads.iter().map(|wanted| self.file(&wanted.sha256)).collect())
    }

    /// Which of the files are in the cache and whole, compared with size and digest: disks and programs damage files.
    pub fn sound(&self, downloads: &[Download]) -> Vec<bool> {
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let piece = downloads.len().div_ceil(workers).max(1);
        std::thread::scope(|scope| {
            let checks: Vec<_> = downloads
                .chunks(piece)
                .map(|some| scope.spawn(|| some.iter().map(|wanted| self.is_sound(wanted)).collect::<Vec<_>>()))
                .collect();
            checks.into_iter().flat_map(|check| check.join().unwrap_or_default()).collect()
        })
    }

    fn is_sound(&self, wanted: &Download) -> bool {
        let Ok(mut opened) = door::open(&self.file(&wanted.sha256), "a cached file", wanted.size) else { return false };
        let mut digest = Hasher::default();
        opened.stamp.len == wanted.size
            && opened.stream(|bytes| digest.update(bytes)).is_ok()
            && digest.finish() == wanted.sha256
    }

    fn fetch_all(
        &self,
        missing: &[&Download],
        progress: &(dyn Fn(u64) + Sync),
        observer: &dyn Observer,
    ) -> Result<Vec<Problem>, Error> {
        let agent = agent();
        let next = AtomicUsize::new(0);
        let outcome = Mutex::new((Vec::new(), None));
        std::thread::scope(|scope| {
            for _ in 0..WORKERS.min(missing.len()) {
                scope.spawn(|| {
                    while let Some(wanted) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let result = self.fetch_one(&agent, wanted, progress, observer);
                        let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
                        match result {
                            Ok(None) => {}
                            Ok(Some(problem)) => outcome.0.push(problem),
                            Err(error) => {
                                outcome.1.get_or_insert(error);
                                next.store(missing.len(), Ordering::Relaxed);
                            }
                        }
                    }
                });
            }
        });
        let (mut problems, error) = outcome.into_inner().unwrap_or_else(PoisonError::into_inner);
        problems.sort_by(|a: &Problem, b| a.name.cmp(&b.name));
        error.map_or(Ok(problems), Err)
    }

    /// Tries every URL; an error is a fault of this machine (disk full), a problem one of the mirrors.
    fn fetch_one(
        &self,
        agent: &ureq::Agent,
        wanted: &Download,
        progress: &(dyn Fn(u64) + Sync),
        observer: &dyn Observer,
    ) -> Result<Option<Problem>, Error> {
        let target = self.file(&wanted.sha256);
        if let Some(parent) = target.parent() {
            create_folder(parent)?;
        }
        let _guard = self.lock(&format!("file-{}", wanted.sha256))?;
        // Another process may have fetched it meanwhile.
        if self.is_sound(wanted) {
            return Ok(None);
        }
        if target.exists() {
            observer.event(Event::Note(format!("{} is damaged in the cache: fetching it anew", wanted.name)));
            fs::remove_file(&target).map_err(|cause| Error::Io { what: "delete", path: target.clone(), cause })?;
        }
        let partial = target.with_extension("partial");
        let mut failures = Vec::new();
        for url in &wanted.urls {
            for attempt in 1..=ATTEMPTS {
                match transfer(agent, url, wanted, &partial, progress) {
                    Ok(()) => {
                        fs::rename(&partial, &target).map_err(|cause| Error::Io {
                            what: "name",
                            path: target.clone(),
                            cause,
                        })?;
                        return Ok(None);
                    }
                    Err(Failure::Here(error)) => return Err(error),
                    Err(Failure::Final(text)) => {
                        failures.push((url.clone(), text));
                        break;
                    }
                    Err(Failure::Passing(text)) if attempt == ATTEMPTS => failures.push((url.clone(), text)),
                    Err(Failure::Passing(text)) => {
                        observer.event(Event::Detail(format!("{url}: {text}; trying again")));
                        std::thread::sleep(Duration::from_millis(250 << attempt));
                    }
                }
            }
        }
        Ok(Some(Problem { name: wanted.name.clone(), failures }))
    }
}

/// The text at `url`, at most `limit` bytes; none where the server says it does not exist.
pub(crate) fn get(url: &str, limit: u64) -> Result<Option<Vec<u8>>, String> {
    let mut last = String::new();
    for attempt in 1..=ATTEMPTS {
        let patience = silence() + Duration::from_secs(limit.min(TEXT) / SLOWEST);
        match agent().get(url).config().timeout_recv_body(Some(patience)).build().call() {
            Ok(response) => match response.into_body().into_with_config().limit(limit).read_to_vec() {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(error) => last = plain(&error),
            },
            Err(ureq::Error::StatusCode(404)) => return Ok(None),
            Err(ureq::Error::StatusCode(status)) if status < 500 => return Err(format!("HTTP status {status}")),
            Err(error) => last = plain(&error),
        }
        if attempt < ATTEMPTS {
            std::thread::sleep(Duration::from_millis(250 << attempt));
        }
    }
    Err(last)
}

fn silence() -> Duration {
    let set = std::env::var("GOLDSMITH_TIMEOUT").ok().and_then(|text| text.parse().ok()).filter(|seconds| *seconds > 0);
    Duration::from_secs(set.unwrap_or(SILENCE))
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .timeout_connect(Some(silence()))
        .timeout_recv_response(Some(silence()))
        .max_redirects(5)
        .user_agent(concat!("goldsmith/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

enum Failure {
    /// This machine failed: no use trying elsewhere.
    Here(Error),
    /// This place will not do.
    Final(String),
    /// The next try may succeed.
    Passing(String),
}

fn plain(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Timeout(what) => format!("no answer in {} s ({what})", silence().as_secs()),
        ureq::Error::StatusCode(status) => format!("HTTP status {status}"),
        error => error.to_string(),
    }
}

/// Downloads into `partial`, going on where an earlier try ended, and verifies size and digest.
fn transfer(
    agent: &ureq::Agent,
    url: &str,
    wanted: &Download,
    partial: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), Failure> {
    let here = |what| move |cause| Failure::Here(Error::Io { what, path: partial.into(), cause });
    let have = fs::metadata(partial).map_or(0, |file| file.len());
    let have = if have < wanted.size { have } else { 0 };
    let patience = silence() + Duration::from_secs((wanted.size - have) / SLOWEST);
    let mut request = agent.get(url).config().timeout_recv_body(Some(patience)).build();
    if have > 0 {
        request = request.header("Range", format!("bytes={have}-"));
    }
    let response = request.call().map_err(|error| match error {
        ureq::Error::StatusCode(status) if status < 500 && status != 429 => {
            let _ = fs::remove_file(partial);
            Failure::Final(if status == 404 { "the server no longer has it (404)".into() } else { plain(&error) })
        }
        error => Failure::Passing(plain(&error)),
    })?;
    let resumed = response.status().as_u16() == 206;
    let start = if resumed { have } else { 0 };
    let mut file = OpenOptions::new()
        .create(true)
        .write(true)
        .read(true)
        .truncate(!resumed)
        .open(partial)
        .map_err(here("open"))?;
    let mut digest = Hasher::default();
    if resumed {
        io::copy(&mut file, &mut digest).map_err(here("read"))?;
    }
    let outcome = receive(response, &mut file, &mut digest, wanted.size - start, here("write"), progress)?;
    let size = start + outcome;
    if size < wanted.size {
        return Err(Failure::Passing(format!("the transfer ended after {size} of {} bytes", wanted.size)));
    }
    let found = digest.finish();
    if found != wanted.sha256 {
        let _ = fs::remove_file(partial);
        return Err(Failure::Final(format!("its SHA-256 is {found}, signed metadata say {}", wanted.sha256)));
    }
    Ok(())
}

/// Whether a body's reader gave up waiting; it wraps its own error in one of `std`.
fn is_timeout(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
    error.kind() == io::ErrorKind::TimedOut || matches!(inner, Some(ureq::Error::Timeout(_)))
}

/// Copies a response's body; returns how many bytes came. More than `expected` is a lie.
fn receive(
    response: ureq::http::Response<ureq::Body>,
    file: &mut File,
    digest: &mut Hasher,
    expected: u64,
    here: impl Fn(io::Error) -> Failure,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<u64, Failure> {
    let mut body = response.into_body().into_reader();
    let mut buffer = vec![0; 128 << 10];
    let mut received = 0;
    loop {
        let count = match body.read(&mut buffer) {
            Ok(0) => return Ok(received),
            Ok(count) => count,
            Err(error) if is_timeout(&error) => {
                let text =
                    format!("too slow: {received} of {expected} bytes came, under {} KB a second", SLOWEST / 1000);
                return Err(Failure::Passing(text));
            }
            Err(error) => return Err(Failure::Passing(format!("{error} after {received} of {expected} bytes"))),
        };
        received += count as u64;
        if received > expected {
            return Err(Failure::Final(format!("the server sends more than the {expected} bytes expected")));
        }
        let bytes = buffer.get(..count).unwrap_or_default();
        file.write_all(bytes).map_err(&here)?;
        digest.update(bytes);
        progress(count as u64);
    }
}
