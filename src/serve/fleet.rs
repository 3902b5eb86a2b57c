//! The VMs that this server knows: those it runs, those that wait for their turn, and the last ones that have ended.

use super::admission::{Limits, Load};
use super::api::{Failure, State, Vm};
use super::events::Events;
use super::images::Images;
use super::metrics::Metrics;
use super::order::Order;
use super::problem::Problem;
use super::supervise::{self, Launcher};
use super::ticket::Ticket;
use crate::launch::{self, Record, Secret};
use axum::http::StatusCode;
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// How many VMs that have ended are remembered.
const REMEMBERED: usize = 100;
/// How long a VM may take to end before its launch is killed; longer than a launch itself takes to lose its patience.
const PATIENCE: Duration = Duration::from_secs(45);

/// All VMs of this server.
#[derive(Debug)]
pub struct Fleet {
    /// What may run.
    pub limits: Limits,
    /// How VMs are launched.
    pub launcher: Launcher,
    /// The images that are offered.
    pub images: Images,
    /// The server's folder.
    pub folder: PathBuf,
    /// What happens.
    pub events: Events,
    /// What is counted.
    pub metrics: Metrics,
    starts: Arc<Semaphore>,
    /// Oldest first.
    vms: Mutex<Vec<Arc<Entry>>>,
}

/// One VM.
#[derive(Debug)]
pub struct Entry {
    /// What was ordered.
    pub order: Order,
    seen: watch::Sender<Vm>,
    process: Mutex<Option<OwnedFd>>,
}

impl Entry {
    /// A VM that nobody has begun with.
    pub fn new(order: Order) -> Self {
        let vm = Vm {
            id: order.id.clone(),
            image: order.image.clone(),
            user: order.user.clone(),
            state: State::Queued,
            created: order.created.clone(),
            memory_bytes: order.memory,
            cpus: order.cpus,
            address: None,
            endpoints: BTreeMap::new(),
            stages: BTreeMap::new(),
            failure: None,
        };
        Self { order, seen: watch::Sender::new(vm), process: Mutex::default() }
    }

    /// The VM as it is now.
    pub fn vm(&self) -> Vm {
        self.seen.borrow().clone()
    }

    /// Where it is on its way.
    pub fn state(&self) -> State {
        self.seen.borrow().state
    }

    /// The VM as it will be once `holds`; None: not within the time.
    pub async fn until(&self, patience: Duration, holds: impl Fn(&Vm) -> bool) -> Option<Vm> {
        let mut seen = self.seen.subscribe();
        let wait = seen.wait_for(|vm| holds(vm));
        // The sender lives as long as this entry: waiting does not fail.
        tokio::time::timeout(patience, wait).await.ok()?.ok().map(|vm| vm.clone())
    }

    /// Changes what is seen of it.
    pub fn update(&self, change: impl FnOnce(&mut Vm)) {
        self.seen.send_modify(change);
    }

    /// It has failed, if nothing worse is known already.
    pub fn fail(&self, state: State, failure: Failure) {
        self.update(|vm| {
            if vm.failure.is_none() {
                vm.failure = Some(failure);
                vm.state = if vm.state == State::Stopping { State::Stopping } else { state };
            }
        });
    }

    /// What its record says about where it is, and its secret about who gets in there.
    pub fn locate(&self, record: &Record, secret: Option<&Secret>) {
        self.update(|vm| {
            vm.address = record.address;
            let (probes, secret) = (self.order.probes.iter(), secret.map(Secret::digits));
            let reached = probes.filter_map(|probe| Some((probe, record.reach(probe.check.port())?)));
            vm.endpoints = reached.map(|(probe, at)| (probe.name.to_string(), probe.address(at, secret))).collect();
        });
    }

    /// Starts the process that runs it, unless it is to end already; whoever ends it will find that process.
    pub fn start<T>(&self, start: impl FnOnce() -> io::Result<(rustix::process::Pid, T)>) -> io::Result<Option<T>> {
        let mut process = lock(&self.process);
        if self.state() != State::Queued {
            return Ok(None);
        }
        let (id, value) = start()?;
        *process = Some(pidfd_open(id, PidfdFlags::empty())?);
        self.update(|vm| vm.state = State::Starting);
        Ok(Some(value))
    }

