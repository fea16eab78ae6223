//! Names of addresses of the kernel and of this process.

use super::category::Frame;
use blazesym::Pid;
use blazesym::symbolize::source::{Kernel, Process, Source};
use blazesym::symbolize::{CodeInfo, Input, Symbolizer};
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

/// Looks names up, each address once.
pub struct Symbols {
    symbolizer: Symbolizer,
    known: HashMap<u64, Rc<Frame>>,
    memory: Option<File>,
}

/// Where the kernel's half of the address space begins, on every 64-bit architecture.
const KERNEL: u64 = 1 << 63;

impl Symbols {
    pub fn new() -> Symbols {
        let symbolizer = Symbolizer::builder().enable_code_info(true).enable_inlined_fns(true).enable_demangling(true).build();
        Symbols { symbolizer, known: HashMap::new(), memory: File::open("/proc/self/mem").ok() }
    }

    /// The frame at an address.
    pub fn frame(&mut self, address: u64) -> Rc<Frame> {
        if let Some(frame) = self.known.get(&address) {
            return frame.clone();
        }
        let kernel = address >= KERNEL;
        let source = if kernel { Source::Kernel(Kernel::default()) } else { Source::Process(Process::new(Pid::Slf)) };
        let found = self.symbolizer.symbolize_single(&source, Input::AbsAddr(address)).ok();
        let names = found.and_then(|f| f.into_sym()).map_or_else(Vec::new, |symbol| {
            let inlined = symbol.inlined.iter().rev().map(|f| located(&f.name, f.code_info.as_ref()));
            inlined.chain([located(&symbol.name, symbol.code_info.as_deref())]).collect()
        });
        let names = if names.is_empty() { self.place(address).into_iter().collect() } else { names };
        let frame = Rc::new(Frame { names, kernel });
        self.known.insert(address, frame.clone());
        frame
    }

    /// What is mapped at an address without a symbol: `(libc.so.6)`.
    fn place(&self, address: u64) -> Option<String> {
        let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
        let line = maps.lines().find(|l| range(l).is_some_and(|r| r.contains(&address)))?;
        let path = line.split_whitespace().nth(5)?;
        Some(format!("({})", path.rsplit('/').next().unwrap_or(path)))
    }

    /// True where the instruction before `address` enters the kernel.
    pub fn follows_syscall(&self, address: u64) -> bool {
        let instruction: &[u8] = if cfg!(target_arch = "x86_64") { &[0x0f, 0x05] } else { &[0x01, 0x00, 0x00, 0xd4] };
        let mut before = vec![0; instruction.len()];
        let place = address.wrapping_sub(instruction.len() as u64);
        address < KERNEL
            && self.memory.as_ref().is_some_and(|m| m.read_exact_at(&mut before, place).is_ok())
            && before == instruction
    }
}

/// The name with the source file it lies in, where debug information tells: line tables know functions by their bare names.
fn located(name: &str, at: Option<&CodeInfo<'_>>) -> String {
    at.map_or_else(|| name.to_string(), |at| format!("{}:{name}", at.to_path().display()))
}

/// The addresses of a line of proc_pid_maps(5).
fn range(line: &str) -> Option<std::ops::Range<u64>> {
    let (start, end) = line.split_once(' ')?.0.split_once('-')?;
    Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
}
