//! Programs that are run: to the end with a bound, or beside the drill until it has seen enough.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use testkit::kubectl::Ran;

/// Runs a program with `input`; one that does not end within `bound` is ended.
pub fn run(program: &mut Command, bound: Duration, input: &[u8]) -> Ran {
    let line = format!("{:?}", program).replace('"', "");
    let mut child = program
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{line}: {error}"));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let stdin = child.stdin.take();
    let (status, stdout, stderr) = std::thread::scope(|scope| {
        let stdout = scope.spawn(|| drain(stdout));
        let stderr = scope.spawn(|| drain(stderr));
        scope.spawn(move || {
            // A program may end without reading; what it says then is what counts.
            let _unread = stdin.map(|mut stdin| stdin.write_all(input));
        });
        let deadline = Instant::now() + bound;
        let status = loop {
            match child.try_wait().expect("a child of ours is waited for") {
                Some(status) => break status,
                None if Instant::now() >= deadline => {
                    child.kill().expect("a child of ours is ended");
                    break child.wait().expect("a child of ours is waited for");
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        (status, stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default())
    });
    Ran { line, status, stdout, stderr }
}

fn drain(pipe: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    let _broken = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A program on a terminal of its own, as util-linux's script(1) gives it one.
pub fn on_a_terminal(program: Command) -> Command {
    let words: Vec<String> = std::iter::once(program.get_program())
        .chain(program.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''")))
        .collect();
    let mut script = Command::new("script");
    // `exec`, since the program must be in the foreground whatever shell script(1) takes.
    script.args(["--quiet", "--return", "--flush", "--command", &format!("exec {}", words.join(" ")), "/dev/null"]);
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    script
}

/// A program that runs beside the drill; ended when this is dropped.
pub struct Running {
    child: Child,
    said: Arc<Mutex<String>>,
    line: String,
}

impl Running {
    /// Starts it; what it says on both outputs is kept.
    pub fn start(mut command: Command) -> Self {
        let line = format!("{:?}", command).replace('"', "");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
        let said = Arc::new(Mutex::new(String::new()));
        for pipe in [
            child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
            child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        ]
        .into_iter()
        .flatten()
        {
            let said = said.clone();
            std::thread::spawn(move || {
                let mut pipe = pipe;
                let mut bytes = [0; 4096];
                // As it comes: a prompt ends no line.
                while let Ok(count @ 1..) = pipe.read(&mut bytes) {
                    said.lock().expect("no reader panics").push_str(&String::from_utf8_lossy(&bytes[..count]));
                }
            });
        }
        Self { child, said, line }
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        self.said.lock().expect("no reader panics").clone()
    }

    /// What to write to it.
    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().expect("it is asked for once")
    }

    /// Waits until what it has said is enough for `look`.
    #[track_caller]
    pub fn wait_for<T>(&self, bound: Duration, what: &str, look: impl Fn(&str) -> Option<T>) -> T {
        testkit::eventually(bound, what, || {
            let said = self.said();
            look(&said).ok_or_else(|| format!("$ {} said\n{said}", self.line))
        })
    }

    /// Waits until it has ended; answers how.
    #[track_caller]
    pub fn wait_for_end(&mut self, bound: Duration) -> ExitStatus {
        let (child, said, line) = (&mut self.child, &self.said, &self.line);
        testkit::eventually(bound, "the program ends", || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            _ => Err(format!("$ {line} said\n{}", said.lock().expect("no reader panics"))),
        })
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it, and answers all it has said.
    pub fn stop(mut self) -> String {
        self.end();
        self.said()
    }

    fn end(&mut self) {
        // `timeout` hands SIGTERM on to what it runs; it may have ended by itself.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap_or(i32::MAX));
        if self.runs() {
            let _ended = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        }
        let _status = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}
