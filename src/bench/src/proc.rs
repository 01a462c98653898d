//! What the kernel says about processes and the machine: /proc, read.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// The load average of the last minute.
pub fn load_average() -> f64 {
    fs::read_to_string("/proc/loadavg").ok().and_then(|text| parse_load(&text)).unwrap_or_default()
}

fn parse_load(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Kernel and cores, for people.
pub fn machine() -> String {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    format!("Linux {}, {cores} cores", kernel.trim())
}

/// Memory of a process, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// Resident, all of it.
    pub rss_bytes: u64,
    /// Resident and its own: heap and stacks.
    pub anonymous_bytes: u64,
    /// Resident with shared pages counted by share.
    pub pss_bytes: u64,
}

/// A process by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process(pub i32);

impl Process {
    fn file(self, name: &str) -> anyhow::Result<String> {
        let path = PathBuf::from(format!("/proc/{}/{name}", self.0));
        fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
    }

    /// Its memory now.
    pub fn memory(self) -> anyhow::Result<Memory> {
        let status = self.file("status")?;
        let rollup = self.file("smaps_rollup")?;
        let read = |text: &str, key: &str| {
            size_bytes(text, key).with_context(|| format!("/proc/{}: there is no {key}", self.0))
        };
        Ok(Memory {
            rss_bytes: read(&status, "VmRSS")?,
            anonymous_bytes: read(&status, "RssAnon")?,
            pss_bytes: read(&rollup, "Pss")?,
        })
    }

    /// Processor time it has used since it started, in seconds.
    pub fn cpu_s(self) -> anyhow::Result<f64> {
        let text = self.file("stat")?;
        let ticks = cpu_ticks(&text).with_context(|| format!("understand /proc/{}/stat", self.0))?;
        let per_second = nix::unistd::sysconf(nix::unistd::SysconfVar::CLK_TCK)?.unwrap_or(100);
        Ok(ticks as f64 / per_second as f64)
    }

    /// Processor time of it and of the processes it started, in seconds.
    pub fn family_cpu_s(self) -> anyhow::Result<f64> {
        let mut sum_s = self.cpu_s()?;
        for child in children(self)? {
            // One that has ended meanwhile is counted by nobody.
            sum_s += child.cpu_s().unwrap_or_default();
        }
        Ok(sum_s)
    }

    fn command_line(self) -> Option<Vec<String>> {
        let bytes = fs::read(format!("/proc/{}/cmdline", self.0)).ok()?;
        let words = bytes.split(|byte| *byte == 0).filter(|word| !word.is_empty());
        Some(words.map(|word| String::from_utf8_lossy(word).into_owned()).collect())
    }

    fn pid_namespace(self) -> Option<PathBuf> {
        fs::read_link(format!("/proc/{}/ns/pid", self.0)).ok()
    }
}

/// The processes that the threads of one have started and that run.
fn children(process: Process) -> anyhow::Result<Vec<Process>> {
    let folder = PathBuf::from(format!("/proc/{}/task", process.0));
    let mut children = Vec::new();
    for thread in fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?.flatten() {
        let listed = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        children.extend(listed.split_whitespace().filter_map(|id| id.parse().ok()).map(Process));
    }
    Ok(children)
}

/// The process in the process namespace of `init` whose command line begins with a program of the name of the first
/// word and then the other words.
pub fn find(init: Process, words: &[&str]) -> anyhow::Result<Process> {
    let namespace = init.pid_namespace().with_context(|| format!("look at the process {}", init.0))?;
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").context("read /proc")?.flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()).map(Process) else {
            continue;
        };
        let fits = process.command_line().is_some_and(|line| begins_with(&line, words));
        if fits && process.pid_namespace().as_ref() == Some(&namespace) {
            found.push(process);
        }
    }
    match found[..] {
        [one] => Ok(one),
        ref others => bail!("{} processes run `{}` on the host, not one", others.len(), words.join(" ")),
    }
}

fn begins_with(line: &[String], words: &[&str]) -> bool {
    let (Some(program), Some(wanted)) = (line.first(), words.first()) else { return false };
    let name = Path::new(program).file_name().and_then(|name| name.to_str());
    name == Some(wanted) && line.len() >= words.len() && line[1..].iter().zip(&words[1..]).all(|(a, b)| a == b)
}

/// A line `KEY: 12 kB` in bytes.
fn size_bytes(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kib: u64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// utime and stime of /proc/PID/stat. The program's name before them may hold blanks and parentheses.
fn cpu_ticks(stat: &str) -> Option<u64> {
    const USER: usize = 11;
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(field(USER)? + field(USER + 1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read_as_the_kernel_writes_them() {
        let status = "Name:\tx\nVmRSS:\t   52000 kB\nRssAnon:\t   10000 kB\n";
        assert_eq!(size_bytes(status, "VmRSS"), Some(52_000 * 1024));
        assert_eq!(size_bytes(status, "RssAnon"), Some(10_000 * 1024));
        assert_eq!(size_bytes(status, "Rss"), None);
        let stat = "42 (a (b) c) S 1 42 42 0 -1 4194304 900 0 0 0 1234 66 0 0 20 0 9 0 5000 1 2";
        assert_eq!(cpu_ticks(stat), Some(1300));
        assert_eq!(cpu_ticks("42 (x) S 1"), None);
        assert_eq!(parse_load("0.52 0.58 0.59 1/467 12345\n"), Some(0.52));
    }

    #[test]
    fn a_process_is_known_by_the_words_it_was_started_with() {
        let line = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let words = ["rkctl", "node", "agent"];
        assert!(begins_with(&line("/usr/local/bin/rkctl node agent --config x"), &words));
        for other in ["rkctl node server", "rkctl node", "sh -c rkctl node agent", "/bin/xrkctl node agent"] {
            assert!(!begins_with(&line(other), &words), "{other}");
        }
        assert!(!begins_with(&[], &words));
    }

    #[test]
    fn this_process_has_memory_and_uses_the_processor() {
        let own = Process(i32::try_from(std::process::id()).unwrap());
        let memory = own.memory().unwrap();
        assert!(memory.rss_bytes >= memory.anonymous_bytes && memory.anonymous_bytes > 0, "{memory:?}");
        assert!(own.family_cpu_s().unwrap() >= own.cpu_s().unwrap());
        assert!(find(own, &["no-such-program-runs-here"]).is_err());
    }
}