    /// Marks it as one that is to end. Returns what it was.
    fn doom(&self) -> State {
        let _process = lock(&self.process);
        let before = self.state();
        self.update(|vm| vm.state = if before.is_over() { before } else { State::Stopping });
        before
    }

    /// Sends a signal to the process that runs it. One that has ended needs none.
    fn signal(&self, signal: Signal) {
        if let Some(process) = &*lock(&self.process) {
            let _ = pidfd_send_signal(process, signal);
        }
    }
}

impl Fleet {
    /// A fleet without VMs.
    pub fn new(limits: Limits, launcher: Launcher, images: Images, folder: &Path) -> Self {
        let starts = Arc::new(Semaphore::new(limits.starts));
        let (events, metrics) = (Events::default(), Metrics::default());
        Self { limits, launcher, images, folder: folder.to_owned(), events, metrics, starts, vms: Mutex::default() }
    }

    /// Takes an order, if the VM fits. With `reuse` a VM that the same user has from the same image with the same parameters,
    /// or will have, is as good.
    pub fn take(self: &Arc<Self>, order: Order, reuse: bool) -> Result<Arc<Entry>, Problem> {
        let mut vms = lock(&self.vms);
        let alive = |entry: &&Arc<Entry>| !entry.state().is_over();
        if reuse {
            let what = |order: &Order| (order.user.clone(), order.image.clone(), order.set.clone());
            let same = |entry: &&Arc<Entry>| what(&entry.order) == what(&order) && entry.state() != State::Stopping;
            if let Some(entry) = vms.iter().filter(alive).find(same) {
                return Ok(Arc::clone(entry));
            }
        }
        let mut load = Load::default();
        for entry in vms.iter().filter(alive) {
            load.vms += 1;
            load.of_user += usize::from(entry.order.user == order.user);
            load.memory += entry.order.memory;
            load.cpus += u32::from(entry.order.cpus);
            load.queued += usize::from(entry.state() == State::Queued);
        }
        // One that finds a free place does not wait.
        load.queued = load.queued.saturating_sub(self.starts.available_permits());
        self.limits.admit(&load, order.user.as_deref(), order.memory, order.cpus)?;
        let entry = Arc::new(Entry::new(order));
        vms.push(Arc::clone(&entry));
        drop(vms);
        self.events.tell("created", &entry.vm());
        tokio::spawn(Arc::clone(self).wait_in_line(Arc::clone(&entry)));
        Ok(entry)
    }

    /// Launches a VM when it is its turn.
    async fn wait_in_line(self: Arc<Self>, entry: Arc<Entry>) {
        let doomed = entry.until(Duration::MAX, |vm| vm.state != State::Queued);
        let turn = tokio::select! {
            turn = Arc::clone(&self.starts).acquire_owned() => turn.ok(),
            _ = doomed => None,
        };
        let fleet = Arc::clone(&self);
        let of_thread = Arc::clone(&entry);
        self.thread(&entry, move || {
            if let Some(turn) = turn {
                supervise::launch(&fleet, &of_thread, turn);
            }
        });
    }

    /// Watches over a VM in a thread of its own, and tidies up at its end.
    pub fn thread(self: &Arc<Self>, entry: &Arc<Entry>, watch: impl FnOnce() + Send + 'static) {
        let (fleet, of_thread) = (Arc::clone(self), Arc::clone(entry));
        let work = move || {
            watch();
            fleet.finish(&of_thread);
        };
        // It keeps little on its stack, and there may be hundreds.
        let thread = std::thread::Builder::new().name(entry.order.id.clone()).stack_size(256 << 10).spawn(work);
        if let Err(error) = thread {
            let message = format!("cannot start a thread: {error}");
            entry.fail(State::Failed, Failure { message, help: None, findings: None, diagnosis: None });
            self.finish(entry);
        }
    }

