//! The end of a run, whichever way it comes: the lab goes and it is looked whether anything is left.

use std::path::PathBuf;
use std::sync::Mutex;

use tokio::signal::unix::{SignalKind, signal};

use super::lab::Lab;

/// What has to be taken down.
struct Armed {
    lab: Option<Lab>,
    folder: PathBuf,
}

static ARMED: Mutex<Option<Armed>> = Mutex::new(None);

/// 128 and the number of SIGINT, as shells have it.
const INTERRUPTED: i32 = 130;

/// From now on [`take_down`] removes this lab and this folder.
pub fn arm(lab: Option<&Lab>, folder: &std::path::Path) {
    *armed() = Some(Armed { lab: lab.cloned(), folder: folder.to_owned() });
}

/// A panic elsewhere does not make it less true.
fn armed() -> std::sync::MutexGuard<'static, Option<Armed>> {
    ARMED.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Removes the lab; answers whether nothing is left of it. Whoever comes second waits for the first.
pub fn take_down() -> bool {
    remove(&mut armed())
}

fn remove(armed: &mut Option<Armed>) -> bool {
    let Some(Armed { lab, folder }) = armed.take() else { return true };
    let mut left = lab.as_ref().map_or_else(Vec::new, |lab| {
        let status = std::panic::catch_unwind(|| lab.status()).ok().flatten();
        lab.down(status.as_ref())
    });
    if let Err(error) = std::fs::remove_dir_all(&folder) {
        left.push(format!("folder {}: {error}", folder.display()));
    }
    let what = lab.map_or_else(|| "the machine".to_owned(), |lab| format!("lab {}", lab.name));
    match left.as_slice() {
        [] => eprintln!("drills: {what} is removed, and nothing of it is left"),
        left => eprintln!("drills: {what} is not gone:\n  {}", left.join("\n  ")),
    }
    left.is_empty()
}

/// Takes the lab down on SIGINT, SIGTERM and SIGHUP. Nothing is blocked: what is started inherits that.
pub fn on_signals() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime for signals");
    std::thread::spawn(move || {
        runtime.block_on(async {
            let mut watch = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
                .map(|kind| signal(kind).expect("signals of our own are ours to watch"));
            let [interrupt, terminate, hangup] = &mut watch;
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        eprintln!("drills: interrupted: taking the lab down");
        // Held to the end: nobody makes another lab meanwhile.
        let mut armed = armed();
        remove(&mut armed);
        std::process::exit(INTERRUPTED);
    });
}
