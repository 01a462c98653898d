//! The asynchronous runtime, sized for the face that runs.

use std::future::Future;

use anyhow::Context as _;

/// Threads of a node's process: hosts may have many cores, and each thread costs memory.
const NODE_WORKERS: usize = 2;
/// Threads for blocking work (file system, name resolution) of a node's process.
const NODE_BLOCKING: usize = 16;
/// Heaps of the C library, for SQLite and libgit2. Its default of eight a core keeps freed memory that is never used
/// again.
const NODE_ARENAS: i32 = 2;
/// The number of mimalloc's option for after how many ms memory that is free goes back to the kernel.
const PURGE_DELAY: i32 = 15;
/// What is used again at once, as the pieces of a long answer are, stays; what a burst has left goes. Mimalloc's own are
/// 10, and it looks at it while something else is freed.
const PURGE_DELAY_MS: nix::libc::c_long = 1;
/// The number of that for whether this holds for what a thread leaves that ends.
const ABANDONED_PAGE_PURGE: i32 = 12;
/// After so many pieces of work the kernel is asked what else is ready. The default of 61 lets a request wait for as many
/// pieces of a flood, some of them half a millisecond long.
const NODE_EVENT_INTERVAL: u32 = 16;

/// Runs an operator's command to its end.
pub fn operator<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(work)
}

/// Runs a process of a node, kept small.
pub fn node<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    keep_heap_small();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(NODE_WORKERS)
        .max_blocking_threads(NODE_BLOCKING)
        .event_interval(NODE_EVENT_INTERVAL)
        .enable_all()
        .build()
        .context("start the runtime")?;
    runtime.block_on(work)
}

fn keep_heap_small() {
    // SAFETY: both only set numbers that the allocators read; they are called before any thread is started.
    unsafe {
        nix::libc::mallopt(nix::libc::M_ARENA_MAX, NODE_ARENAS);
        libmimalloc_sys::mi_option_set(PURGE_DELAY, PURGE_DELAY_MS);
        libmimalloc_sys::mi_option_set(ABANDONED_PAGE_PURGE, 1);
    }
}

/// Logs go to standard error without time stamps: the journal has its own. RUST_LOG chooses what is logged.
pub fn log_to_stderr(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .without_time()
        .init();
}

/// Cancelled by SIGTERM or SIGINT; the second one ends the process at once.
pub fn shutdown_token() -> anyhow::Result<tokio_util::sync::CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let token = tokio_util::sync::CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let cancelled = token.clone();
    tokio::spawn(async move {
        for round in 0..2 {
            tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
            if round == 1 {
                std::process::exit(1);
            }
            cancelled.cancel();
        }
    });
    Ok(token)
}
