//! What the arms of a round run on: files, buffer pools, and the rings of each kind that take turns.

use super::round::Spec;
use crate::engine::buffers::{Kind, Pool};
use crate::engine::drive::Buffers;
use crate::engine::lane::{JobContext, Lane, Ran, Tuning};
use crate::engine::numa;
use crate::engine::registration::unregistering_is_slow;
use crate::engine::slice::{self, Gang, Instruments, Order, Sample};
use crate::engine::variants::Tabled;
use crate::engine::work::{Device, Io, Nop, Nvme};
use crate::engine::{SetupError, capabilities};
use crate::plan::{Arm, Control};
use crate::random::Decisions;
use crate::target::identity::Identity;
use crate::target::refused::{self, Asked};
use crate::toggle::seats::Seats;
use crate::toggle::{Levels, Toggle};
use crate::workload::{Rw, Workload};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

/// Rings of each kind, and pools of each where there is more than one, that take turns, block by block: what one's place in memory is worth
/// is averaged out within a round.
const TURNS: usize = 4;

/// Files and buffers of a round, shared by its jobs.
pub struct Ground {
    devices: Vec<Device>,
    /// Of NVMe namespaces, where all are.
    generic: Vec<Device>,
    pools: Vec<(Kind, Kind, Vec<Arc<Buffers>>)>,
    refused: Vec<(Kind, String)>,
    /// Unregistering takes long on this kernel.
    keeps_registered: bool,
    /// Some requests write.
    writes: bool,
    /// Keeps the memory behind the buffers.
    _memory: Vec<Pool>,
    /// What is behind the descriptors.
    files: Vec<File>,
}

impl Ground {
    /// Opens the target and allocates the pools, in random order where they are of several kinds.
    pub fn prepare(spec: &Spec, decisions: &mut Decisions) -> Result<Ground, SetupError> {
        let wanted = |arm: &Arm| Kind::wanted(&arm.levels, spec.setting.numa_node);
        let mut kinds: Vec<Kind> = spec.arms.iter().map(wanted).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let turns = if kinds.len() > 1 { TURNS } else { 1 };
        let mut order: Vec<Kind> = kinds.iter().flat_map(|kind| vec![*kind; turns]).collect();
        decisions.shuffle(&mut order);
        let mut ground = Ground {
            devices: Vec::new(),
            generic: Vec::new(),
            pools: Vec::new(),
            refused: Vec::new(),
            keeps_registered: false,
            writes: spec.workload.rw.writes(),
            _memory: Vec::new(),
            files: Vec::new(),
        };
        for index in 0..spec.paths.len() {
            let file = open(spec, index)?;
            ground.devices.push(Device { fd: file.as_raw_fd(), index: index as u32, ..Device::default() });
            ground.files.push(file);
        }
        if let Some(device) = ground.devices.first() {
            ground.keeps_registered = unregistering_is_slow(device.fd)?;
        }
        for (path, index) in spec.setting.generic.iter().zip(0..) {
            let (file, device) = generic(path, &spec.paths[index as usize], &spec.workload)?;
            ground.generic.push(Device { index, ..device });
            ground.files.push(file);
        }
        for kind in order {
            let workload = &spec.workload;
            match Pool::new(kind, workload.block_size_bytes, workload.queue_depth, workload.jobs) {
                Ok(mut pool) => {
                    ground.pools.push((kind, pool.effective(kind), pool.jobs()));
                    ground._memory.push(pool);
                }
                Err(error) => ground.refused.push((kind, error.to_string())),
            }
        }
        Ok(ground)
    }

    /// An error of requests, with what about the target explains it.
    fn explained(&self, error: SetupError) -> SetupError {
        let SetupError::Refused { polled, ref source } = error else { return error };
        let asked = Asked { writes: self.writes, polled };
        let because = self.files.iter().map(|file| refused::because(file, source, asked)).find(|told| !told.is_empty());
        SetupError::Unsupported(format!("{error}{}", because.unwrap_or_default()))
    }

    /// The buffers of a job in a block, and what kind of memory they really are.
    fn buffers(&self, kind: Kind, job: usize, block: usize) -> Option<(Kind, &Arc<Buffers>)> {
        let own: Vec<_> = self.pools.iter().filter(|(wanted, ..)| *wanted == kind).collect();
        own.get(block % own.len().max(1)).map(|(_, effective, jobs)| (*effective, &jobs[job]))
    }
}