    /// A VM's process has ended: nothing of it is left, and whoever waits hears of it.
    fn finish(&self, entry: &Entry) {
        // What a killed launch leaves is looked for again at the next launch.
        let _ = launch::list();
        Ticket::forget(&self.folder, &entry.order.id);
        let started = entry.vm().stages.contains_key("start") || entry.vm().address.is_some();
        entry.update(|vm| {
            vm.state = match (&vm.failure, vm.state) {
                (Some(_), State::Refused) => State::Refused,
                (Some(_), State::Failed | State::Starting | State::Booting) => State::Failed,
                _ => State::Stopped,
            };
        });
        let vm = entry.vm();
        self.events.tell(if vm.state == State::Stopped { "stopped" } else { "failed" }, &vm);
        let mut vms = lock(&self.vms);
        // One that was never started is nowhere to be looked at; whoever ordered it has been told why.
        vms.retain(|one| !std::ptr::eq(&raw const **one, entry) || started);
        let over = vms.iter().filter(|entry| entry.state().is_over()).count();
        let mut surplus = over.saturating_sub(REMEMBERED);
        vms.retain(|entry| {
            let forget = surplus > 0 && entry.state().is_over();
            surplus -= usize::from(forget);
            !forget
        });
    }

    /// Takes a VM over that runs already.
    pub fn put(&self, entry: Arc<Entry>) {
        lock(&self.vms).push(entry);
    }

    /// The VM of that id.
    pub fn find(&self, id: &str) -> Result<Arc<Entry>, Problem> {
        let vms = lock(&self.vms);
        vms.iter().find(|entry| entry.order.id == id).cloned().ok_or_else(|| Problem::no_vm(id))
    }

    /// All VMs, oldest first.
    pub fn all(&self) -> Vec<Arc<Entry>> {
        lock(&self.vms).clone()
    }

    /// How many VMs are ready, and how many are on their way there.
    pub fn census(&self) -> (usize, usize) {
        let all = self.all();
        let count = |wanted: fn(State) -> bool| all.iter().filter(|entry| wanted(entry.state())).count();
        (count(|state| state == State::Ready), count(|state| !state.is_over() && state != State::Ready))
    }

    /// Ends a VM, waits until nothing is left of it, and forgets it.
    pub async fn stop(&self, entry: &Arc<Entry>) -> Result<(), Problem> {
        if !entry.doom().is_over() {
            let of_thread = Arc::clone(entry);
            let ask = move || match launch::find(&of_thread.order.id) {
                Ok(running) => running.stop(launch::STOP_TIMEOUT).map_err(|error| error.to_string()),
                // It has no record yet.
                Err(_) => {
                    of_thread.signal(Signal::TERM);
                    Ok(())
                }
            };
            let asked = tokio::task::spawn_blocking(ask).await;
            asked.map_err(|error| Problem::internal(error.to_string()))?.map_err(Problem::internal)?;
            if entry.until(PATIENCE, |vm| vm.state.is_over()).await.is_none() {
                entry.signal(Signal::KILL);
                let gone = entry.until(PATIENCE, |vm| vm.state.is_over()).await;
                let stays = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "stays", "its launch cannot be ended");
                gone.ok_or_else(stays)?;
            }
        }
        lock(&self.vms).retain(|one| !Arc::ptr_eq(one, entry));
        Ok(())
    }

    /// Ends all VMs; returns how many.
    pub async fn stop_all(self: &Arc<Self>) -> usize {
        let all: Vec<_> = self.all().into_iter().filter(|entry| !entry.state().is_over()).collect();
        let stop = |entry: Arc<Entry>| {
            let fleet = Arc::clone(self);
            tokio::spawn(async move { fleet.stop(&entry).await.is_ok() })
        };
        let stops: Vec<_> = all.into_iter().map(stop).collect();
        let mut stopped = 0;
        for stop in stops {
            stopped += usize::from(stop.await.unwrap_or_default());
        }
        stopped
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