/// Opens a member of the target anew, for direct I/O unless the page cache is wanted, and makes sure that it is the one that was checked. The
/// runner holds it, a device for itself alone where it is written to.
fn open(spec: &Spec, member: usize) -> Result<File, SetupError> {
    let (path, workload) = (&spec.paths[member], &spec.workload);
    let direct = if workload.direct { libc::O_DIRECT } else { 0 };
    let mut options = OpenOptions::new();
    options.read(true).write(workload.rw.writes()).custom_flags(direct);
    let fail = |source| SetupError::Open { path: path.display().to_string(), source };
    let file = match options.open(path) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) && workload.direct => {
            // Its name, which the descriptor that the runner lent does not say.
            let named = std::fs::read_link(path).unwrap_or_else(|_| path.clone());
            return Err(SetupError::NoDirectIo(named.display().to_string()));
        }
        opened => opened.map_err(fail)?,
    };
    match spec.identities.get(member) {
        Some(held) if Identity::of(&file).map_err(fail)? != *held => Err(SetupError::OtherTarget(path.display().to_string())),
        _ => Ok(file),
    }
}

/// Opens the generic device of an NVMe namespace.
fn generic(path: &Path, namespace: &Path, workload: &Workload) -> Result<(File, Device), SetupError> {
    let fail = |source| SetupError::Open { path: path.display().to_string(), source };
    let file = OpenOptions::new().read(true).write(workload.rw.writes()).open(path).map_err(fail)?;
    let (namespace, block_shift) = crate::target::nvme::geometry(namespace).map_err(fail)?;
    let device = Device { fd: file.as_raw_fd(), namespace, block_shift, ..Device::default() };
    Ok((file, device))
}

/// A lane of whatever work.
enum AnyLane {
    Io(Lane<Io>),
    Nop(Lane<Nop>),
    Nvme(Lane<Nvme>),
}

/// Does the same with a lane of any work.
macro_rules! with_lane {
    ($any:expr, |$lane:ident| $do:expr) => {
        match $any {
            AnyLane::Io($lane) => $do,
            AnyLane::Nop($lane) => $do,
            AnyLane::Nvme($lane) => $do,
        }
    };
}

/// What arms that share a ring have in common.
type RingKind = (Levels, Does);

/// What a ring is used for.
#[derive(Clone, Copy, PartialEq)]
enum Does {
    Work,
    Nops,
    Commands,
}

/// The rings of a job. Arms that ask for the same ring share its kind; within a block they all run on the same one.
pub struct Tracks<'a> {
    ground: &'a Ground,
    context: JobContext<'a>,
    seats: &'a Seats,
    job: usize,
    /// Whether the second copies of the code come first.
    copies_swapped: bool,
    kinds: Vec<(RingKind, Vec<AnyLane>)>,
    /// For each arm admitted, its place among the kinds.
    arms: BTreeMap<usize, (usize, Tuning)>,
}

impl<'a> Tracks<'a> {
    /// No rings yet.
    pub fn new(ground: &'a Ground, context: JobContext<'a>, seats: &'a Seats, job: usize, copies_swapped: bool) -> Tracks<'a> {
        Tracks { ground, context, seats, job, copies_swapped, kinds: Vec::new(), arms: BTreeMap::new() }
    }

    /// Creates what the arm needs and is not there, and tries it on: what it does not get it is refused for.
    pub fn admit(&mut self, number: usize, arm: &Arm) -> Result<(), SetupError> {
        let tuning = Tuning::new(&arm.levels, arm.control == Control::Placebo);
        let uncharged = if arm.levels.is_on(Toggle::Sqpoll) { capabilities::uncharged() } else { None };
        if let Some(reason) = uncharged {
            return Err(SetupError::Unsupported(format!("sqpoll = on: {reason}")));
        }
        let does = match arm.control {
            _ if self.context.workload.rw == Rw::Nop => Does::Nops,
            Control::Ceiling => Does::Nops,
            _ if arm.levels.is_on(Toggle::Passthrough) => Does::Commands,
            _ => Does::Work,
        };
        let wanted = (tuning.ring_levels(self.ground.keeps_registered), does);
        let found = self.kinds.iter().position(|(kind, _)| *kind == wanted);
        let kind = match found {
            Some(kind) => kind,
            None => {
                // What is registered stays locked: one ring of a kind has to do then.
                let turns = if self.ground.keeps_registered { 1 } else { TURNS };
                let lanes = (0..turns).map(|_| self.lane(&tuning, does)).collect::<Result<_, _>>()?;
                self.kinds.push((wanted, lanes));
                self.kinds.len() - 1
            }
        };
        let memory = self.memory(&tuning);
        if self.ground.buffers(memory, self.job, 0).is_none() {
            let reason = self.ground.refused.iter().find(|(kind, _)| *kind == memory).map_or("", |(_, reason)| reason);
            return Err(SetupError::Unsupported(reason.into()));
        }
        self.confine(&tuning)?;
        // Each with the buffers of its own slices.
        let tried = self.kinds[kind].1.iter_mut().enumerate().try_for_each(|(turn, any)| {
            let (_, buffers) = self.ground.buffers(memory, self.job, turn).expect("there are some");
            with_lane!(any, |lane| lane.try_on(&tuning, buffers))
        });
        self.release()?;
        tried.map_err(|error| self.ground.explained(error))?;
        self.arms.insert(number, (kind, tuning));
        let effective = self.effective(number, Ran { variant: tuning.bits, ..Ran::default() })?;
        match Toggle::all().find(|t| effective.get(*t) != arm.levels.get(*t)) {
            None => Ok(()),
            Some(toggle) => {
                self.arms.remove(&number);
                let text = |levels: &Levels| format!("{} = {}", toggle.key(), toggle.spec().level_text(levels.get(toggle)));
                let remedy = if toggle == Toggle::HugePages { THP_REMEDY } else { "" };
                Err(SetupError::NotInEffect { what: text(&arm.levels), found: text(&effective), remedy })
            }
        }
    }

    fn lane(&self, tuning: &Tuning, does: Does) -> Result<AnyLane, SetupError> {
        let Ground { devices, generic, keeps_registered, .. } = self.ground;
        let keeping = *keeps_registered;
        match does {
            Does::Nops => Lane::new(tuning, &self.context, devices).map(|l| AnyLane::Nop(l.keeping_registered(keeping))),
            Does::Commands => Lane::new(tuning, &self.context, generic).map(|l| AnyLane::Nvme(l.keeping_registered(keeping))),
            Does::Work => Lane::new(tuning, &self.context, devices).map(|l| AnyLane::Io(l.keeping_registered(keeping))),
        }
    }

    fn memory(&self, tuning: &Tuning) -> Kind {
        Kind::wanted(&tuning.levels, self.context.place.node)
    }

    /// Puts the thread where the arm wants it; every arm does this before its slice.
    fn confine(&self, tuning: &Tuning) -> Result<(), SetupError> {
        let cpus = self.seats.of(self.job, &tuning.levels);
        numa::allow(&cpus).map_err(|source| SetupError::Affinity { cpus, source })
    }

    /// Lets the thread run where it might at first.
    fn release(&self) -> Result<(), SetupError> {
        let cpus = &self.seats.allowed;
        numa::allow(cpus).map_err(|source| SetupError::Affinity { cpus: cpus.clone(), source })
    }

    /// One slice of an admitted arm.
    pub fn slice(
        &mut self,
        arm: usize,
        block: usize,
        order: &Order,
        gang: &Gang,
        instruments: Instruments<'_>,
    ) -> Result<Sample, SetupError> {
        let (kind, first) = self.arms[&arm];
        // The copies of the code take turns as the rings do, each ring with both.
        let tuning = if (block / TURNS % 2 == 1) == self.copies_swapped { first } else { first.on_other_copy() };
        let turn = block % self.kinds[kind].1.len();
        let (_, buffers) = self.ground.buffers(self.memory(&tuning), self.job, turn).expect("an admitted arm has buffers");
        let seat = self.confine(&tuning).map(|()| buffers);
        let any = &mut self.kinds[kind].1[turn];
        let sample = with_lane!(any, |lane| slice::run(lane, &tuning, seat, order, gang, instruments));
        self.release()?;
        sample
    }

    /// The levels of an admitted arm that are in effect, given what its loop said of itself.
    pub fn effective(&mut self, arm: usize, ran: Ran) -> Result<Levels, SetupError> {
        let (kind, tuning) = self.arms[&arm];
        let wanted = self.memory(&tuning);
        let (memory, buffers) = self.ground.buffers(wanted, self.job, 0).expect("an admitted arm has buffers");
        self.confine(&tuning)?;
        let place = self.context.place;
        let found = with_lane!(&mut self.kinds[kind].1[0], |lane| read_back(lane, &tuning, buffers, ran, memory, &place));
        self.release()?;
        found
    }
}

fn read_back<W: Tabled>(
    lane: &mut Lane<W>,
    tuning: &Tuning,
    buffers: &Arc<Buffers>,
    ran: Ran,
    memory: Kind,
    place: &crate::engine::lane::Place<'_>,
) -> Result<Levels, SetupError> {
    let begun = lane.begin(tuning, buffers);
    let found = lane.effective(ran, memory, place);
    lane.end();
    begun.map(|()| found)
}

/// What a user can do where the kernel gives no huge pages.
const THP_REMEDY: &str = "; see /sys/kernel/mm/transparent_hugepage/enabled (madvise or always allows it) and the free memory";
